//! What only who administers a server may ask: another checkpoint for a model that is served, and what keys use.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::fields::{Body, Fields};
use super::{ApiError, blocking, json_response};
use crate::engine::{ModelState, SwapError};
use crate::keys::{Clock, Key, Keys};
use crate::server::{Access, App, Caller, may_administer};

/// `POST /admin/models/{name}/swap`: reads a checkpoint, answers when it serves, and drops no request meanwhile. Without a checkpoint the
/// newest one at the model's own place is read.
pub(super) async fn swap(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<String>,
    Body(body): Body,
) -> Result<Response, ApiError> {
    may_administer(&app, &caller)?;
    let started = Instant::now();
    let facts = blocking(move || {
        let mut fields = Fields::parse(&body)?;
        let checkpoint = fields.text("checkpoint")?.map(PathBuf::from);
        fields.finish()?;
        let served = app.served(Some(&name))?;
        served.swap(checkpoint.as_deref()).map_err(refusal)?;
        match served.state() {
            ModelState::Ready(ready) => Ok((served.name().to_owned(), ready.facts.clone())),
            ModelState::Loading | ModelState::Failed(_) => Err(ApiError::bug()),
        }
    });
    let (name, facts) = facts.await?;
    let object = json!({
        "object": "model.swap",
        "model": facts.adapter_of.as_deref().unwrap_or(&name),
        "version": facts.version,
        "checkpoint": facts.checkpoint,
        "seconds": started.elapsed().as_secs_f64(),
    });
    Ok(json_response(StatusCode::OK, &object))
}

fn refusal(error: SwapError) -> ApiError {
    let sentence = error.to_string();
    match error {
        SwapError::Busy { .. } | SwapError::Loading { .. } => {
            ApiError::refused(StatusCode::CONFLICT, sentence).code("swap_under_way")
        }
        SwapError::Unusable { .. } => ApiError::bad_field("checkpoint", sentence),
    }
}

/// All keys: what they open, what they may use and what they have used today. Neither keys nor hashes.
pub(super) async fn keys(State(app): State<Arc<App>>, _: Caller) -> Response {
    let list: Vec<Value> = match app.access() {
        Access::Keys(keys) => keys.all().iter().map(|key| describe(keys, key)).collect(),
        Access::LoopbackOnly | Access::Anyone => Vec::new(),
    };
    json_response(StatusCode::OK, &json!({ "object": "list", "data": list }))
}

fn describe(keys: &Keys, key: &Key) -> Value {
    let (used, running) = keys.ledger().used(&key.name, Clock::now());
    json!({
        "name": &*key.name,
        "scopes": key.scopes,
        "expires": key.expires.map(|end| end.to_string()),
        "limits": key.limits,
        "used_today": used,
        "running": running,
    })
}
