//! `/tokenize`, `/detokenize` and `/tokenizer_info`, and texts as a model reads them.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use gigaro_data::Tokenizer;
use serde_json::{Value, json};

use super::fields::{Body, Fields, whole, wrong_kind};
use super::logprobs::token_text;
use super::messages::messages;
use super::tools::Tools;
use super::{ApiError, blocking, json_response};
use crate::server::{App, Caller};

/// A text to go on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prompt {
    /// What the model reads.
    pub(super) ids: Vec<u32>,
    /// How many of them, from the first, are no part of the text.
    pub(super) hidden: usize,
    /// The text.
    pub(super) text: String,
}

impl Prompt {
    /// Tokens as they are.
    pub(super) fn of_tokens(tokenizer: &Tokenizer, ids: Vec<u32>) -> Self {
        Self {
            text: tokenizer.decode(&ids),
            hidden: 0,
            ids,
        }
    }
}

/// A text as a document that begins: after the token that separates documents, if there is one, as in training. Names of special
/// tokens in the text are text.
pub(super) fn document(tokenizer: &Tokenizer, text: &str) -> Prompt {
    let mut ids: Vec<u32> = tokenizer.document_start().into_iter().collect();
    let hidden = ids.len();
    tokenizer.encode_into(text, &mut ids);
    Prompt {
        ids,
        hidden,
        text: text.to_owned(),
    }
}

/// Token ids, each below `vocab_size`.
pub(super) fn tokens(list: &[Value], vocab_size: usize, place: &str) -> Result<Vec<u32>, ApiError> {
    let read = |(i, value): (usize, &Value)| {
        let id = whole(value).filter(|&id| (0..vocab_size as i64).contains(&id));
        id.map(|id| id as u32).ok_or_else(|| {
            let wanted = format!("a token id below {vocab_size}");
            wrong_kind(&format!("{place}[{i}]"), &wanted, value)
        })
    };
    list.iter().enumerate().map(read).collect()
}

/// The tokens of a text, or of a conversation as the model is given it.
pub(super) async fn tokenize(
    State(app): State<Arc<App>>,
    _: Caller,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let object = blocking(move || {
        let mut fields = Fields::parse(&body)?;
        let model = app.model(fields.text("model")?.as_deref())?;
        let text = fields.text("prompt")?;
        let conversation = fields.take("messages");
        let tools = Tools::read(&mut fields, true)?;
        let bare = fields.take("add_special_tokens");
        let with_strings = fields.flag("return_token_strs")?;
        fields.finish()?;
        let bare = match bare {
            None => false,
            Some(Value::Bool(add)) => !add,
            Some(other) => return Err(wrong_kind("add_special_tokens", "true or false", &other)),
        };
        let ids = match (text, conversation) {
            (Some(text), None) if bare => model.tokenizer.encode(&text),
            (Some(text), None) => document(&model.tokenizer, &text).ids,
            (None, Some(conversation)) => {
                let dialogue = messages(conversation, "messages")?;
                super::chat::tokens(&model, dialogue, &tools, "messages")?
            }
            _ => {
                let sentence = "give either prompt, a text, or messages, a conversation";
                return Err(ApiError::bad_field("prompt", sentence));
            }
        };
        let strings = with_strings.then(|| {
            let strings = ids.iter().map(|&id| token_text(&model.tokenizer, id));
            strings.collect::<Vec<String>>()
        });
        Ok(json!({
            "count": ids.len(),
            "max_model_len": model.facts.context,
            "tokens": ids,
            "token_strs": strings,
        }))
    });
    Ok(json_response(StatusCode::OK, &object.await?))
}

/// The text of tokens.
pub(super) async fn detokenize(
    State(app): State<Arc<App>>,
    _: Caller,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let object = blocking(move || {
        let mut fields = Fields::parse(&body)?;
        let model = app.model(fields.text("model")?.as_deref())?;
        let list = fields.required("tokens")?;
        fields.finish()?;
        let Value::Array(list) = list else {
            return Err(wrong_kind("tokens", "a list of token ids", &list));
        };
        let ids = tokens(&list, model.facts.vocab_size, "tokens")?;
        Ok(json!({ "prompt": model.tokenizer.decode(&ids) }))
    });
    Ok(json_response(StatusCode::OK, &object.await?))
}

/// What programs that tokenise through this server have to know beside: under the names of vLLM, which lm-evaluation-harness asks for.
///
/// A name given here as `eos_token` would be looked up by tokenising it, and there it is text and no token; so the tokens stand in
/// `special_tokens` with their ids.
pub(super) async fn tokenizer_info(
    State(app): State<Arc<App>>,
    _: Caller,
    query: Result<Query<InfoQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(InfoQuery { model }) = query.map_err(|_| {
        ApiError::bad_request("after the question mark this address takes model=NAME only")
    })?;
    let model = app.model(model.as_deref())?;
    let specials = model.tokenizer.specials().iter();
    let specials: serde_json::Map<String, Value> = specials
        .map(|(name, id)| (name.clone(), json!(id)))
        .collect();
    let object = json!({
        "tokenizer_class": "gigaro",
        "vocab_size": model.tokenizer.vocab_size(),
        "max_model_len": model.facts.context,
        "bos_token": null,
        "eos_token": null,
        "special_tokens": specials,
        "chat_template": null,
    });
    Ok(json_response(StatusCode::OK, &object))
}

/// What may stand after the question mark.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InfoQuery {
    model: Option<String>,
}
