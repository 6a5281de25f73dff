//! What is said about the service itself: health, counters, models.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{ApiError, json_response};
use crate::engine::ModelState;
use crate::server::{App, Caller, ServedModel};

/// The text form that the counters are written in.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether requests can be answered: 503 while a model is being read and while the server ends. Needs no key.
pub(super) async fn health(State(app): State<Arc<App>>) -> Response {
    match app.readiness() {
        Ok(()) => json_response(StatusCode::OK, &json!({ "status": "ok" })),
        Err((status, sentence)) => {
            let object = json!({ "status": "unavailable", "message": sentence });
            json_response(status, &object)
        }
    }
}

/// Whether the process answers at all. Needs no key.
pub(super) async fn live() -> Response {
    json_response(StatusCode::OK, &json!({ "status": "ok" }))
}

/// The counters.
pub(super) async fn metrics(State(app): State<Arc<App>>, _: Caller) -> Response {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], app.metrics().text()).into_response()
}

/// All models.
pub(super) async fn models(State(app): State<Arc<App>>, _: Caller) -> Response {
    let models: Vec<Value> = app.models().iter().map(describe).collect();
    let object = json!({ "object": "list", "data": models });
    json_response(StatusCode::OK, &object)
}

/// One model.
pub(super) async fn model(
    State(app): State<Arc<App>>,
    _: Caller,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(name) = name.map_err(|_| ApiError::not_found("no model has such a name"))?;
    let model = app.served(Some(&name))?;
    Ok(json_response(StatusCode::OK, &describe(model)))
}

fn describe(model: &ServedModel) -> Value {
    let mut object = json!({
        "id": model.name(),
        "object": "model",
        "created": model.created(),
        "owned_by": "gigaro",
    });
    if let ModelState::Ready(ready) = model.state() {
        object["max_model_len"] = ready.facts.context.into();
        object["parameters"] = ready.facts.parameters.into();
        object["chat"] = ready.chat.is_ok().into();
        object["version"] = ready.facts.version.into();
        object["checkpoint"] = ready.facts.checkpoint.as_str().into();
        if let Some(base) = &ready.facts.adapter_of {
            object["parent"] = base.as_str().into();
        }
    }
    object
}
