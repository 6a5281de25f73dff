//! What is answered under which address, in OpenAI's forms.
//!
//! - `fields.rs` takes a request apart: each field is honoured, or refused by its name. `sampling.rs`, `messages.rs`: the fields that
//!   several addresses share.
//! - `chat.rs`, `responses.rs`, `completions.rs`: replies; `generation.rs` and `reply.rs` are what they have in common, `logprobs.rs` how
//!   they tell probabilities.
//! - `output.rs`, `tools.rs`: what a reply has to be, and the functions that it may call.
//! - `embeddings.rs`: texts as vectors. `text.rs`: texts to tokens and back.
//! - `service.rs`: health, counters, models. `admin.rs`: another checkpoint for a model; keys and what they use.
//! - `openapi.json`: the same for programs, as OpenAPI 3.1; `document.rs` gives it out.
//! - [`ApiError`] (`error.rs`): what a client is told otherwise.

mod admin;
mod chat;
mod completions;
pub(crate) mod document;
mod embeddings;
mod error;
mod fields;
mod generation;
mod logprobs;
mod messages;
mod output;
mod reply;
mod responses;
mod sampling;
mod service;
mod text;
mod tools;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::routing::{get, post};
use serde_json::{Value, json};

pub use error::ApiError;
pub(crate) use error::json_response;
pub(crate) use fields::{Body, whole};
pub(crate) use logprobs::token_text;
pub(crate) use sampling::random;

use self::fields::Fields;
use crate::engine::ReadyModel;
use crate::server::{App, Caller};

/// All addresses of the API.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/chat/completions", post(chat::chat))
        .route("/v1/completions", post(completions::completions))
        .route("/v1/responses", post(responses::responses))
        .route("/v1/embeddings", post(embeddings::embeddings))
        .route("/admin/models/{model}/swap", post(admin::swap))
        .route("/v1/models", get(service::models))
        .route("/v1/models/{*model}", get(service::model))
        .route("/tokenize", post(text::tokenize))
        .route("/detokenize", post(text::detokenize))
        .route("/tokenizer_info", get(text::tokenizer_info))
        .route("/health", get(service::health))
        .route("/health/live", get(service::live))
        .route("/metrics", get(service::metrics))
        .route("/admin/keys", get(admin::keys))
}

/// The model that a request names, ready to be asked, and the heading of the answer.
///
/// # Errors
/// If there is no such model, or it cannot be asked.
fn asked_model(
    app: &App,
    fields: &mut Fields,
    kind: &str,
) -> Result<(Arc<ReadyModel>, Heading), ApiError> {
    let name = fields.text("model")?;
    let heading = Heading::new(kind, app.served(name.as_deref())?.name());
    Ok((app.model(name.as_deref())?, heading))
}

/// What every object of one answer begins with.
#[derive(Clone, Debug)]
struct Heading {
    id: String,
    created: u64,
    model: String,
}

impl Heading {
    fn new(kind: &str, model: &str) -> Self {
        let created = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            id: format!(
                "{kind}-{:016x}{:016x}",
                sampling::random(),
                sampling::random()
            ),
            created: created.map_or(0, |since| since.as_secs()),
            model: model.to_owned(),
        }
    }

    fn object(&self, kind: &str) -> Value {
        json!({
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
        })
    }
}

/// Whether a body is one of `/v1/chat/completions`; for [`crate::hostile`], like the two that follow.
pub(crate) fn read_chat(app: &App, caller: &Caller, body: &[u8]) -> Result<(), ApiError> {
    chat::Plan::read(app, caller, body).map(drop)
}

/// The same for `/v1/completions`.
pub(crate) fn read_completion(app: &App, caller: &Caller, body: &[u8]) -> Result<(), ApiError> {
    completions::Plan::read(app, caller, body).map(drop)
}

/// The same for `/v1/responses`.
pub(crate) fn read_response(app: &App, caller: &Caller, body: &[u8]) -> Result<(), ApiError> {
    responses::Plan::read(app, caller, body).map(drop)
}

/// Does work that takes long for a long request where that delays nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(ApiError::bug()))
}

/// Whose texts a reply may go on from: those of the same key and, where it names its users, of the same user.
fn cache_scope(fields: &mut fields::Fields, caller: &Caller) -> Result<Arc<str>, ApiError> {
    Ok(match fields.text("user")? {
        None => caller.name.clone(),
        // A key's name ends where the first line ends: no user is mistaken for a key.
        Some(user) => format!("{}\n{user}", caller.name).into(),
    })
}
