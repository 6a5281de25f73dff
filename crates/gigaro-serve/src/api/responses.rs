//! `/v1/responses`: the next answer of a conversation in OpenAI's newer form.
//!
//! The same as `chat.rs` in other words, for clients that speak only this one. Nothing is kept between requests, so a conversation
//! comes whole in `input`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use gigaro_data::chat::Message;
use gigaro_models::generate::FinishReason;
use serde_json::{Map, Value, json};

use super::fields::{Body, Fields, wrong_kind};
use super::generation::{Chunks, collect, streamed, submit};
use super::messages::{Dialogue, item, message_item};
use super::output::Wanted;
use super::reply::{ReplyText, call_id};
use super::tools::{Said, Tools};
use super::{ApiError, Heading, asked_model, blocking, cache_scope, json_response};
use super::{output, sampling};
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
        with_calls,
    } = blocking(move || Plan::read(&asked, &caller, &body)).await?;
    let mut tickets = submit(&model, vec![request]).await?;
    let mut chunks = ReplyChunks::new(reply, with_calls);
    if stream {
        return Ok(streamed(&app, tickets, chunks));
    }
    let ticket = tickets.pop().ok_or_else(ApiError::bug)?;
    let choice = collect(ticket).await?;
    chunks.take(&choice.text);
    let object = chunks.end(choice.reason, choice.usage).pop();
    let object = object.ok_or_else(ApiError::bug)?;
    Ok(json_response(StatusCode::OK, &object["response"]))
}

/// What a request asks for, checked.
pub(super) struct Plan {
    model: Arc<ReadyModel>,
    request: GenerateRequest,
    stream: bool,
    reply: Reply,
    /// Whether the reply may call functions.
    with_calls: bool,
}

impl Plan {
    pub(super) fn read(app: &App, caller: &Caller, body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::parse(body)?;
        let (model, heading) = asked_model(app, &mut fields, "resp")?;
        let context = model.facts.context;
        let dialogue = dialogue(&mut fields)?;
        let names = ["tools", "tool_choice", "parallel_tool_calls", "text"];
        let mut echoed: Map<String, Value> = names
            .iter()
            .map(|name| ((*name).to_owned(), fields.peek(name)))
            .collect();
        let tools = Tools::read(&mut fields, false)?;
        let mut params = sampling::sampling(&mut fields, model.facts.vocab_size)?;
        let most = sampling::max_tokens(&mut fields, &["max_output_tokens"], 1, context)?;
        params.max_tokens = most.unwrap_or(context);
        let stream = fields.flag("stream")?;
        let cache_scope = cache_scope(&mut fields, caller)?;
        let metadata = metadata(&mut fields)?;
        let wanted = match fields.take("text") {
            None => None,
            Some(value) => text_format(value)?,
        };
        let wanted = tools.grammar(wanted)?;
        refuse_what_is_missing(&mut fields)?;
        fields.finish()?;
        let constraint = output::constraint(&model, wanted.as_ref(), &params, true)?;
        let prompt = super::chat::prompt(&model, dialogue, &tools, "input")?;
        let more = [
            ("max_output_tokens", json!(most)),
            ("temperature", json!(params.temperature)),
            ("top_p", json!(params.top_p)),
            ("metadata", json!(metadata)),
        ];
        echoed.extend(more.map(|(name, value)| (name.to_owned(), value)));
        Ok(Self {
            request: GenerateRequest {
                prompt,
                params,
                prompt_logprobs: None,
                constraint,
                embed: false,
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
            with_calls: tools.are_offered(),
        })
    }
}

/// `instructions`, and `input`: a text, or a list of messages, calls, and what these gave.
fn dialogue(fields: &mut Fields) -> Result<Dialogue, ApiError> {
    let mut dialogue = Dialogue::default();
    if let Some(instructions) = fields.text("instructions")? {
        dialogue.say(Message::system(instructions));
    }
    let list = match fields.required("input")? {
        Value::String(text) => {
            dialogue.say(Message::user(text));
            return Ok(dialogue);
        }
        Value::Array(list) if !list.is_empty() => list,
        Value::Array(_) => {
            let sentence = "input is empty: there is nothing to answer";
            return Err(ApiError::bad_field("input", sentence));
        }
        other => {
            return Err(wrong_kind(
                "input",
                "a string or a list of messages",
                &other,
            ));
        }
    };
    for (i, mut value) in list.into_iter().enumerate() {
        let place = format!("input[{i}]");
        let kind = value["type"].as_str().unwrap_or_default().to_owned();
        if kind == "function_call" || kind == "function_call_output" {
            let mut fields = Fields::inside(value, &place)?;
            fields.take("type");
            item(&kind, fields, &mut dialogue)?;
        } else {
            strip_item(&mut value);
            message_item(value, &place, &mut dialogue)?;
        }
    }
    Ok(dialogue)
}

/// The field `text`, whose `format` says what the reply has to be.
fn text_format(value: Value) -> Result<Option<Wanted>, ApiError> {
    let mut fields = Fields::inside(value, "text")?;
    let format = fields.take("format");
    fields.refuse("verbosity", |_| false, "no model here has such a setting")?;
    fields.finish()?;
    let Some(format) = format else {
        return Ok(None);
    };
    let grammar = output::response_format(format, "text.format", None)?;
    Ok(grammar.map(|grammar| Wanted {
        grammar,
        param: "text.format",
    }))
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
    echoed: Map<String, Value>,
}

impl Reply {
    fn object(&self, status: &str, output: &[Value], usage: Option<Usage>) -> Value {
        let echoed = |name: &str, default: Value| match self.echoed.get(name) {
            None | Some(Value::Null) => default,
            Some(value) => value.clone(),
        };
        let calls = echoed("tools", json!([])) != json!([]);
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
            "parallel_tool_calls": echoed("parallel_tool_calls", json!(calls)),
            "previous_response_id": null,
            "store": false,
            "text": echoed("text", json!({ "format": { "type": "text" } })),
            "tool_choice": echoed("tool_choice", json!(if calls { "auto" } else { "none" })),
            "tools": echoed("tools", json!([])),
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
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [] })
}

/// A call of a function that is being written.
struct Call {
    id: String,
    call_id: String,
    name: String,
    arguments: String,
}

impl Call {
    fn item(&self, status: &str) -> Value {
        json!({
            "id": self.id,
            "type": "function_call",
            "status": status,
            "call_id": self.call_id,
            "name": self.name,
            "arguments": self.arguments,
        })
    }
}

/// The item of an answer that is being written.
enum Open {
    Message(String),
    Call(Call),
}

/// The events of a streamed answer.
struct ReplyChunks {
    reply: Reply,
    text: ReplyText,
    with_calls: bool,
    open: Option<Open>,
    /// Items that are whole.
    done: Vec<Value>,
    /// Events so far.
    sent: u64,
}

impl ReplyChunks {
    fn new(reply: Reply, with_calls: bool) -> Self {
        Self {
            reply,
            text: ReplyText::new(with_calls),
            with_calls,
            open: None,
            done: Vec::new(),
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

    /// An event about the text of the message that is being written.
    fn text_event(&mut self, kind: &str, more: Value) -> Value {
        let mut place = json!({
            "item_id": self.reply.message_id,
            "output_index": self.done.len(),
            "content_index": 0,
        });
        if let (Some(place), Value::Object(more)) = (place.as_object_mut(), more) {
            place.extend(more);
        }
        self.event(kind, place)
    }

    /// Begins an item, after the end of the one before.
    fn open(&mut self, open: Open) -> Vec<Value> {
        let mut events = self.close("completed");
        let item = match &open {
            Open::Message(_) => self.reply.message("in_progress", Vec::new()),
            Open::Call(call) => call.item("in_progress"),
        };
        let at = self.done.len();
        let added = json!({ "output_index": at, "item": item });
        events.push(self.event("response.output_item.added", added));
        if matches!(open, Open::Message(_)) {
            let more = json!({ "part": part("") });
            events.push(self.text_event("response.content_part.added", more));
        }
        self.open = Some(open);
        events
    }

    /// Ends the item that is being written.
    fn close(&mut self, status: &str) -> Vec<Value> {
        let mut events = Vec::new();
        let item = match self.open.take() {
            None => return events,
            Some(Open::Message(text)) => {
                let done = json!({ "text": text, "logprobs": [] });
                events.push(self.text_event("response.output_text.done", done));
                let done = json!({ "part": part(&text) });
                events.push(self.text_event("response.content_part.done", done));
                self.reply.message(status, vec![part(&text)])
            }
            Some(Open::Call(call)) => {
                let done = json!({
                    "item_id": call.id,
                    "output_index": self.done.len(),
                    "name": call.name,
                    "arguments": call.arguments,
                });
                events.push(self.event("response.function_call_arguments.done", done));
                call.item(status)
            }
        };
        let done = json!({ "output_index": self.done.len(), "item": item });
        events.push(self.event("response.output_item.done", done));
        self.done.push(item);
        events
    }

    /// Takes another piece of the reply.
    fn take(&mut self, piece: &str) -> Vec<Value> {
        let said = self.text.push(piece);
        said.into_iter().flat_map(|said| self.tell(said)).collect()
    }

    fn blank_before_call(&self, text: &str) -> bool {
        self.with_calls && self.open.is_none() && text.trim().is_empty()
    }

    fn tell(&mut self, said: Said) -> Vec<Value> {
        let mut events = Vec::new();
        match said {
            // Blanks before a call are no message.
            Said::Text(text) if self.blank_before_call(&text) => {}
            Said::Text(piece) => {
                if !matches!(self.open, Some(Open::Message(_))) {
                    events = self.open(Open::Message(String::new()));
                }
                if let Some(Open::Message(text)) = &mut self.open {
                    *text += &piece;
                }
                let more = json!({ "delta": piece, "logprobs": [] });
                events.push(self.text_event("response.output_text.delta", more));
            }
            Said::Call(name) => {
                events = self.open(Open::Call(Call {
                    id: Heading::new("fc", "").id,
                    call_id: call_id(),
                    name,
                    arguments: String::new(),
                }));
            }
            Said::Arguments(more) => {
                if let Some(Open::Call(call)) = &mut self.open {
                    call.arguments += &more;
                    let at = self.done.len();
                    let delta = json!({ "item_id": call.id, "output_index": at, "delta": more });
                    events.push(self.event("response.function_call_arguments.delta", delta));
                }
            }
        }
        events
    }

    /// The end of the answer; the last event holds all of it.
    fn end(&mut self, reason: FinishReason, usage: Usage) -> Vec<Value> {
        let mut events = Vec::new();
        if let Some(said) = self.text.finish() {
            events = self.tell(said);
        }
        if self.open.is_none() && self.done.is_empty() {
            events.extend(self.open(Open::Message(String::new())));
        }
        let whole = reason == FinishReason::Stop;
        let status = if whole { "completed" } else { "incomplete" };
        events.extend(self.close(status));
        let mut object = self.reply.object(status, &self.done, Some(usage));
        let kind = if whole {
            "response.completed"
        } else {
            object["incomplete_details"] = json!({ "reason": "max_output_tokens" });
            "response.incomplete"
        };
        events.push(self.event(kind, json!({ "response": object })));
        events
    }
}

impl Chunks for ReplyChunks {
    fn opening(&mut self) -> Vec<Value> {
        let object = self.reply.object("in_progress", &[], None);
        vec![
            self.event("response.created", json!({ "response": object })),
            self.event("response.in_progress", json!({ "response": object })),
        ]
    }

    fn chunks(&mut self, _: usize, event: Event) -> Vec<Value> {
        match event {
            Event::Token { text, .. } => self.take(&text),
            Event::Finished {
                text,
                reason,
                usage,
                ..
            } => {
                let mut events = self.take(&text);
                events.extend(self.end(reason, usage));
                events
            }
            Event::Admitted | Event::PromptLogprobs(_) | Event::Embedding(_) | Event::Failed(_) => {
                Vec::new()
            }
        }
    }

    fn closing(&mut self) -> Vec<Value> {
        Vec::new()
    }

    fn is_named(&self) -> bool {
        true
    }
}
