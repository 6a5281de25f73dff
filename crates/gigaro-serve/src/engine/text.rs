//! One text under way: what of its prompt is read, its reply in the making, and whom to tell.
//!
//! It decides nothing about others and calls no model; the loop is `room.rs`.

use std::sync::Arc;
use std::time::Instant;

use gigaro_models::generate::logprobs::top_logprobs;
use gigaro_models::generate::{Draft, FinishReason, Sampled, TokenLogprobs};
use gigaro_models::gpt::DecodePart;

use super::constraint::Constraint;
use super::request::{Event, Failure, Order, Usage};
use super::rows::Following;
use super::schedule::Unread;
use super::variant::Variant;
use crate::metrics::ModelMetrics;

/// A request that has a row of the cache.
pub(super) struct Text {
    order: Order,
    pub(super) row: usize,
    /// The text that is reading what this one begins with, until it has.
    pub(super) follows: Option<Following>,
    draft: Draft,
    constraint: Option<Constraint>,
    /// Of a prompt that is read for its embedding: what the last layer left for its tokens so far, added up.
    pooled: Vec<f64>,
    /// Tokens of the prompt that are read.
    read: usize,
    /// The token drawn last, which is to be read next.
    drawn: Option<u32>,
    prompt_logprobs: Vec<TokenLogprobs>,
    usage: Usage,
    last_token: Option<Instant>,
    /// The token that ended the reply, if its log-probability is asked for.
    end: Option<(u32, TokenLogprobs)>,
}

/// Whether a text goes on after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlook {
    GoesOn,
    IsOver,
}

impl Text {
    /// Begins a text whose first `kept` tokens are in its row already, and tells so.
    pub(super) fn begin(
        mut order: Order,
        row: usize,
        kept: usize,
        follows: Option<Following>,
    ) -> Self {
        // Whoever left is noticed before the next step.
        let _ = order.events.send(Event::Admitted);
        let constraint = order.request.constraint.take();
        let request = &order.request;
        Self {
            row,
            follows,
            draft: Draft::new(&request.prompt, &request.params),
            constraint,
            pooled: Vec::new(),
            read: kept,
            drawn: None,
            prompt_logprobs: Vec::new(),
            usage: Usage {
                prompt_tokens: request.prompt.len(),
                cached_tokens: kept,
                completion_tokens: 0,
            },
            last_token: None,
            end: None,
            order,
        }
    }

    /// What it is written with.
    pub(super) fn variant(&self) -> &Arc<Variant> {
        &self.order.variant
    }

    /// Whether it is read for what the last layer leaves, and not for logits.
    pub(super) fn is_embedded(&self) -> bool {
        self.order.request.embed
    }

    /// Whether nobody listens any more.
    pub(super) fn is_unwanted(&self) -> bool {
        self.order.events.is_closed()
    }

    /// What it would have read next.
    pub(super) fn unread(&self) -> Unread {
        match self.drawn {
            _ if self.follows.is_some() => Unread::Nothing,
            Some(_) => Unread::Token,
            None => Unread::Prompt {
                left: self.order.request.prompt.len() - self.read,
            },
        }
    }

    /// The next `share` tokens, and how many of the logits after them are needed.
    pub(super) fn part(&self, share: usize) -> DecodePart<'_> {
        let (ids, logits) = match &self.drawn {
            Some(token) => (std::slice::from_ref(token), 1),
            None => {
                let request = &self.order.request;
                let ids = &request.prompt[self.read..self.read + share];
                let ends = self.read + share == request.prompt.len();
                let needed = match request.prompt_logprobs {
                    _ if request.embed => 0,
                    Some(_) => share,
                    None => usize::from(ends),
                };
                (ids, needed)
            }
        };
        DecodePart {
            row: self.row,
            ids,
            logits,
        }
    }

    /// Of the logits after the `share` tokens of its next part, those that are followed by a token of the prompt: how many, that token
    /// of each, and how many alternatives to report. They are the first ones.
    pub(super) fn to_score(&self, share: usize) -> Option<(&[u32], usize)> {
        let request = &self.order.request;
        let alternatives = request.prompt_logprobs.filter(|_| self.drawn.is_none())?;
        let end = (self.read + share + 1).min(request.prompt.len());
        Some((&request.prompt[self.read + 1..end], alternatives))
    }

    /// Takes in that its next `share` tokens are read; of the prompt, with their log-probabilities if they were to be scored. Tells
    /// those of the whole prompt once it is read.
    pub(super) fn have_read(&mut self, share: usize, scores: Vec<TokenLogprobs>) {
        if self.drawn.take().is_some() {
            return;
        }
        self.read += share;
        self.prompt_logprobs.extend(scores);
        let whole = self.read == self.order.request.prompt.len();
        if whole && self.order.request.prompt_logprobs.is_some() {
            let scores = std::mem::take(&mut self.prompt_logprobs);
            let _ = self.order.events.send(Event::PromptLogprobs(scores));
        }
    }

    /// Takes in what the last layer left for the next tokens of its prompt, a row each. Token after token, so that the sum does not depend
    /// on how the prompt was cut.
    pub(super) fn pool(&mut self, hidden: &[f32]) {
        for row in hidden.chunks(self.order.variant.model.config.d_model) {
            self.pooled.resize(row.len(), 0.0);
            for (sum, &x) in self.pooled.iter_mut().zip(row) {
                *sum += f64::from(x);
            }
        }
    }

    /// All of the prompt, if some of it is not read yet.
    pub(super) fn prompt_being_read(&self) -> Option<&[u32]> {
        let prompt = &self.order.request.prompt;
        (self.read < prompt.len()).then_some(prompt)
    }

    /// Takes in that the first `kept` tokens of the prompt came from another row; gives them.
    pub(super) fn have_copied(&mut self, kept: usize) -> &[u32] {
        self.read = kept;
        self.usage.cached_tokens = kept;
        &self.order.request.prompt[..kept]
    }

    /// Tokens of the prompt that are read.
    pub(super) fn prompt_read(&self) -> usize {
        self.read
    }

    /// Whether its next token is to be drawn now.
    pub(super) fn is_all_read(&self) -> bool {
        self.drawn.is_none() && self.read == self.order.request.prompt.len()
    }

    /// Whether a reply is wanted, and not only the prompt's log-probabilities.
    pub(super) fn wants_tokens(&self) -> bool {
        self.order.request.params.max_tokens > 0
    }

    /// Draws the next token, among those that its grammar allows.
    ///
    /// # Errors
    /// If the weights give nothing to draw from, or the grammar allows nothing.
    pub(super) fn draw(&mut self, logits: &[f32]) -> Result<Sampled, Failure> {
        let allowed = match &mut self.constraint {
            None => None,
            Some(constraint) => Some(constraint.allowed().map_err(Failure::Grammar)?),
        };
        let drawn = self.draft.draw_among(logits, allowed);
        drawn.map_err(|error| Failure::Weights(error.to_string()))
    }

    /// Takes the drawn token in and tells it. `room` is how many tokens still fit into its row.
    pub(super) fn take(
        &mut self,
        sampled: Sampled,
        room: usize,
        metrics: &ModelMetrics,
    ) -> Outlook {
        let Sampled { token, logprobs } = sampled;
        let now = Instant::now();
        match self.last_token.replace(now) {
            None => metrics.first_token(now - self.order.submitted),
            Some(before) => metrics.next_token(now - before),
        }
        let words = &self.order.variant.words;
        let ends = self.draft.is_end(token, words);
        let taken = self.draft.take(token, room, words);
        if ends {
            self.end = logprobs.map(|report| (token, report));
        } else {
            self.usage.completion_tokens += 1;
            let event = Event::Token {
                token,
                text: taken.piece,
                logprobs,
            };
            let _ = self.order.events.send(event);
        }
        let mut over = taken.finish_reason;
        if let Some(constraint) = self.constraint.as_mut().filter(|_| !ends) {
            if let Err(sentence) = constraint.accept(token) {
                self.fail(Failure::Grammar(sentence), metrics);
                return Outlook::IsOver;
            }
            // A reply that nothing can follow need not wait for the model to end it.
            if constraint.is_complete() {
                over = Some(FinishReason::Stop);
            }
        }
        match over {
            None => {
                self.drawn = Some(token);
                Outlook::GoesOn
            }
            Some(reason) => {
                self.finish(reason, metrics);
                Outlook::IsOver
            }
        }
    }

    /// Tells that it is whole.
    pub(super) fn finish(&mut self, reason: FinishReason, metrics: &ModelMetrics) {
        metrics.ended(&self.order.request.tenant, reason.as_str(), &self.usage);
        if self.is_embedded() {
            let n = self.read as f64;
            let mean = self.pooled.iter().map(|sum| (sum / n) as f32).collect();
            let _ = self.order.events.send(Event::Embedding(mean));
        }
        let event = Event::Finished {
            text: self.draft.finish(),
            reason,
            end: self.end.take(),
            usage: self.usage,
        };
        let _ = self.order.events.send(event);
    }

    /// Tells that there is no more of it.
    pub(super) fn fail(&self, failure: Failure, metrics: &ModelMetrics) {
        metrics.ended(&self.order.request.tenant, "failed", &self.usage);
        let _ = self.order.events.send(Event::Failed(failure));
    }

    /// Counts that nobody wanted the rest.
    pub(super) fn cancel(&self, metrics: &ModelMetrics) {
        let outcome = FinishReason::Cancelled.as_str();
        metrics.ended(&self.order.request.tenant, outcome, &self.usage);
    }
}

/// A token of a prompt that waits for its log-probability.
pub(super) struct Score<'a> {
    pub(super) logits: &'a [f32],
    pub(super) token: u32,
    pub(super) alternatives: usize,
    pub(super) result: Option<TokenLogprobs>,
}

impl Score<'_> {
    pub(super) fn compute(&mut self) {
        self.result = Some(top_logprobs(self.logits, self.token, self.alternatives));
    }
}
