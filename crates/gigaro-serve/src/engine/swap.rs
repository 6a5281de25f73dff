//! How a model comes into service, and how another checkpoint takes its place while requests go on.
//!
//! New weights are read beside the old ones. Then, in one moment, requests go to the new ones; replies under way keep the variant that
//! they began with, and nobody is dropped. Where shapes agree both stand in one engine and share its slots; otherwise the new weights get an
//! engine of their own, and the old one ends with its last reply.

use std::path::Path;
use std::sync::{Arc, Mutex, TryLockError};

use gigaro_models::Gpt;
use tokio::sync::watch;

use super::constraint::Grammars;
use super::request::EngineHandle;
use super::room::Room;
use super::variant::Variant;
use super::{
    AdapterSource, EngineSettings, LoadedModel, Loader, ModelFacts, ModelSource, ModelState,
    ReadyModel,
};
use crate::metrics::Metrics;

/// Why a model keeps its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SwapError {
    /// Another checkpoint is being read.
    #[error("another checkpoint is just taking the place of {name}; try again when it has")]
    Busy {
        /// The model.
        name: String,
    },
    /// It has never been read.
    #[error("{name} is still being read for the first time; try again when it is served")]
    Loading {
        /// The model.
        name: String,
    },
    /// The new checkpoint cannot be served: a sentence.
    #[error("{name} stays as it is: {problem}")]
    Unusable {
        /// The model.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

/// A model under its name, whatever checkpoint it is at present.
pub(crate) struct Service {
    name: String,
    load: Loader,
    adapters: Vec<AdapterSource>,
    settings: EngineSettings,
    metrics: Metrics,
    /// What is answered with now: by the model itself, then by each adapter.
    states: Vec<watch::Sender<ModelState>>,
    /// Held while a checkpoint is read.
    reading: Mutex<()>,
}

impl Service {
    /// Begins to read a model on a thread of its own.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start(
        source: ModelSource,
        settings: EngineSettings,
        metrics: &Metrics,
    ) -> std::io::Result<Arc<Self>> {
        let ModelSource {
            name,
            load,
            adapters,
        } = source;
        let served = 1 + adapters.len();
        let service = Arc::new(Self {
            states: (0..served)
                .map(|_| watch::Sender::new(ModelState::Loading))
                .collect(),
            name,
            load,
            adapters,
            settings,
            metrics: metrics.clone(),
            reading: Mutex::new(()),
        });
        // From the first scrape on its counters are there, at zero: one that is missing reads as a server that is broken.
        drop(service.metrics.of_model(&service.name));
        let reader = service.clone();
        std::thread::Builder::new()
            .name(format!("reading {}", reader.name))
            .spawn(move || {
                let _held = reader.reading.lock();
                if let Err(sentence) = reader.read(None) {
                    let sentence: Arc<str> = sentence.into();
                    for state in &reader.states {
                        state.send_replace(ModelState::Failed(sentence.clone()));
                    }
                }
            })?;
        Ok(service)
    }

    /// The names under which it is served, with what they answer with: the model, then its adapters.
    pub(crate) fn names(&self) -> impl Iterator<Item = (String, watch::Receiver<ModelState>)> {
        let adapters = self.adapters.iter().map(|adapter| &adapter.name);
        let names = std::iter::once(&self.name).chain(adapters);
        let states = self.states.iter().map(watch::Sender::subscribe);
        names.cloned().zip(states)
    }

    /// Reads a checkpoint, from where the model was given if none is named, and lets it take the place of the one before. Takes as long
    /// as reading; requests go on meanwhile.
    ///
    /// # Errors
    /// If another one is being read, or this one cannot be served; then nothing has changed.
    pub(crate) fn swap(&self, checkpoint: Option<&Path>) -> Result<(), SwapError> {
        let name = self.name.clone();
        if matches!(*self.states[0].borrow(), ModelState::Loading) {
            return Err(SwapError::Loading { name });
        }
        let _held = match self.reading.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(held)) => held.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(SwapError::Busy { name }),
        };
        self.read(checkpoint)
            .map_err(|problem| SwapError::Unusable { name, problem })
    }

    /// Reads a checkpoint and puts it into service.
    fn read(&self, checkpoint: Option<&Path>) -> Result<(), String> {
        let loaded = (self.load)(checkpoint)?;
        let LoadedModel {
            mut model,
            tokenizer,
            chat,
            tools,
            weights,
            checkpoint,
        } = loaded;
        model.store_weights(weights);
        // All that can be wrong with them is found before anything changes.
        let adapted: Vec<Gpt> = self
            .adapters
            .iter()
            .map(|adapter| with_adapter(&model, adapter))
            .collect::<Result<_, String>>()?;
        let variant = |model| Arc::new(Variant::new(model, tokenizer.clone(), weights));
        let (base, adapted) = (variant(model), adapted.into_iter().map(variant));
        let (engine, room) = self.engine_for(base)?;
        let mut facts = ModelFacts {
            version: room.version + 1,
            checkpoint,
            ..room
        };
        let grammars = Arc::new(Grammars::new(&tokenizer));
        let engines: Vec<EngineHandle> = adapted.map(|variant| engine.with(variant)).collect();
        let engines = std::iter::once(engine).chain(engines);
        for (i, (engine, state)) in engines.zip(&self.states).enumerate() {
            facts.adapter_of = (i > 0).then(|| self.name.clone());
            state.send_replace(ModelState::Ready(Arc::new(ReadyModel {
                engine,
                tokenizer: tokenizer.clone(),
                chat: chat.clone(),
                tools: tools.clone(),
                grammars: grammars.clone(),
                facts: facts.clone(),
            })));
        }
        self.metrics.model_version(&self.name, facts.version);
        Ok(())
    }

    /// An engine that writes with these weights: the one that is there, if their shape is the same, or a new one.
    fn engine_for(&self, variant: Arc<Variant>) -> Result<(EngineHandle, ModelFacts), String> {
        let config = &variant.model.config;
        let now = self.states[0].borrow().clone();
        let mut facts = ModelFacts {
            vocab_size: config.vocab_size,
            parameters: config.num_params(),
            width: config.d_model,
            context: 0,
            slots: 0,
            kv_bytes: 0,
            version: 0,
            checkpoint: String::new(),
            adapter_of: None,
        };
        if let ModelState::Ready(now) = &now {
            facts.version = now.facts.version;
            if now.engine.variant.shares_a_room_with(&variant) {
                facts.context = now.facts.context;
                facts.slots = now.facts.slots;
                facts.kv_bytes = now.facts.kv_bytes;
                return Ok((now.engine.with(variant), facts));
            }
        }
        let metrics = self.metrics.of_model(&self.name);
        let room = Room::new(&variant, self.settings.clone(), metrics);
        facts.context = room.context();
        facts.slots = room.slots();
        facts.kv_bytes = room.kv_bytes();
        let (engine, inbox) = EngineHandle::new(variant, &self.name);
        std::thread::Builder::new()
            .name(format!("model {}", self.name))
            .spawn(move || room.run(&inbox))
            .map_err(|e| format!("the system gives no thread ({e}); close other programs"))?;
        Ok((engine, facts))
    }
}

/// The model with an adapter beside its weights, which both share.
fn with_adapter(model: &Gpt, adapter: &AdapterSource) -> Result<Gpt, String> {
    let mut adapted = model.clone();
    adapted
        .load_lora(&adapter.dir)
        .map_err(|e| format!("the adapter {} cannot be served: {e}", adapter.name))?;
    Ok(adapted)
}
