//! The models on the road from AlexNet to ChatGPT, a file or folder per system, and how they are asked.
//!
//! - [`gpt`]: the decoder that language models are, from GPT-2 to the form of today.
//! - [`lora`]: adapters beside the frozen weights of a GPT, and their files.
//! - [`reward`]: a decoder that gives a number instead of a token.
//! - [`generate`]: from logits to text.
//! - [`hostile`]: the parsers of foreign bytes, for fuzzing.
//! - [`value`]: a policy with a head for values, for reinforcement learning.
//!
//! Below lie layers (gigaro-nn) and the engine (gigaro-tensor); training loops and serving are above.

pub mod generate;
pub mod gpt;
pub mod hostile;
pub mod lora;
pub mod reward;
pub mod value;

pub use gpt::{Gpt, GptConfig};
pub use lora::{LoraConfig, LoraError};
pub use reward::RewardModel;
pub use value::{ActorCritic, ValueHead};
