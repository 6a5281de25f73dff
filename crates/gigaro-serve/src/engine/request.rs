//! What an engine is asked, and what it tells: a request goes in, events come out through a ticket.
//!
//! Not how requests are carried out (`room.rs`). A ticket that is dropped is the cancellation.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

use crate::record::Record;
use gigaro_models::generate::{FinishReason, SamplingParams, TokenLogprobs};
use gigaro_tensor::autocast;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::constraint::Constraint;
use super::variant::Variant;

/// A prompt and how to go on with it.
#[derive(Clone, Debug)]
pub struct GenerateRequest {
    /// The tokens to continue: at least one, and fewer than the context unless nothing is to be written.
    pub prompt: Vec<u32>,
    /// How. `max_tokens` may be 0 here: then the prompt is only read, for its log-probabilities.
    pub params: SamplingParams,
    /// `Some(n)`: report the log-probability of each token of the prompt but the first, and of the `n` most probable ones.
    pub prompt_logprobs: Option<usize>,
    /// What the reply has to be, where anything is said.
    pub constraint: Option<Constraint>,
    /// Whether the prompt is only read, for its [`Event::Embedding`]; `max_tokens` is 0 then.
    pub embed: bool,
    /// Whose it is: turns in the queue go around between tenants.
    pub tenant: Arc<str>,
    /// Whose texts it may be continued from: only those of the same scope, so that nobody learns by the time to his first token what
    /// others have asked.
    pub cache_scope: Arc<str>,
}

impl GenerateRequest {
    /// The same with the `i`-th seed after its own, for another reply to the same prompt.
    #[must_use]
    pub fn with_seed_after(&self, i: u64) -> Self {
        let mut other = self.clone();
        other.params.seed = other.params.seed.wrapping_add(i);
        other
    }
}

/// What happens to a request, in this order: admitted, the prompt's log-probabilities or its embedding if asked for, tokens, and one end.
#[derive(Clone, Debug)]
pub enum Event {
    /// It has left the queue.
    Admitted,
    /// Of the prompt's tokens, from the second on.
    PromptLogprobs(Vec<TokenLogprobs>),
    /// Of the prompt: the mean of what the last layer leaves for its tokens, normalised as before the projection onto the vocabulary.
    Embedding(Vec<f32>),
    /// A token of the reply.
    Token {
        /// Its id.
        token: u32,
        /// Text that has become certain: whole characters that cannot belong to a stop string. May be empty.
        text: String,
        /// Where the request asks for them.
        logprobs: Option<TokenLogprobs>,
    },
    /// The reply is whole.
    Finished {
        /// Text that was held back.
        text: String,
        /// Why it ended.
        reason: FinishReason,
        /// The token that ended it, which has no text, where the request asks for log-probabilities.
        end: Option<(u32, TokenLogprobs)>,
        /// What it took.
        usage: Usage,
    },
    /// There is no reply, or no more of it.
    Failed(Failure),
}

/// Tokens of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: usize,
    /// Of those, how many were not read because the cache held them.
    pub cached_tokens: usize,
    /// Of the reply.
    pub completion_tokens: usize,
}

/// Why a request has no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Too many wait.
    #[error(
        "{waiting} requests are waiting already, which is all that this server lets wait; try again in a moment"
    )]
    QueueFull {
        /// How many.
        waiting: usize,
    },
    /// It has waited too long.
    #[error(
        "no slot became free within {seconds} seconds; try again when fewer requests are under way"
    )]
    Expired {
        /// How long it waited.
        seconds: u64,
    },
    /// The weights give no usable numbers.
    #[error("the model cannot go on: {0}")]
    Weights(String),
    /// The grammar leads nowhere.
    #[error("the reply cannot go on within its grammar: {0}")]
    Grammar(String),
    /// A bug.
    #[error("gigaro has a bug here, and the reply cannot go on; the server's log names the place")]
    Bug,
    /// The engine is no more.
    #[error("the model has been taken out of service")]
    Stopped,
}

/// A request on its way through the engine. Dropping it takes the request back at the next step.
#[derive(Debug)]
pub struct Ticket {
    events: UnboundedReceiver<Event>,
    ended: bool,
    /// Of the request over HTTP that it belongs to, with the tokens so far.
    record: Option<Arc<Record>>,
    tokens: usize,
}

impl Ticket {
    /// What happened next; `None` after the end. At most one event for each token waits here, so a slow reader holds no more
    /// than its reply.
    pub async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        let event = self.events.recv().await;
        let event = event.unwrap_or(Event::Failed(Failure::Stopped));
        self.ended = matches!(event, Event::Finished { .. } | Event::Failed(_));
        self.note(&event);
        Some(event)
    }

    fn note(&mut self, event: &Event) {
        let Some(record) = &self.record else { return };
        match event {
            Event::Admitted => record.admitted(),
            Event::Token { .. } => {
                self.tokens += 1;
                record.token();
            }
            Event::Finished { usage, .. } => record.finished(usage),
            Event::PromptLogprobs(_) | Event::Embedding(_) | Event::Failed(_) => {}
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(record) = self.record.as_ref().filter(|_| !self.ended) {
            record.cancelled(self.tokens);
        }
    }
}

/// A request as the engine receives it.
pub(super) struct Order {
    pub(super) request: GenerateRequest,
    /// What its reply is written with.
    pub(super) variant: Arc<Variant>,
    pub(super) events: UnboundedSender<Event>,
    pub(super) submitted: Instant,
}

/// Where requests for one model go. A clone leads to the same engine.
#[derive(Clone, Debug)]
pub struct EngineHandle {
    model: Arc<str>,
    orders: mpsc::Sender<Order>,
    pub(super) variant: Arc<Variant>,
}

impl EngineHandle {
    pub(super) fn new(variant: Arc<Variant>, model: &str) -> (Self, mpsc::Receiver<Order>) {
        let (orders, inbox) = mpsc::channel();
        let model = model.into();
        (
            Self {
                model,
                orders,
                variant,
            },
            inbox,
        )
    }

    /// The same engine, which writes with another variant what comes through this handle.
    pub(super) fn with(&self, variant: Arc<Variant>) -> Self {
        Self {
            variant,
            ..self.clone()
        }
    }

    /// How much the last of `ids` looks at each of them when the next token is drawn, itself included: `(n_layer, n_head, T)`. Computed
    /// here and now, beside the engine's steps.
    ///
    /// # Errors
    /// If that panics.
    pub(crate) fn attention(&self, ids: &[u32]) -> Result<Vec<f32>, Failure> {
        let Variant { model, compute, .. } = &*self.variant;
        let weights = || autocast(*compute, || model.attention_weights(ids));
        catch_unwind(AssertUnwindSafe(weights)).map_err(|_| Failure::Bug)
    }

    /// Layers and heads of the model.
    pub(crate) fn heads(&self) -> [usize; 2] {
        let config = &self.variant.model.config;
        [config.n_layer, config.n_head]
    }

    /// Hands a request over. It does not wait: also a refusal comes as an event.
    #[must_use]
    pub fn submit(&self, request: GenerateRequest) -> Ticket {
        let (sender, events) = unbounded_channel();
        let order = Order {
            request,
            variant: self.variant.clone(),
            events: sender,
            submitted: Instant::now(),
        };
        // If the engine is gone, so is the sender, and the ticket says that.
        let _ = self.orders.send(order);
        let record = Record::current();
        if let Some(record) = &record {
            record.submitted(&self.model);
        }
        Ticket {
            events,
            ended: false,
            record,
            tokens: 0,
        }
    }
}
