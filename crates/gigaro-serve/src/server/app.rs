//! What all requests share: the models and how far they are, the keys, the limits, the counters.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use tokio::sync::watch;

use super::origin::Origin;
use super::tls::Tls;
use crate::api::ApiError;
use crate::engine::{EngineSettings, ModelSource, ModelState, ReadyModel, Service, SwapError};
use crate::keys::Keys;
use crate::metrics::Metrics;

/// The name that stands for the first model, unless a model has it.
const DEFAULT_MODEL: &str = "default";

/// Who may ask.
#[derive(Clone, Debug)]
pub enum Access {
    /// Whoever has a key.
    Keys(Keys),
    /// Whoever can reach this machine's loopback address.
    LoopbackOnly,
    /// Everybody who can reach the address, without a key.
    Anyone,
}

/// Bounds on what a client may do.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest body of a request, in bytes.
    pub body_bytes: usize,
    /// Open connections, at most; further ones wait to be accepted.
    pub connections: usize,
    /// How long the head of a request may take to arrive, and how long a connection may lie idle.
    pub head_time: Duration,
    /// How long the body may take to arrive.
    pub body_time: Duration,
    /// How long a client may take to read on before its connection is closed.
    pub write_time: Duration,
    /// Time between two signs of life on a stream that has nothing to say.
    pub ping_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 8 << 20,
            connections: 1024,
            head_time: Duration::from_secs(30),
            body_time: Duration::from_secs(30),
            write_time: Duration::from_secs(30),
            ping_time: Duration::from_secs(10),
        }
    }
}

/// How a server looks to those who come from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Front {
    /// What connections are encrypted with, if they are.
    pub tls: Option<Arc<Tls>>,
    /// Sites whose pages may ask as well.
    pub cors_origins: Vec<Origin>,
    /// Under which address browsers find the page, where that is a proxy's.
    pub public_url: Option<Origin>,
    /// How long the server still takes requests after it was asked to end, while its health says that it is about to: a load balancer needs a
    /// moment to notice.
    pub drain_delay: Duration,
}

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who may ask.
    pub access: Access,
    /// Bounds on what a client may do.
    pub limits: Limits,
    /// How it looks from elsewhere.
    pub front: Front,
    /// Bounds of each model's engine.
    pub engine: EngineSettings,
}

/// A model that is served, or will be.
pub struct ServedModel {
    name: String,
    created: u64,
    state: watch::Receiver<ModelState>,
    service: Arc<Service>,
}

impl ServedModel {
    /// What clients call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When it was put into service, in seconds since 1970.
    #[must_use]
    pub fn created(&self) -> u64 {
        self.created
    }

    /// How far it is.
    #[must_use]
    pub fn state(&self) -> ModelState {
        self.state.borrow().clone()
    }

    /// Reads another checkpoint, from where the model was given if none is named, and lets it take the place of the one before, for its
    /// adapters too. Takes as long as reading, and no request is dropped.
    ///
    /// # Errors
    /// If another one is being read, or this one cannot be served; then nothing has changed.
    pub fn swap(&self, checkpoint: Option<&Path>) -> Result<(), SwapError> {
        self.service.swap(checkpoint)
    }
}

/// What all requests share.
pub struct App {
    models: Vec<ServedModel>,
    access: Access,
    limits: Limits,
    front: Front,
    metrics: Metrics,
    draining: AtomicBool,
}

impl App {
    /// Begins to read the models and returns at once.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(models: Vec<ModelSource>, settings: Settings) -> std::io::Result<Arc<Self>> {
        let metrics = match &settings.access {
            Access::Keys(keys) => Metrics::default().with_ledger(keys.ledger().clone()),
            Access::LoopbackOnly | Access::Anyone => Metrics::default(),
        };
        let created = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let mut served = Vec::new();
        for source in models {
            let service = Service::start(source, settings.engine.clone(), &metrics)?;
            served.extend(service.names().map(|(name, state)| ServedModel {
                name,
                created,
                state,
                service: service.clone(),
            }));
        }
        Ok(Arc::new(Self {
            models: served,
            access: settings.access,
            limits: settings.limits,
            front: settings.front,
            metrics,
            draining: AtomicBool::new(false),
        }))
    }

    /// All models, in the order in which they were given.
    #[must_use]
    pub fn models(&self) -> &[ServedModel] {
        &self.models
    }

    /// The model of that name; the first one for no name or `default`.
    ///
    /// # Errors
    /// 404 if there is none of that name.
    pub fn served(&self, name: Option<&str>) -> Result<&ServedModel, ApiError> {
        let found = match name {
            None => self.models.first(),
            Some(name) => {
                let named = self.models.iter().find(|model| model.name == name);
                named.or_else(|| self.models.first().filter(|_| name == DEFAULT_MODEL))
            }
        };
        found.ok_or_else(|| {
            let known: Vec<&str> = self.models.iter().map(|m| m.name.as_str()).collect();
            ApiError::not_found(format!(
                "there is no model {:?} here; this server has: {}",
                name.unwrap_or_default(),
                known.join(", ")
            ))
            .param("model")
            .code("model_not_found")
        })
    }

    /// The same, ready to be asked.
    ///
    /// # Errors
    /// 404 if there is none of that name, 503 if it is still being read or cannot be.
    pub fn model(&self, name: Option<&str>) -> Result<Arc<ReadyModel>, ApiError> {
        let served = self.served(name)?;
        let name = &served.name;
        match served.state() {
            ModelState::Ready(model) => Ok(model),
            ModelState::Loading => Err(ApiError::unavailable(
                format!("the model {name} is still being read from disk; try again in a moment"),
                2,
            )
            .code("model_loading")),
            ModelState::Failed(sentence) => Err(ApiError::unavailable(
                format!("the model {name} cannot be served: {sentence}"),
                60,
            )
            .code("model_unavailable")),
        }
    }

    /// Who may ask.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Bounds on what a client may do.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How the server looks from elsewhere.
    #[must_use]
    pub fn front(&self) -> &Front {
        &self.front
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// From now on the server reports that it is not ready, so that a load balancer sends nobody here.
    pub fn begin_to_drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether it goes on: all models are read and no end is near.
    ///
    /// # Errors
    /// The sentence why not, with the status 503.
    pub fn readiness(&self) -> Result<(), (StatusCode, String)> {
        let not = |sentence: String| Err((StatusCode::SERVICE_UNAVAILABLE, sentence));
        if self.draining.load(Ordering::SeqCst) {
            return not("this server is finishing its last replies".into());
        }
        for model in &self.models {
            let name = &model.name;
            match model.state() {
                ModelState::Ready(_) => {}
                ModelState::Loading => return not(format!("the model {name} is being read")),
                ModelState::Failed(sentence) => {
                    return not(format!("the model {name} cannot be served: {sentence}"));
                }
            }
        }
        Ok(())
    }
}
