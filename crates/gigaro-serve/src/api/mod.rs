//! What is answered under which address, in OpenAI's forms.
//!
//! - `fields.rs` reads the fields of a request: each is honoured, or refused by its name.
//! - `service.rs`: health, counters, the list of models.
//! - [`ApiError`] (`error.rs`): what a client is told otherwise.

mod error;
mod service;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

pub use error::ApiError;
pub(crate) use error::json_response;

use crate::server::App;

/// All addresses of the API.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/health", get(service::health))
        .route("/health/live", get(service::live))
        .route("/metrics", get(service::metrics))
        .route("/v1/models", get(service::models))
        .route("/v1/models/{*model}", get(service::model))
}
