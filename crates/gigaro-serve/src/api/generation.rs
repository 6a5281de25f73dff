//! From tickets to choices: whole ones for an answer at once, and pieces for a stream.
//!
//! Nothing here knows which of OpenAI's forms the choices end up in; those are in `chat.rs` and `completions.rs`.

use std::convert::Infallible;
use std::sync::Arc;

use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::future;
use futures_util::stream::{self, Stream, StreamExt};
use gigaro_models::generate::{FinishReason, TokenLogprobs};
use serde_json::{Value, json};

use super::ApiError;
use crate::engine::{Event, GenerateRequest, ReadyModel, Ticket, Usage};
use crate::record::Record;
use crate::server::App;

/// A whole reply.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) text: String,
    pub(super) tokens: Vec<u32>,
    /// Of the reply's tokens, if asked for.
    pub(super) logprobs: Vec<TokenLogprobs>,
    /// Of the prompt's tokens from the second on, if asked for.
    pub(super) prompt_logprobs: Vec<TokenLogprobs>,
    pub(super) reason: FinishReason,
    /// The token that ended it, if log-probabilities were asked for.
    pub(super) end: Option<(u32, TokenLogprobs)>,
    pub(super) usage: Usage,
}

impl Choice {
    /// Mean log-probability of its tokens, by which the best of several is chosen; the least for a reply without any.
    pub(super) fn mean_logprob(&self) -> f32 {
        let sum: f32 = self.logprobs.iter().map(|l| l.chosen).sum();
        match self.logprobs.len() {
            0 => f32::NEG_INFINITY,
            n => sum / n as f32,
        }
    }
}

/// Hands requests over and waits until each has left the queue, so that a refusal still has a status of its own.
pub(super) async fn submit(
    model: &ReadyModel,
    requests: Vec<GenerateRequest>,
) -> Result<Vec<Ticket>, ApiError> {
    let submit = |request| model.engine.submit(request);
    let mut tickets: Vec<Ticket> = requests.into_iter().map(submit).collect();
    for ticket in &mut tickets {
        match ticket.next().await {
            Some(Event::Failed(failure)) => return Err(failure.into()),
            Some(_) => {}
            None => return Err(ApiError::bug()),
        }
    }
    Ok(tickets)
}

/// Waits for the end of a reply.
pub(super) async fn collect(mut ticket: Ticket) -> Result<Choice, ApiError> {
    let (mut text, mut tokens) = (String::new(), Vec::new());
    let (mut logprobs, mut prompt_logprobs) = (Vec::new(), Vec::new());
    while let Some(event) = ticket.next().await {
        match event {
            Event::Admitted | Event::Embedding(_) => {}
            Event::PromptLogprobs(scores) => prompt_logprobs = scores,
            Event::Token {
                token,
                text: piece,
                logprobs: report,
            } => {
                text += &piece;
                tokens.push(token);
                logprobs.extend(report);
            }
            Event::Finished {
                text: rest,
                reason,
                end,
                usage,
            } => {
                return Ok(Choice {
                    text: text + &rest,
                    tokens,
                    logprobs,
                    prompt_logprobs,
                    reason,
                    end,
                    usage,
                });
            }
            Event::Failed(failure) => return Err(failure.into()),
        }
    }
    Err(ApiError::bug())
}

/// What happens to several replies, each with its index, as it happens.
pub(super) fn merged(tickets: Vec<Ticket>) -> impl Stream<Item = (usize, Event)> + Send {
    let streams = tickets.into_iter().enumerate().map(|(index, ticket)| {
        stream::unfold(ticket, move |mut ticket| async move {
            let event = ticket.next().await?;
            Some(((index, event), ticket))
        })
        .boxed()
    });
    stream::select_all(streams)
}

/// Turns events into the chunks of a stream.
pub(super) trait Chunks: Send + 'static {
    /// Sent before anything has happened.
    fn opening(&mut self) -> Vec<Value>;
    /// Sent when something has happened to the reply of that index.
    fn chunks(&mut self, index: usize, event: Event) -> Vec<Value>;
    /// Sent when all replies have ended, before `[DONE]`.
    fn closing(&mut self) -> Vec<Value>;
    /// Whether events bear the name in their `type`, and the last of them is the end; otherwise they bear none, and `[DONE]` is.
    fn is_named(&self) -> bool {
        false
    }
}

/// A stream of server-sent events: chunks, and `[DONE]` after the last; a failure ends it with an error instead. While nothing happens
/// it gives signs of life. When the client leaves, the tickets are dropped, which takes the requests back.
pub(super) fn streamed(app: &Arc<App>, tickets: Vec<Ticket>, mut chunks: impl Chunks) -> Response {
    enum Part {
        Opening,
        Of(usize, Event),
        Closing,
    }
    let parts = stream::iter([Part::Opening])
        .chain(merged(tickets).map(|(index, event)| Part::Of(index, event)))
        .chain(stream::iter([Part::Closing]));
    let named = chunks.is_named();
    let record = Record::current();
    let data = parts.scan(false, move |failed, part| {
        let (mut sent, mut done) = (Vec::new(), None);
        match part {
            _ if *failed => return future::ready(None),
            Part::Opening => sent.extend(chunks.opening()),
            Part::Of(_, Event::Failed(failure)) => {
                *failed = true;
                let mut object = ApiError::from(failure).object();
                if let Some(record) = &record {
                    object["request_id"] = record.id.as_str().into();
                }
                sent.push(object);
            }
            Part::Of(index, event) => sent.extend(chunks.chunks(index, event)),
            Part::Closing => {
                sent.extend(chunks.closing());
                done = (!named).then(|| SseEvent::default().data("[DONE]"));
            }
        }
        let sent = sent.into_iter().map(move |value| sse_event(&value, named));
        future::ready(Some(stream::iter(sent.chain(done))))
    });
    let events = data.flatten().map(Ok::<_, Infallible>);
    let alive = KeepAlive::new()
        .interval(app.limits().ping_time)
        .text("ping");
    Sse::new(events).keep_alive(alive).into_response()
}

fn sse_event(value: &Value, named: bool) -> SseEvent {
    let event = SseEvent::default().data(value.to_string());
    match value["type"].as_str() {
        Some(kind) if named => event.event(kind),
        _ => event,
    }
}

/// How many tokens a request took: `usages` holds one for each reply, `prompts` one for each prompt.
pub(super) fn usage_object(prompts: &[Usage], replies: usize) -> Value {
    let prompt: usize = prompts.iter().map(|usage| usage.prompt_tokens).sum();
    let cached: usize = prompts.iter().map(|usage| usage.cached_tokens).sum();
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": replies,
        "total_tokens": prompt + replies,
        "prompt_tokens_details": { "cached_tokens": cached },
    })
}
