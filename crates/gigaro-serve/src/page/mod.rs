//! The chat page, and the requests with which it keeps conversations.
//!
//! The page is the files beside this one, compiled in (`files`): no framework, no build step, nothing from elsewhere. What it asks for is
//! in `requests` (lists, branches, feedback), `answers` (a reply that streams) and `attention`; what a reply does while it is written,
//! with or without anybody looking, is in `live`. Everything is stored in a [`Store`] by the name of the caller's key.
//!
//! A reply comes through a request of this module and not straight from `/v1/chat/completions`, because it has to outlive the tab that
//! asked for it: the server reads it to its end and stores it as it grows, and a page that comes back finds it, or joins it. Inside, it is
//! a request to that very address, so all checks and limits of the API hold.

mod answers;
mod attention;
mod files;
mod live;
mod requests;

use crate::api::ApiError;
use crate::conversations::{self, Store};
use crate::server::{App, inner_api};
use axum::extract::Extension;
use axum::routing::{get, post, put};
use axum::{Router, middleware};
use hyper_util::service::TowerToHyperService;
use live::Live;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// What the requests of the page share: the store, the replies under way, and the API that writes them.
pub struct Desk {
    store: Mutex<Store>,
    live: Live,
    /// One look at a model's attention at a time.
    looking: Semaphore,
    api: TowerToHyperService<Router>,
}

impl Desk {
    /// The desk of one server. Answers in `store` that an earlier server left unfinished are marked as interrupted.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn new(app: &Arc<App>, mut store: Store) -> conversations::Result<Arc<Desk>> {
        store.recover(conversations::SILENCE)?;
        Ok(Arc::new(Desk {
            store: Mutex::new(store),
            live: Live::default(),
            looking: Semaphore::new(1),
            api: TowerToHyperService::new(inner_api(app.clone())),
        }))
    }

    /// Returns when no reply is being written.
    pub async fn idle(&self) {
        self.live.idle().await;
    }

    /// Says from time to time that this server is there, so that another one on the same store does not take its replies for cut short, and
    /// marks those of servers that are gone. Goes on for ever.
    pub(crate) async fn beat(self: Arc<Self>) {
        loop {
            tokio::time::sleep(conversations::BEAT).await;
            // A store that cannot be written now is tried again.
            let _ = self
                .with(|store| store.recover(conversations::SILENCE))
                .await;
        }
    }

    /// Does the store's work where blocking is allowed.
    async fn with<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Store) -> conversations::Result<T> + Send + 'static,
    ) -> Result<T, ApiError> {
        let desk = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            // Each change of the store is one transaction: a panic elsewhere leaves it whole.
            work(&mut desk.store.lock().unwrap_or_else(PoisonError::into_inner))
        });
        done.await.map_err(|_| ApiError::bug())?.map_err(refusal)
    }
}

/// What a client is told of an error of the store; where the file lies is not its business.
fn refusal(error: conversations::Error) -> ApiError {
    match error {
        conversations::Error::Missing { .. } => ApiError::not_found(error.to_string()),
        conversations::Error::Elsewhere { .. } => {
            ApiError::refused(axum::http::StatusCode::CONFLICT, error.to_string())
        }
        conversations::Error::Refused { .. } => ApiError::bad_request(error.to_string()),
        conversations::Error::Unusable {
            problem, advice, ..
        } => ApiError::unavailable(
            format!("conversations cannot be kept at present: {problem}; {advice}"),
            30,
        ),
    }
}

/// The page and its requests.
pub fn routes(desk: Arc<Desk>) -> Router<Arc<App>> {
    let requests = Router::new()
        .route(
            "/api/conversations",
            get(requests::list).post(requests::create),
        )
        .route(
            "/api/conversations/{id}",
            get(requests::read)
                .patch(requests::alter)
                .delete(requests::delete),
        )
        .route("/api/conversations/{id}/export", get(requests::export))
        .route("/api/conversations/{id}/messages", post(requests::ask))
        .route("/api/conversations/{id}/answers", post(answers::begin))
        .route("/api/answers/{id}/stream", get(answers::join))
        .route("/api/answers/{id}/stop", post(answers::stop))
        .route("/api/answers/{id}/tokens", get(requests::tokens))
        .route("/api/answers/{id}/rating", put(requests::rate))
        .route("/api/attention", post(attention::attention))
        .route("/api/choices", post(requests::choose))
        .route("/api/feedback", get(requests::feedback))
        .route("/api/feedback/history", get(requests::history))
        .route("/api/feedback.jsonl", get(requests::feedback_rows))
        .layer(Extension(desk));
    files::routes()
        .merge(requests)
        .layer(middleware::map_response(files::protect))
}

/// What each request of the page makes of a body; for [`crate::hostile`].
pub(crate) fn read_each(bytes: &[u8]) -> impl Iterator<Item = Result<(), ApiError>> {
    let others = requests::read_each(bytes);
    others.into_iter().chain([answers::read(bytes)])
}

/// The data of the server-sent events in these pieces; for [`crate::hostile`].
pub(crate) fn event_data(pieces: &[&[u8]]) -> Vec<String> {
    answers::event_data(pieces)
}
