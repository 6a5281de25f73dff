//! The layers, a file each. All are plain structs with public weights, PyTorch's names and shapes.

mod activation;
mod dropout;
mod embedding;
mod layer_norm;
mod linear;
mod lora;
mod mlp;
mod multihead_attention;
mod rms_norm;

pub use activation::Activation;
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use lora::Lora;
pub use mlp::Mlp;
pub use multihead_attention::{MultiheadAttention, attention_with_dropout};
pub use rms_norm::RmsNorm;
