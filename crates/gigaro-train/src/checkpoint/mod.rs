//! Checkpoints: a run, frozen in a folder, from which it goes on bit for bit.
//!
//! ```text
//! step-000100/
//!   model.safetensors       weights under the ecosystem's names
//!   optimizer.safetensors   the optimiser's moments
//!   state.json              step, tokens, random generators, loader, schedule (RunState)
//!   config.json             the model, as Hugging Face writes it
//!   tokenizer.json          the tokenizer that the weights were trained with
//!   tokenizer_config.json, chat_template.jinja
//!                           the tokenizer's own format of conversations, where the model has one
//!   manifest.json           size and SHA-256 of each file above, format version
//! ```
//!
//! [`Store`] writes them so that a crash at any byte leaves the last good one; [`Checkpoint`] reads
//! them and trusts nothing: truncated, changed, foreign and newer ones each get their sentence.
//!
//! What is not here: when to save (the trainer decides), and what the tensors mean; they pass
//! through as names, dtypes, shapes and bytes.
//!
//! Read next: `store.rs` for the order of writes, `crash_tests.rs` for the proof of it.

mod disk;
mod folders;
mod manifest;
mod open;
mod state;
mod store;
mod tensors;
mod tokenizer_match;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod damage_tests;

pub use folders::{CHECKPOINTS, LATEST};
pub use manifest::{FILE_NAME as MANIFEST, VERSION as FORMAT_VERSION};
pub use open::Checkpoint;
pub use state::RunState;
pub use store::{Contents, Store};
pub use tensors::{NamedViews, RawTensor};
pub use tokenizer_match::{check_tokenizer, tokenizer_sha256, vocabulary_size};

/// The weights' file name.
pub const MODEL: &str = "model.safetensors";
/// The optimiser state's file name.
pub const OPTIMIZER: &str = "optimizer.safetensors";
/// The run state's file name.
pub const STATE: &str = "state.json";
/// The model configuration's file name.
pub const CONFIG: &str = "config.json";
/// The tokenizer's file name.
pub const TOKENIZER: &str = "tokenizer.json";

/// Feeds bytes to every reader of this module that meets files from outside; returns normally,
/// whatever the bytes. The entry for fuzzing.
pub fn read_hostile_bytes(bytes: &[u8]) {
    let _ = manifest::Manifest::parse(std::path::Path::new("fuzz"), bytes);
    let _ = tensors::read(bytes, bytes.len() as u64, None, &mut |_, _| {});
    let _ = vocabulary_size(bytes);
    let _ = serde_json::from_slice::<RunState>(bytes);
}
