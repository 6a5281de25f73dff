//! What concerns all users of a server, for keys with the scope `admin`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::json_response;
use crate::keys::{Clock, Key, Keys};
use crate::server::{Access, App, Caller};

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
