//! What the page asks for: its own three files, the next task, a label kept, a label taken back.
//!
//! Requests and answers are JSON; an answer that is no success is `{"error": "a sentence"}`. Who may ask is decided in `guard`.

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use gigaro_data::preferences::store::{Progress, Store, Task, Verdict};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// A label is a name, a number and a few ranks.
const MAX_BODY_BYTES: usize = 16 * 1024;

type Shared = Arc<Mutex<Store>>;
type Body = std::result::Result<Bytes, BytesRejection>;

/// All routes behind the guard.
pub(super) fn service(store: Store, address: SocketAddr) -> Router {
    let file = |kind: &'static str, text: &'static str| {
        get(move || async move { ([(header::CONTENT_TYPE, kind)], text) })
    };
    Router::new()
        .route(
            "/",
            file("text/html; charset=utf-8", include_str!("page.html")),
        )
        .route(
            "/page.css",
            file("text/css; charset=utf-8", include_str!("page.css")),
        )
        .route(
            "/page.js",
            file("text/javascript; charset=utf-8", include_str!("page.js")),
        )
        .route("/api/next", post(next))
        .route("/api/label", post(label))
        .route("/api/undo", post(undo))
        .fallback(|| async {
            Refusal::new(
                StatusCode::NOT_FOUND,
                "There is nothing under this address.",
            )
        })
        .method_not_allowed_fallback(|| async {
            Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "This address takes no such request.",
            )
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(address, super::guard::guard))
        .with_state(Arc::new(Mutex::new(store)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Who {
    labeller: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Label {
    labeller: String,
    item: i64,
    verdict: Verdict,
}

/// What the page shows next. The sources of the answers are not in it.
#[derive(Serialize)]
struct Turn {
    task: Option<Task>,
    progress: Progress,
    agreement: String,
    /// Whether a label was taken back, which is then the task.
    undone: bool,
}

async fn next(State(store): State<Shared>, body: Body) -> Response {
    with(store, body, |store, who: Who| {
        turn(store, &who.labeller, None)
    })
    .await
}

async fn label(State(store): State<Shared>, body: Body) -> Response {
    with(store, body, |store, label: Label| {
        store.label(&label.labeller, label.item, &label.verdict)?;
        turn(store, &label.labeller, None)
    })
    .await
}

async fn undo(State(store): State<Shared>, body: Body) -> Response {
    with(store, body, |store, who: Who| {
        let undone = store.undo(&who.labeller)?;
        turn(store, &who.labeller, undone)
    })
    .await
}

fn turn(store: &mut Store, labeller: &str, undone: Option<i64>) -> gigaro_data::Result<Turn> {
    let task = match undone {
        Some(item) => Some(store.task(labeller, item)?),
        None => store.next(labeller)?,
    };
    Ok(Turn {
        task,
        progress: store.progress(labeller)?,
        agreement: store.agreement()?.sentence(),
        undone: undone.is_some(),
    })
}

/// Reads a request, does its work where blocking is allowed, and answers.
async fn with<T: DeserializeOwned + Send + 'static>(
    store: Shared,
    body: Body,
    work: impl FnOnce(&mut Store, T) -> gigaro_data::Result<Turn> + Send + 'static,
) -> Response {
    let request = match body {
        Ok(bytes) => serde_json::from_slice(&bytes),
        Err(rejection) => {
            let sentence =
                format!("The request is longer than {MAX_BODY_BYTES} bytes or was cut short.");
            return Refusal::new(rejection.status(), sentence).into_response();
        }
    };
    let request: T = match request {
        Ok(request) => request,
        Err(error) => {
            let sentence = format!("The request is not what this page sends: {error}.");
            return Refusal::new(StatusCode::BAD_REQUEST, sentence).into_response();
        }
    };
    let done = tokio::task::spawn_blocking(move || {
        // Each change of the store is one transaction: a panic elsewhere leaves it whole.
        work(
            &mut store.lock().unwrap_or_else(PoisonError::into_inner),
            request,
        )
    });
    match done.await {
        Ok(Ok(turn)) => json(StatusCode::OK, &turn),
        Ok(Err(error)) => {
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).into_response()
        }
        Err(_) => Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "gigaro has a bug here; nothing was kept.",
        )
        .into_response(),
    }
}

/// A request that is not met, and why.
pub(super) struct Refusal {
    status: StatusCode,
    sentence: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, sentence: impl Into<String>) -> Refusal {
        Refusal {
            status,
            sentence: sentence.into(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        json(self.status, &serde_json::json!({ "error": self.sentence }))
    }
}

fn json(status: StatusCode, object: &impl Serialize) -> Response {
    match serde_json::to_string(object) {
        Ok(text) => (status, [(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
