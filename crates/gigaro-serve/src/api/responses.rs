//! `/v1/responses`: the next answer of a conversation in OpenAI's newer form.
//!
//! The same as `chat.rs` in other words, for clients that speak only this one. Nothing is kept between requests, so a conversation
//! comes whole in `input`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use gigaro_data::chat::{Message, message_text};
use gigaro_models::generate::FinishReason;
use serde_json::{Map, Value, json};

use super::fields::{Body, Fields, wrong_kind};
use super::generation::{Chunks, collect, streamed, submit};
use super::messages::messages;
use super::sampling;
use super::{ApiError, Heading, asked_model, blocking, cache_scope, json_response};
use crate::engine::{Event, GenerateRequest, ReadyModel, Usage};
use crate::server::{App, Caller};

/// Answers at once, or as a stream.
pub(super) async fn responses(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let asked = app.clone();
    let Plan {
        model,
        request,
        stream,
        reply,
    } = blocking(move || Plan::read(&asked, &caller, &body)).await?;
    let mut tickets = submit(&model, vec![request]).await?;
    if stream {
        return Ok(streamed(&app, tickets, ReplyChunks::new(reply)));
    }
    let ticket = tickets.pop().ok_or_else(ApiError::bug)?;
    let choice = collect(ticket).await?;
    let text = message_text(&choice.text);
    let object = reply.ended(text, choice.reason, choice.usage);
    Ok(json_response(StatusCode::OK, &object))
}

/// What a request asks for, checked.
pub(super) struct Plan {
    model: Arc<ReadyModel>,
    request: GenerateRequest,
    stream: bool,
    reply: Reply,
}

impl Plan {
    pub(super) fn read(app: &App, caller: &Caller, body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::parse(body)?;
        let (model, heading) = asked_model(app, &mut fields, "resp")?;
        let context = model.facts.context;
        let conversation = conversation(&mut fields)?;
        let mut params = sampling::sampling(&mut fields, model.facts.vocab_size)?;
        let most = sampling::max_tokens(&mut fields, &["max_output_tokens"], 1, context)?;
        params.max_tokens = most.unwrap_or(context);
        let stream = fields.flag("stream")?;
        let cache_scope = cache_scope(&mut fields, caller)?;
        let metadata = metadata(&mut fields)?;
        refuse_what_is_missing(&mut fields)?;
        fields.finish()?;
        let prompt = super::chat::prompt(&model, &conversation, "input")?;
        let echoed = json!({
            "max_output_tokens": most,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "metadata": metadata,
        });
        Ok(Self {
            request: GenerateRequest {
                prompt,
                params,
                prompt_logprobs: None,
                tenant: caller.name.clone(),
                cache_scope,
            },
            model,
            stream,
            reply: Reply {
                heading,
                message_id: Heading::new("msg", "").id,
                echoed,
            },
        })
    }
}

/// `instructions`, and `input`: a text or a list of messages.
fn conversation(fields: &mut Fields) -> Result<Vec<Message>, ApiError> {
    let mut conversation: Vec<Message> = fields
        .text("instructions")?
        .into_iter()
        .map(Message::system)
        .collect();
    match fields.required("input")? {
        Value::String(text) => conversation.push(Message::user(text)),
        Value::Array(mut list) => {
            for item in &mut list {
                strip_item(item);
            }
            conversation.extend(messages(Value::Array(list), "input")?);
        }
        other => {
            return Err(wrong_kind(
                "input",
                "a string or a list of messages",
                &other,
            ));
        }
    }
    Ok(conversation)
}

/// Takes off what an earlier answer has beside its words when a client sends it back: its kind, its number, and that it is whole.
fn strip_item(item: &mut Value) {
    let Some(object) = item.as_object_mut() else {
        return;
    };
    if object.get("type").is_some_and(|kind| *kind == "message") {
        object.remove("type");
        object.remove("id");
        object.remove("status");
    }
    let parts = object.get_mut("content").and_then(Value::as_array_mut);
    for part in parts.into_iter().flatten().filter_map(Value::as_object_mut) {
        let is_empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
        for name in ["annotations", "logprobs"] {
            if part.get(name).is_some_and(is_empty) {
                part.remove(name);
            }
        }
    }
}

/// Up to sixteen texts that come back with the answer.
fn metadata(fields: &mut Fields) -> Result<Map<String, Value>, ApiError> {
    let wanted = "an object of at most 16 strings";
    match fields.take("metadata") {
        None => Ok(Map::new()),
        Some(Value::Object(map)) if map.len() <= 16 && map.values().all(Value::is_string) => {
            Ok(map)
        }
        Some(other) => Err(wrong_kind("metadata", wanted, &other)),
    }
}

fn refuse_what_is_missing(fields: &mut Fields) -> Result<(), ApiError> {
    let is_false = |value: &Value| *value == Value::Bool(false);
    let is_empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    let kept = "answers are not kept by this address; send the whole conversation as input";
    fields.refuse("store", is_false, kept)?;
    fields.refuse("previous_response_id", |_| false, kept)?;
    fields.refuse("conversation", |_| false, kept)?;
    fields.refuse("background", is_false, kept)?;
    let plain = |value: &Value| *value == json!({ "format": { "type": "text" } });
    fields.refuse("text", plain, "replies cannot be held to a grammar yet")?;
    let tools = "this server calls no tools yet";
    fields.refuse("tools", is_empty, tools)?;
    fields.refuse("tool_choice", |value| *value == "none", tools)?;
    fields.refuse("parallel_tool_calls", is_false, tools)?;
    fields.refuse("include", is_empty, "there is nothing to include")?;
    let cut = "a conversation that is too long is refused and not cut";
    fields.refuse("truncation", |value| *value == "disabled", cut)?;
    fields.refuse("reasoning", |_| false, "no model here has such a setting")?;
    sampling::refuse_service_tier(fields)
}

/// An answer's object, at any time of its life.
struct Reply {
    heading: Heading,
    message_id: String,
    /// What the request said, which the answer says again.
    echoed: Value,
}

impl Reply {
    fn object(&self, status: &str, output: Vec<Value>, usage: Option<Usage>) -> Value {
        json!({
            "id": self.heading.id,
            "object": "response",
            "created_at": self.heading.created,
            "status": status,
            "error": null,
            "incomplete_details": null,
            "instructions": null,
            "model": self.heading.model,
            "output": output,
            "parallel_tool_calls": false,
            "previous_response_id": null,
            "store": false,
            "text": { "format": { "type": "text" } },
            "tool_choice": "none",
            "tools": [],
            "truncation": "disabled",
            "max_output_tokens": self.echoed["max_output_tokens"],
            "temperature": self.echoed["temperature"],
            "top_p": self.echoed["top_p"],
            "metadata": self.echoed["metadata"],
            "usage": usage.map(|usage| json!({
                "input_tokens": usage.prompt_tokens,
                "input_tokens_details": { "cached_tokens": usage.cached_tokens },
                "output_tokens": usage.completion_tokens,
                "output_tokens_details": { "reasoning_tokens": 0 },
                "total_tokens": usage.prompt_tokens + usage.completion_tokens,
            })),
        })
    }

    fn message(&self, status: &str, content: Vec<Value>) -> Value {
        json!({
            "id": self.message_id,
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": content,
        })
    }

    fn ended(&self, text: &str, reason: FinishReason, usage: Usage) -> Value {
        let whole = reason == FinishReason::Stop;
        let status = if whole { "completed" } else { "incomplete" };
        let message = self.message(status, vec![part(text)]);
        let mut object = self.object(status, vec![message], Some(usage));
        if !whole {
            object["incomplete_details"] = json!({ "reason": "max_output_tokens" });
        }
        object
    }
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [] })
}

/// The events of a streamed answer.
struct ReplyChunks {
    reply: Reply,
    text: String,
    /// Whether there was a piece already: the first one loses the space that stands before every message.
    begun: bool,
    /// Events so far.
    sent: u64,
}

impl ReplyChunks {
    fn new(reply: Reply) -> Self {
        Self {
            reply,
            text: String::new(),
            begun: false,
            sent: 0,
        }
    }

    fn event(&mut self, kind: &str, more: Value) -> Value {
        let mut event = json!({ "type": kind, "sequence_number": self.sent });
        self.sent += 1;
        if let (Some(event), Value::Object(more)) = (event.as_object_mut(), more) {
            event.extend(more);
        }
        event
    }

    /// Where in the answer the text stands.
    fn place(&self, more: Value) -> Value {
        let mut place = json!({
            "item_id": self.reply.message_id,
            "output_index": 0,
            "content_index": 0,
        });
        if let (Some(place), Value::Object(more)) = (place.as_object_mut(), more) {
            place.extend(more);
        }
        place
    }

    fn delta(&mut self, piece: &str) -> Vec<Value> {
        if piece.is_empty() {
            return Vec::new();
        }
        let begun = std::mem::replace(&mut self.begun, true);
        let piece = if begun { piece } else { message_text(piece) };
        self.text += piece;
        let place = self.place(json!({ "delta": piece, "logprobs": [] }));
        vec![self.event("response.output_text.delta", place)]
    }

    fn end(&mut self, reason: FinishReason, usage: Usage) -> Vec<Value> {
        let text = std::mem::take(&mut self.text);
        let object = self.reply.ended(&text, reason, usage);
        let done = self.place(json!({ "text": text, "logprobs": [] }));
        let part_done = self.place(json!({ "part": part(&text) }));
        let item_done = json!({ "output_index": 0, "item": object["output"][0] });
        let kind = if reason == FinishReason::Stop {
            "response.completed"
        } else {
            "response.incomplete"
        };
        vec![
            self.event("response.output_text.done", done),
            self.event("response.content_part.done", part_done),
            self.event("response.output_item.done", item_done),
            self.event(kind, json!({ "response": object })),
        ]
    }
}

impl Chunks for ReplyChunks {
    fn opening(&mut self) -> Vec<Value> {
        let object = self.reply.object("in_progress", Vec::new(), None);
        let item = self.reply.message("in_progress", Vec::new());
        let place = self.place(json!({ "part": part("") }));
        vec![
            self.event("response.created", json!({ "response": object })),
            self.event("response.in_progress", json!({ "response": object })),
            self.event(
                "response.output_item.added",
                json!({ "output_index": 0, "item": item }),
            ),
            self.event("response.content_part.added", place),
        ]
    }

    fn chunks(&mut self, _: usize, event: Event) -> Vec<Value> {
        match event {
            Event::Token { text, .. } => self.delta(&text),
            Event::Finished {
                text,
                reason,
                usage,
                ..
            } => {
                let mut events = self.delta(&text);
                events.extend(self.end(reason, usage));
                events
            }
            Event::Admitted | Event::PromptLogprobs(_) | Event::Failed(_) => Vec::new(),
        }
    }

    fn closing(&mut self) -> Vec<Value> {
        Vec::new()
    }

    fn is_named(&self) -> bool {
        true
    }
}
