//! `/v1/chat/completions`: the next answer of a conversation, which may be calls of functions.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use gigaro_data::Tokenizer;
use gigaro_data::chat::{Message, Role};
use gigaro_models::generate::TokenLogprobs;
use serde_json::{Value, json};

use super::fields::{Body, Fields};
use super::generation::{Choice, Chunks, collect, streamed, submit, usage_object};
use super::logprobs::chat_token;
use super::messages::{Dialogue, messages};
use super::output;
use super::reply::{ReplyText, call_id, put_together};
use super::sampling::{self, MAX_REPLIES, MAX_TOP_LOGPROBS, Streaming};
use super::tools::{Said, Tools};
use super::{ApiError, Heading, asked_model, blocking, cache_scope, json_response};
use crate::engine::{Event, GenerateRequest, ReadyModel, Usage};
use crate::server::{App, Caller};

/// Answers at once, or as a stream.
pub(super) async fn chat(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let asked = app.clone();
    let plan = blocking(move || Plan::read(&asked, &caller, &body)).await?;
    let Plan {
        model,
        heading,
        requests,
        streaming,
        with_logprobs,
        with_calls,
    } = plan;
    let n = requests.len();
    let tickets = submit(&model, requests).await?;
    if streaming.stream {
        let chunks = ChatChunks {
            heading,
            tokenizer: model.tokenizer.clone(),
            include_usage: streaming.include_usage,
            with_logprobs,
            replies: (0..n).map(|_| ReplyText::new(with_calls)).collect(),
            usages: Vec::new(),
        };
        return Ok(streamed(&app, tickets, chunks));
    }
    let mut choices = Vec::with_capacity(n);
    for ticket in tickets {
        choices.push(collect(ticket).await?);
    }
    let written = choices.iter().map(|c| c.usage.completion_tokens).sum();
    let usage = usage_object(&[choices[0].usage], written);
    let choices: Vec<Value> = choices
        .iter()
        .enumerate()
        .map(|(index, choice)| {
            let reply = ReplyText::new(with_calls);
            whole(index, choice, reply, &model.tokenizer, with_logprobs)
        })
        .collect();
    let mut object = heading.object("chat.completion");
    object["choices"] = choices.into();
    object["usage"] = usage;
    Ok(json_response(StatusCode::OK, &object))
}

/// What a request asks for, checked.
pub(super) struct Plan {
    model: Arc<ReadyModel>,
    heading: Heading,
    /// One for each choice; at least one.
    requests: Vec<GenerateRequest>,
    streaming: Streaming,
    with_logprobs: bool,
    /// Whether replies may call functions.
    with_calls: bool,
}

impl Plan {
    pub(super) fn read(app: &App, caller: &Caller, body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::parse(body)?;
        let (model, heading) = asked_model(app, &mut fields, "chatcmpl")?;
        let context = model.facts.context;
        let dialogue = messages(fields.required("messages")?, "messages")?;
        let tools = Tools::read(&mut fields, true)?;
        let mut params = sampling::sampling(&mut fields, model.facts.vocab_size)?;
        let names = ["max_completion_tokens", "max_tokens"];
        let most = sampling::max_tokens(&mut fields, &names, 1, context)?;
        params.max_tokens = most.unwrap_or(context);
        let n = fields.count("n", 1..=MAX_REPLIES)?.unwrap_or(1);
        let with_logprobs = fields.flag("logprobs")?;
        let top = fields.count("top_logprobs", 0..=MAX_TOP_LOGPROBS)?;
        if top.is_some() && !with_logprobs {
            let sentence = "top_logprobs only makes sense with logprobs: true";
            return Err(ApiError::bad_field("top_logprobs", sentence));
        }
        params.logprobs = with_logprobs.then(|| top.unwrap_or(0));
        let streaming = sampling::streaming(&mut fields)?;
        let cache_scope = cache_scope(&mut fields, caller)?;
        let wanted = tools.grammar(output::wanted(&mut fields)?)?;
        sampling::refuse_what_is_missing(&mut fields)?;
        refuse_what_is_missing(&mut fields)?;
        fields.finish()?;
        let constraint = output::constraint(&model, wanted.as_ref(), &params, true)?;
        let prompt = prompt(&model, dialogue, &tools, "messages")?;
        let request = GenerateRequest {
            prompt,
            params,
            prompt_logprobs: None,
            constraint,
            embed: false,
            tenant: caller.name.clone(),
            cache_scope,
        };
        Ok(Self {
            heading,
            model,
            requests: (0..n as u64).map(|i| request.with_seed_after(i)).collect(),
            streaming,
            with_logprobs,
            with_calls: tools.are_offered(),
        })
    }
}

/// A conversation as the model reads it, with room for an answer. `param` is the field that it came in.
pub(super) fn prompt(
    model: &ReadyModel,
    dialogue: Dialogue,
    tools: &Tools,
    param: &str,
) -> Result<Vec<u32>, ApiError> {
    let prompt = tokens(model, dialogue, tools, param)?;
    sampling::check_prompt(&prompt, 1, model.facts.context, param)?;
    Ok(prompt)
}

/// A conversation as the model reads it, however long. Functions are told in the model's own way, or in front of all else.
pub(super) fn tokens(
    model: &ReadyModel,
    mut dialogue: Dialogue,
    tools: &Tools,
    param: &str,
) -> Result<Vec<u32>, ApiError> {
    let write = model.chat.as_ref().map_err(|why| {
        ApiError::bad_request(format!(
            "this model takes no conversations ({why}); give it a text by /v1/completions"
        ))
    })?;
    let offered = tools.are_offered();
    let own_way = model
        .tools
        .as_ref()
        .filter(|_| offered || dialogue.has_calls);
    let prompt = match own_way {
        Some(write) => {
            let described = if offered {
                tools.described()
            } else {
                Vec::new()
            };
            write(&dialogue.told, &described)
        }
        None => {
            if offered {
                put_in_front(&mut dialogue.messages, tools.instructions());
            }
            write(&dialogue.messages)
        }
    };
    prompt.map_err(|e| ApiError::bad_field(param, e.to_string()))
}

/// Adds to the system's message, which stands first, or makes one.
fn put_in_front(messages: &mut Vec<Message>, instructions: String) {
    match messages
        .first_mut()
        .filter(|first| first.role == Role::System)
    {
        Some(first) => first.content = format!("{}\n\n{instructions}", first.content),
        None => messages.insert(0, Message::system(instructions)),
    }
}

/// What chats could have beside what completions could.
fn refuse_what_is_missing(fields: &mut Fields) -> Result<(), ApiError> {
    let older = "functions are told in tools and tool_choice";
    let none = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    fields.refuse("functions", none, older)?;
    fields.refuse("function_call", |value| *value == "none", older)?;
    let text = "this model writes text only";
    fields.refuse("modalities", |value| *value == json!(["text"]), text)?;
    fields.refuse("audio", |_| false, text)?;
    let unknown = "no model here has such a setting";
    fields.refuse("reasoning_effort", |value| *value == "none", unknown)?;
    fields.refuse("verbosity", |_| false, unknown)?;
    fields.refuse("prediction", |_| false, "drafts are not used")?;
    fields.refuse(
        "web_search_options",
        |_| false,
        "this server searches nothing",
    )
}

fn whole(
    index: usize,
    choice: &Choice,
    mut reply: ReplyText,
    tokenizer: &Tokenizer,
    with_logprobs: bool,
) -> Value {
    let logprobs = with_logprobs.then(|| {
        let tokens = choice.tokens.iter().zip(&choice.logprobs);
        let content = tokens.map(|(&token, report)| chat_token(tokenizer, token, report));
        json!({ "content": content.collect::<Vec<Value>>(), "refusal": null })
    });
    let mut said = reply.push(&choice.text);
    said.extend(reply.finish());
    let (words, calls) = put_together(said);
    let mut message = json!({ "role": "assistant", "content": words, "refusal": null });
    if !calls.is_empty() {
        let calls = calls.iter().map(|(name, arguments)| {
            let function = json!({ "name": name, "arguments": arguments });
            json!({ "id": call_id(), "type": "function", "function": function })
        });
        message["tool_calls"] = calls.collect();
        if words.trim().is_empty() {
            message["content"] = Value::Null;
        }
    }
    json!({
        "index": index,
        "message": message,
        "logprobs": logprobs,
        "finish_reason": reply.reason(choice.reason),
    })
}

/// The chunks of a streamed answer.
struct ChatChunks {
    heading: Heading,
    tokenizer: Tokenizer,
    include_usage: bool,
    with_logprobs: bool,
    /// Each choice so far.
    replies: Vec<ReplyText>,
    usages: Vec<Usage>,
}

impl ChatChunks {
    fn chunk(&self, index: usize, delta: &Value, logprobs: &Value, reason: Option<&str>) -> Value {
        let mut object = self.heading.object("chat.completion.chunk");
        object["choices"] = json!([{
            "index": index,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": reason,
        }]);
        if self.include_usage {
            object["usage"] = Value::Null;
        }
        object
    }

    /// A chunk for all that was said, of which the first has the log-probabilities; without a word and with some, one that is empty.
    fn told(&self, index: usize, said: Vec<Said>, called: usize, logprobs: Value) -> Vec<Value> {
        let mut call = called;
        let mut deltas: Vec<Value> = said
            .into_iter()
            .map(|said| match said {
                Said::Text(text) => json!({ "content": text }),
                Said::Call(name) => {
                    call += 1;
                    let function = json!({ "name": name, "arguments": "" });
                    json!({ "tool_calls": [{
                        "index": call - 1, "id": call_id(), "type": "function", "function": function,
                    }] })
                }
                Said::Arguments(more) => {
                    let function = json!({ "arguments": more });
                    json!({ "tool_calls": [{ "index": call.max(1) - 1, "function": function }] })
                }
            })
            .collect();
        if deltas.is_empty() {
            deltas.push(json!({ "content": "" }));
        }
        let mut logprobs = Some(logprobs);
        let logprobs = deltas
            .iter()
            .map(|_| logprobs.take().unwrap_or(Value::Null));
        let logprobs: Vec<Value> = logprobs.collect();
        let pairs = deltas.iter().zip(&logprobs);
        pairs
            .map(|(delta, logprobs)| self.chunk(index, delta, logprobs, None))
            .collect()
    }

    fn logprobs(&self, token: u32, report: Option<&TokenLogprobs>) -> Value {
        match report.filter(|_| self.with_logprobs) {
            None => Value::Null,
            Some(report) => {
                json!({ "content": [chat_token(&self.tokenizer, token, report)], "refusal": null })
            }
        }
    }
}

impl Chunks for ChatChunks {
    fn opening(&mut self) -> Vec<Value> {
        let delta = json!({ "role": "assistant", "content": "" });
        (0..self.replies.len())
            .map(|index| self.chunk(index, &delta, &Value::Null, None))
            .collect()
    }

    fn chunks(&mut self, index: usize, event: Event) -> Vec<Value> {
        let reply = &mut self.replies[index];
        let called = reply.called();
        match event {
            Event::Token {
                token,
                text,
                logprobs,
            } => {
                let said = reply.push(&text);
                let logprobs = self.logprobs(token, logprobs.as_ref());
                self.told(index, said, called, logprobs)
            }
            Event::Finished {
                text,
                reason,
                usage,
                ..
            } => {
                self.usages.push(usage);
                let mut said = reply.push(&text);
                said.extend(reply.finish());
                let reason = reply.reason(reason);
                let mut chunks = Vec::new();
                if !said.is_empty() {
                    chunks = self.told(index, said, called, Value::Null);
                }
                chunks.push(self.chunk(index, &json!({}), &Value::Null, Some(reason)));
                chunks
            }
            Event::Admitted | Event::PromptLogprobs(_) | Event::Embedding(_) | Event::Failed(_) => {
                Vec::new()
            }
        }
    }

    fn closing(&mut self) -> Vec<Value> {
        if !self.include_usage {
            return Vec::new();
        }
        let written = self.usages.iter().map(|u| u.completion_tokens).sum();
        let mut object = self.heading.object("chat.completion.chunk");
        object["choices"] = json!([]);
        object["usage"] = usage_object(&self.usages[..self.usages.len().min(1)], written);
        vec![object]
    }
}
