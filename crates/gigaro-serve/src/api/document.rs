//! `/openapi.json`: this API for programs, and with the chat page its requests too.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

const API: &str = include_str!("openapi.json");
const PAGE: &str = include_str!("../page/openapi.json");

/// The addresses of the API. Needs no key.
pub(crate) async fn api() -> Response {
    respond(API)
}

/// The same with those of the chat page. Needs no key.
pub(crate) async fn api_and_page() -> Response {
    static BOTH: LazyLock<String> = LazyLock::new(|| {
        let read = |text| serde_json::from_str(text).expect("the files beside this one are JSON");
        let mut both: Value = read(API);
        merge(&mut both, read(PAGE));
        both.to_string()
    });
    respond(&BOTH)
}

fn respond(text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// Puts what `more` has into `base`, object into object; no key of one is also the other's but for objects.
fn merge(base: &mut Value, more: Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (name, value) in more {
                match base.get_mut(&name) {
                    Some(known) => merge(known, value),
                    None => {
                        base.insert(name, value);
                    }
                }
            }
        }
        (base, more) => *base = more,
    }
}
