//! What models are built and trained with: layers, initialisers, losses, optimisers, schedules.
//!
//! - [`Module`] (`module.rs`): parameters by name; loading and saving them. [`Mode`]: training or not.
//! - [`layers`]: a file per layer, each a plain struct with public weights and a `forward`.
//! - [`init`]: how weights start. [`loss`]: what is minimised.
//! - [`optim`]: a file per optimiser. [`schedule`], [`clip`], [`ema`]: what goes with them.
//!
//! Not here: kernels and gradients (gigaro-tensor), whole models (gigaro-models), the loop that
//! trains them (gigaro-train).
//!
//! ```
//! use gigaro_nn::{Linear, Module, Optimizer, loss, optim::{AdamW, ParamGroup}};
//! use gigaro_tensor::{DType, Device, Generator, Tensor};
//!
//! let generator = Generator::new(1);
//! let layer = Linear::new(3, 1, true, &generator);
//! let x = Tensor::randn([16, 3], DType::F32, Device::Cpu, &generator);
//! let y = x.sum_keepdim(-1);
//! let mut optimizer = AdamW::new(vec![ParamGroup::new(layer.named_parameters())], Default::default());
//! for _ in 0..200 {
//!     let loss = loss::mse_loss(&layer.forward(&x), &y);
//!     optimizer.zero_grad();
//!     loss.backward();
//!     optimizer.step(0.05, 1.0);
//! }
//! assert!(loss::mse_loss(&layer.forward(&x), &y).item() < 1e-3);
//! ```

pub mod clip;
pub mod ema;
pub mod init;
pub mod layers;
pub mod loss;
mod mode;
mod module;
pub mod optim;
pub mod schedule;

pub use layers::{
    Activation, Dropout, Embedding, LayerNorm, Linear, Lora, Mlp, MultiheadAttention, RmsNorm,
    attention_with_dropout,
};
pub use mode::Mode;
pub use module::{Module, StateDictError, join, load_in_place};
pub use optim::Optimizer;
