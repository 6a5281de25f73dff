//! The engine room: one thread for each model, which writes all replies of that model together.
//!
//! - [`GenerateRequest`] and what comes back, an event at a time through a [`Ticket`], are in `request.rs`.
//! - `queue.rs`: who is next, fairly between keys. `schedule.rs`: what the next step reads. `rows.rs`: which row of the cache
//!   a text gets, and what of it is there already. These three decide and know no model.
//! - `room.rs`: the loop that carries it out. `text.rs`: one text under way.
//!
//! A step reads one token for each reply under way and a bounded number of tokens of new prompts, in one call of the model
//! (Yu et al. 2022, "Orca", OSDI; Agrawal et al. 2024, "Sarathi-Serve", OSDI). Requests come and go between any two steps. What a
//! request gets does not depend on the others: each row of a call has the bits that it has alone, and each request a random
//! stream of its own. Nothing here knows HTTP.

mod queue;
mod request;
mod room;
mod rows;
mod schedule;
mod text;

use std::sync::Arc;
use std::time::Duration;

use gigaro_data::Tokenizer;
use gigaro_data::chat::Message;
use gigaro_models::Gpt;
use gigaro_models::gpt::WeightFormat;
use gigaro_tensor::DType;
use tokio::sync::watch;

pub use request::{EngineHandle, Event, Failure, GenerateRequest, Ticket, Usage};

use crate::metrics::Metrics;

/// Turns a conversation into the tokens that a model reads before it answers.
pub type PromptWriter =
    Arc<dyn Fn(&[Message]) -> gigaro_data::Result<Vec<u32>> + Send + Sync + 'static>;

/// A model as it comes from disk.
pub struct LoadedModel {
    /// The weights, as trained; the engine rounds them to `weights`.
    pub model: Gpt,
    /// What its tokens mean.
    pub tokenizer: Tokenizer,
    /// How it is given conversations; the sentence why it cannot have any, otherwise.
    pub chat: Result<PromptWriter, String>,
    /// What the weights are held in.
    pub weights: WeightFormat,
}

/// A model to be served, not yet read from disk.
pub struct ModelSource {
    /// What clients call it.
    pub name: String,
    /// Reads it, on the engine's own thread; a sentence if that fails.
    pub load: Box<dyn FnOnce() -> Result<LoadedModel, String> + Send>,
}

/// Bounds of an engine.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Replies written at the same time, at most.
    pub slots: usize,
    /// Longest text, prompt and reply together, in tokens; the model's own context if that is shorter or nothing is said.
    pub context: Option<usize>,
    /// Memory for keys and values, in bytes: where that is not enough for all slots, there are fewer.
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
#[derive(Debug)]
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
}

/// A model that can be asked.
pub struct ReadyModel {
    /// Takes requests.
    pub engine: EngineHandle,
    /// What its tokens mean.
    pub tokenizer: Tokenizer,
    /// How it is given conversations.
    pub chat: Result<PromptWriter, String>,
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

/// Starts a thread that reads a model and then serves it until every handle is gone.
///
/// # Errors
/// If the system gives no thread.
pub(crate) fn start(
    source: ModelSource,
    settings: EngineSettings,
    metrics: &Metrics,
) -> std::io::Result<watch::Receiver<ModelState>> {
    let (state, watched) = watch::channel(ModelState::Loading);
    let ModelSource { name, load } = source;
    let metrics = metrics.of_model(&name);
    std::thread::Builder::new()
        .name(format!("model {name}"))
        .spawn(move || {
            let loaded = match load() {
                Ok(loaded) => loaded,
                Err(sentence) => {
                    state.send_replace(ModelState::Failed(sentence.into()));
                    return;
                }
            };
            let LoadedModel {
                mut model,
                tokenizer,
                chat,
                weights,
            } = loaded;
            model.store_weights(weights);
            let compute = match weights {
                WeightFormat::Bf16 => DType::BF16,
                WeightFormat::F32 | WeightFormat::Int8 => DType::F32,
            };
            let parameters = model.config.num_params();
            let vocab_size = model.config.vocab_size;
            let (engine, inbox) = EngineHandle::new(&name);
            let room = room::Room::new(model, tokenizer.clone(), compute, settings, metrics);
            let facts = ModelFacts {
                context: room.context(),
                slots: room.slots(),
                vocab_size,
                parameters,
                kv_bytes: room.kv_bytes(),
            };
            let ready = ReadyModel {
                engine,
                tokenizer,
                chat,
                facts,
            };
            state.send_replace(ModelState::Ready(Arc::new(ready)));
            room.run(&inbox);
        })?;
    Ok(watched)
}
