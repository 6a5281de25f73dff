//! What the service counts and times, in Prometheus' text form.
//!
//! The names are listed in docs/serving.md. Histograms are per model; counters of tokens and requests also per key, by its name and
//! never by the key itself. Not a log: a single request leaves no trace here.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::keys::{Clock, Ledger};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabel {
    model: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeyLabels {
    model: String,
    key: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    model: String,
    key: String,
    outcome: String,
}

type Seconds = Counter<f64, AtomicU64>;

/// Half a millisecond to about four minutes.
fn latency() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 20))
}

type Latencies = Family<ModelLabel, Histogram, fn() -> Histogram>;

/// All counters of one server. A clone counts into the same ones.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: std::sync::Arc<Registry>,
    running: Family<ModelLabel, Gauge>,
    waiting: Family<ModelLabel, Gauge>,
    kv_tokens: Family<ModelLabel, Gauge>,
    kv_capacity: Family<ModelLabel, Gauge>,
    version: Family<ModelLabel, Gauge>,
    first_token: Latencies,
    between_tokens: Latencies,
    steps: Family<ModelLabel, Counter>,
    model_seconds: Family<ModelLabel, Seconds>,
    step_seconds: Family<ModelLabel, Seconds>,
    prompt_tokens: Family<KeyLabels, Counter>,
    cached_tokens: Family<KeyLabels, Counter>,
    generated_tokens: Family<KeyLabels, Counter>,
    requests: Family<OutcomeLabels, Counter>,
    /// Where what was used is taken from what a key may use.
    ledger: Option<std::sync::Arc<Ledger>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: std::sync::Arc::default(),
            running: Family::default(),
            waiting: Family::default(),
            kv_tokens: Family::default(),
            kv_capacity: Family::default(),
            version: Family::default(),
            first_token: Family::new_with_constructor(latency),
            between_tokens: Family::new_with_constructor(latency),
            steps: Family::default(),
            model_seconds: Family::default(),
            step_seconds: Family::default(),
            prompt_tokens: Family::default(),
            cached_tokens: Family::default(),
            generated_tokens: Family::default(),
            requests: Family::default(),
            ledger: None,
        };
        metrics.registry = std::sync::Arc::new(metrics.registered());
        metrics
    }
}

impl Metrics {
    /// The same, counting into the accounts of keys as well.
    pub(crate) fn with_ledger(self, ledger: std::sync::Arc<Ledger>) -> Self {
        Self {
            ledger: Some(ledger),
            ..self
        }
    }

    fn registered(&self) -> Registry {
        let mut registry = Registry::with_prefix("gigaro");
        self.register_gauges(&mut registry);
        let r = &mut registry;
        r.register_with_unit(
            "time_to_first_token",
            "From the arrival of a request to the first token of its reply",
            Unit::Seconds,
            self.first_token.clone(),
        );
        r.register_with_unit(
            "time_between_tokens",
            "From one token of a reply to the next",
            Unit::Seconds,
            self.between_tokens.clone(),
        );
        r.register("steps", "Steps of the model", self.steps.clone());
        r.register_with_unit(
            "step",
            "Time of all steps, with choosing, drawing and telling",
            Unit::Seconds,
            self.step_seconds.clone(),
        );
        r.register_with_unit(
            "step_model",
            "Of that, time inside the model",
            Unit::Seconds,
            self.model_seconds.clone(),
        );
        r.register(
            "prompt_tokens",
            "Tokens of prompts",
            self.prompt_tokens.clone(),
        );
        r.register(
            "prompt_tokens_cached",
            "Tokens of prompts that were not read again, because a text before began alike",
            self.cached_tokens.clone(),
        );
        r.register(
            "generated_tokens",
            "Tokens of replies",
            self.generated_tokens.clone(),
        );
        r.register(
            "requests",
            "Requests that ended, by how: stop, length, cancelled, refused, failed",
            self.requests.clone(),
        );
        registry
    }

    /// What is so at this moment.
    fn register_gauges(&self, r: &mut Registry) {
        r.register(
            "requests_running",
            "Requests that have a slot",
            self.running.clone(),
        );
        r.register(
            "requests_waiting",
            "Requests that wait for a slot",
            self.waiting.clone(),
        );
        r.register(
            "kv_cache_tokens",
            "Tokens whose keys and values are held, for replies under way and for prompts to come",
            self.kv_tokens.clone(),
        );
        r.register(
            "kv_cache_capacity_tokens",
            "Tokens whose keys and values could be held",
            self.kv_capacity.clone(),
        );
        r.register(
            "model_version",
            "How many checkpoints have been served under this name",
            self.version.clone(),
        );
    }

    /// All of it as text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// Another checkpoint serves a model from now on.
    pub(crate) fn model_version(&self, model: &str, version: u64) {
        let label = ModelLabel {
            model: model.to_owned(),
        };
        let version = i64::try_from(version).unwrap_or(i64::MAX);
        self.version.get_or_create(&label).set(version);
    }

    /// The counters of one model, found once so that a step need not look them up.
    pub(crate) fn of_model(&self, model: &str) -> ModelMetrics {
        let label = ModelLabel {
            model: model.to_owned(),
        };
        ModelMetrics {
            model: model.to_owned(),
            running: self.running.get_or_create_owned(&label),
            waiting: self.waiting.get_or_create_owned(&label),
            kv_tokens: self.kv_tokens.get_or_create_owned(&label),
            kv_capacity: self.kv_capacity.get_or_create_owned(&label),
            first_token: self.first_token.get_or_create_owned(&label),
            between_tokens: self.between_tokens.get_or_create_owned(&label),
            steps: self.steps.get_or_create_owned(&label),
            model_seconds: self.model_seconds.get_or_create_owned(&label),
            step_seconds: self.step_seconds.get_or_create_owned(&label),
            all: self.clone(),
        }
    }
}

/// What one engine counts.
#[derive(Debug)]
pub(crate) struct ModelMetrics {
    model: String,
    pub(crate) running: Gauge,
    pub(crate) waiting: Gauge,
    pub(crate) kv_tokens: Gauge,
    pub(crate) kv_capacity: Gauge,
    first_token: Histogram,
    between_tokens: Histogram,
    steps: Counter,
    model_seconds: Seconds,
    step_seconds: Seconds,
    all: Metrics,
}

impl ModelMetrics {
    /// A step of the model, and how much of its time the model took.
    pub(crate) fn step(&self, whole: Duration, in_model: Duration) {
        self.steps.inc();
        self.step_seconds.inc_by(whole.as_secs_f64());
        self.model_seconds.inc_by(in_model.as_secs_f64());
    }

    /// The first token of a reply, so long after its request came.
    pub(crate) fn first_token(&self, waited: Duration) {
        self.first_token.observe(waited.as_secs_f64());
    }

    /// Another token of a reply, so long after the one before.
    pub(crate) fn next_token(&self, waited: Duration) {
        self.between_tokens.observe(waited.as_secs_f64());
    }

    /// The end of a request of this key, and what it took.
    pub(crate) fn ended(&self, key: &str, outcome: &str, usage: &crate::engine::Usage) {
        let labels = KeyLabels {
            model: self.model.clone(),
            key: key.to_owned(),
        };
        let count = |family: &Family<KeyLabels, Counter>, n: usize| {
            if n > 0 {
                family.get_or_create(&labels).inc_by(n as u64);
            }
        };
        count(&self.all.prompt_tokens, usage.prompt_tokens);
        count(&self.all.cached_tokens, usage.cached_tokens);
        count(&self.all.generated_tokens, usage.completion_tokens);
        if let Some(ledger) = &self.all.ledger {
            let read = usage.prompt_tokens.saturating_sub(usage.cached_tokens);
            ledger.spend(key, (read + usage.completion_tokens) as u64, Clock::now());
        }
        let labels = OutcomeLabels {
            model: labels.model,
            key: labels.key,
            outcome: outcome.to_owned(),
        };
        self.all.requests.get_or_create(&labels).inc();
    }
}
