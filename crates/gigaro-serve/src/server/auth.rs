//! Who is asking. A handler that takes a [`Caller`] cannot be reached without a key where keys are demanded.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::app::App;
use super::gate;
use crate::api::ApiError;

/// Whose requests are those of a server without keys.
pub const LOCAL: &str = "local";

/// Who is asking: the name of the key, or [`LOCAL`] where none is demanded. Conversations, turns in the queue and reuse of the cache
/// are kept apart by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name, never the key.
    pub name: Arc<str>,
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        match parts.extensions.get::<Caller>() {
            // Whom the gate has let in.
            Some(caller) => Ok(caller.clone()),
            None => gate::caller(app, &parts.headers),
        }
    }
}
