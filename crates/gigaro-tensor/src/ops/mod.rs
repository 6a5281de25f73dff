//! Everything that computes. One folder per primitive (API, shapes, backward; kernels in `cpu.rs`
//! where they need a page of their own), `composite/` for what is written in terms of them.

mod activation;
mod arg_reduce;
mod attention;
pub(crate) mod binary;
pub(crate) mod cast;
mod cat;
mod compare;
mod composite;
mod cross_entropy;
mod cumsum;
mod dropout;
mod elementwise;
mod feed_forward;
mod gather;
mod layer_norm;
mod linear;
mod matmul;
pub(crate) use matmul::precision;
pub mod optim;
mod reduce;
#[cfg(feature = "testing")]
pub(crate) mod registry;
mod rms_norm;
mod rotary;
mod row_math;
mod scatter;
mod softmax;
mod sort;
mod unary;
mod where_cond;

pub mod functional {
    //! The functions of PyTorch's `torch.nn.functional` that are not methods of a tensor.

    pub use super::activation::{gelu, gelu_tanh, relu, relu_squared, silu};
    pub use super::attention::{attention_qkv_packed, scaled_dot_product_attention};
    pub use super::composite::loss::{cross_entropy, mse_loss, nll_loss, soft_capped};
    pub use super::cross_entropy::linear_cross_entropy;
    pub use super::dropout::dropout;
    pub use super::feed_forward::feed_forward;
    pub use super::gather::embedding;
    pub use super::layer_norm::{layer_norm, layer_norm_to};
    pub use super::linear::{linear, linear_quantized, linear_to};
    pub use super::matmul::autocast_output;
    pub use super::rms_norm::{rms_norm, rms_norm_to};
    pub use super::rotary::{rotary_embedding, rotary_tables};
    pub use super::softmax::{log_softmax, softmax};
}
