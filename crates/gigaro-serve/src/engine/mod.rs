//! The engine room: one thread for each model, which writes all replies of that model together.
//!
//! - [`GenerateRequest`] and what comes back, an event at a time through a [`Ticket`], are in `request.rs`.
//! - `queue.rs`: who is next, fairly between keys. `schedule.rs`: what the next step reads. `rows.rs`: which row of the cache
//!   a text gets, and what of it is there already. These three decide and know no model.
//! - `room.rs`: the loop that carries it out, `step.rs` its calls of the model. `text.rs`: one text under way, `variant.rs` what it is
//!   written with, `constraint.rs` what it has to be.
//! - `swap.rs`: how models come into service, and how others take their place.
//!
//! A step reads one token for each reply under way and a bounded number of tokens of new prompts, in one call of the model
//! (Yu et al. 2022, "Orca", OSDI; Agrawal et al. 2024, "Sarathi-Serve", OSDI). Requests come and go between any two steps. What a
//! request gets does not depend on the others: each row of a call has the bits that it has alone, and each request a random
//! stream of its own. Nothing here knows HTTP.

mod constraint;
mod queue;
mod request;
mod room;
mod rows;
mod schedule;
mod step;
mod swap;
mod text;
mod variant;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gigaro_data::Tokenizer;
use gigaro_data::chat::Message;
use gigaro_models::Gpt;
use gigaro_models::gpt::WeightFormat;
use serde_json::Value;

pub use constraint::{Constraint, Grammar, Grammars};
pub use request::{EngineHandle, Event, Failure, GenerateRequest, Ticket, Usage};
pub(crate) use swap::Service;
pub use swap::SwapError;
pub use words::Words;

/// Turns a conversation into the tokens that a model reads before it answers.
pub type PromptWriter =
    Arc<dyn Fn(&[Message]) -> gigaro_data::Result<Vec<u32>> + Send + Sync + 'static>;

/// The same for a conversation in which functions may be called: messages and functions as the API has them.
pub type ToolPromptWriter =
    Arc<dyn Fn(&[Value], &[Value]) -> gigaro_data::Result<Vec<u32>> + Send + Sync + 'static>;

/// Reads a model from where it was given, or from another path, on a thread of its own; a sentence if that fails.
pub type Loader = Arc<dyn Fn(Option<&Path>) -> Result<LoadedModel, String> + Send + Sync>;

/// A model as it comes from disk.
pub struct LoadedModel {
    /// The weights, as trained; the engine rounds them to `weights`.
    pub model: Gpt,
    /// What its tokens mean.
    pub tokenizer: Tokenizer,
    /// How it is given conversations; the sentence why it cannot have any, otherwise.
    pub chat: Result<PromptWriter, String>,
    /// How it is given conversations with functions, if its format has words for them; otherwise they are told in a message.
    pub tools: Option<ToolPromptWriter>,
    /// What the weights are held in.
    pub weights: WeightFormat,
    /// Which checkpoint it is, for whoever asks.
    pub checkpoint: String,
}

/// A change of a model that is served beside it, with the same weights.
#[derive(Clone, Debug)]
pub struct AdapterSource {
    /// What clients call the model with it.
    pub name: String,
    /// A folder as PEFT keeps it.
    pub dir: PathBuf,
}

/// A model to be served, not yet read from disk.
pub struct ModelSource {
    /// What clients call it.
    pub name: String,
    /// Reads it.
    pub load: Loader,
    /// What is served beside it.
    pub adapters: Vec<AdapterSource>,
}

/// Bounds of an engine.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Replies written at the same time, at most.
    pub slots: usize,
    /// Longest text, prompt and reply together, in tokens; the model's own context if that is shorter or nothing is said.
    pub context: Option<usize>,
    /// Memory for keys and values, in bytes, at most: a text waits until there is room for all that it may come to hold.
    pub kv_bytes: u64,
    /// Tokens of prompts that a step reads at most, beside one token for each reply.
    pub prompt_tokens_per_step: usize,
    /// Requests that wait for a slot, at most.
    pub queue_len: usize,
    /// How long a request waits for a slot, at most.
    pub queue_time: Duration,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            slots: 16,
            context: None,
            kv_bytes: 4 << 30,
            prompt_tokens_per_step: 256,
            queue_len: 1024,
            queue_time: Duration::from_secs(60),
        }
    }
}

/// What is known of a model once it is read.
#[derive(Clone, Debug)]
pub struct ModelFacts {
    /// Longest text, in tokens.
    pub context: usize,
    /// Replies written at the same time.
    pub slots: usize,
    /// Size of the vocabulary, in tokens.
    pub vocab_size: usize,
    /// Trained numbers.
    pub parameters: u64,
    /// Memory of the keys and values of all slots, in bytes.
    pub kv_bytes: u64,
    /// Width of its hidden states, and of embeddings.
    pub width: usize,
    /// How many checkpoints have been served under this name, this one included.
    pub version: u64,
    /// Which checkpoint it is.
    pub checkpoint: String,
    /// The model that it is an adapter of.
    pub adapter_of: Option<String>,
}

/// A model that can be asked.
pub struct ReadyModel {
    /// Takes requests.
    pub engine: EngineHandle,
    /// What its tokens mean.
    pub tokenizer: Tokenizer,
    /// How it is given conversations.
    pub chat: Result<PromptWriter, String>,
    /// How it is given conversations with functions, if its format has words for them.
    pub tools: Option<ToolPromptWriter>,
    /// What holds its replies to a grammar; the sentence why nothing can, otherwise.
    pub grammars: Arc<Result<Grammars, String>>,
    /// Its sizes.
    pub facts: ModelFacts,
}

/// How far a model is.
#[derive(Clone)]
pub enum ModelState {
    /// It is being read.
    Loading,
    /// It answers.
    Ready(Arc<ReadyModel>),
    /// It cannot be served: a sentence.
    Failed(Arc<str>),
}
