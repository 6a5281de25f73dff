//! `/v1/chat/completions`: the next answer of a conversation.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use gigaro_data::Tokenizer;
use gigaro_data::chat::{Message, message_text};
use gigaro_models::generate::TokenLogprobs;
use serde_json::{Value, json};

use super::fields::{Body, Fields};
use super::generation::{Choice, Chunks, collect, streamed, submit, usage_object};
use super::logprobs::chat_token;
use super::messages::messages;
use super::sampling::{self, MAX_REPLIES, MAX_TOP_LOGPROBS, Streaming};
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
    } = plan;
    let n = requests.len();
    let tickets = submit(&model, requests).await?;
    if streaming.stream {
        let chunks = ChatChunks {
            heading,
            tokenizer: model.tokenizer.clone(),
            include_usage: streaming.include_usage,
            with_logprobs,
            begun: vec![false; n],
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
        .map(|(index, choice)| whole(index, choice, &model.tokenizer, with_logprobs))
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
}

impl Plan {
    pub(super) fn read(app: &App, caller: &Caller, body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::parse(body)?;
        let (model, heading) = asked_model(app, &mut fields, "chatcmpl")?;
        let context = model.facts.context;
        let messages = messages(fields.required("messages")?, "messages")?;
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
        sampling::refuse_what_is_missing(&mut fields)?;
        refuse_what_is_missing(&mut fields)?;
        fields.finish()?;
        let prompt = prompt(&model, &messages, "messages")?;
        let request = GenerateRequest {
            prompt,
            params,
            prompt_logprobs: None,
            tenant: caller.name.clone(),
            cache_scope,
        };
        Ok(Self {
            heading,
            model,
            requests: (0..n as u64).map(|i| request.with_seed_after(i)).collect(),
            streaming,
            with_logprobs,
        })
    }
}

/// A conversation as the model reads it, with room for an answer. `param` is the field that it came in.
pub(super) fn prompt(
    model: &ReadyModel,
    conversation: &[Message],
    param: &str,
) -> Result<Vec<u32>, ApiError> {
    let write = model.chat.as_ref().map_err(|why| {
        ApiError::bad_request(format!(
            "this model takes no conversations ({why}); give it a text by /v1/completions"
        ))
    })?;
    let prompt = write(conversation).map_err(|e| ApiError::bad_field(param, e.to_string()))?;
    sampling::check_prompt(&prompt, 1, model.facts.context, param)?;
    Ok(prompt)
}

/// What chats could have beside what completions could.
fn refuse_what_is_missing(fields: &mut Fields) -> Result<(), ApiError> {
    let tools = "this server calls no tools yet";
    let no_tools = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    fields.refuse("tools", no_tools, tools)?;
    fields.refuse("tool_choice", |value| *value == "none", tools)?;
    fields.refuse("parallel_tool_calls", |_| false, tools)?;
    fields.refuse("functions", no_tools, tools)?;
    fields.refuse("function_call", |value| *value == "none", tools)?;
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

fn whole(index: usize, choice: &Choice, tokenizer: &Tokenizer, with_logprobs: bool) -> Value {
    let logprobs = with_logprobs.then(|| {
        let tokens = choice.tokens.iter().zip(&choice.logprobs);
        let content = tokens.map(|(&token, report)| chat_token(tokenizer, token, report));
        json!({ "content": content.collect::<Vec<Value>>(), "refusal": null })
    });
    json!({
        "index": index,
        "message": { "role": "assistant", "content": message_text(&choice.text), "refusal": null },
        "logprobs": logprobs,
        "finish_reason": choice.reason.as_str(),
    })
}

/// The chunks of a streamed answer.
struct ChatChunks {
    heading: Heading,
    tokenizer: Tokenizer,
    include_usage: bool,
    with_logprobs: bool,
    /// Whether a choice has text already: the first piece loses the space that stands before every message.
    begun: Vec<bool>,
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

    fn piece(&mut self, index: usize, text: &str) -> Value {
        let begun = self.begun[index];
        self.begun[index] |= !text.is_empty();
        let text = if begun { text } else { message_text(text) };
        json!({ "content": text })
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
        (0..self.begun.len())
            .map(|index| self.chunk(index, &delta, &Value::Null, None))
            .collect()
    }

    fn chunks(&mut self, index: usize, event: Event) -> Vec<Value> {
        match event {
            Event::Token {
                token,
                text,
                logprobs,
            } => {
                let delta = self.piece(index, &text);
                let logprobs = self.logprobs(token, logprobs.as_ref());
                vec![self.chunk(index, &delta, &logprobs, None)]
            }
            Event::Finished {
                text,
                reason,
                usage,
                ..
            } => {
                self.usages.push(usage);
                let mut chunks = Vec::new();
                if !text.is_empty() {
                    let delta = self.piece(index, &text);
                    chunks.push(self.chunk(index, &delta, &Value::Null, None));
                }
                let reason = Some(reason.as_str());
                chunks.push(self.chunk(index, &json!({}), &Value::Null, reason));
                chunks
            }
            Event::Admitted | Event::PromptLogprobs(_) | Event::Failed(_) => Vec::new(),
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
