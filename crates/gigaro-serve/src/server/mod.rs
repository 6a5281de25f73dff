//! The service itself: an address, a thread, and all routes behind it.
//!
//! [`App`] (`app.rs`) is what requests share; who may ask is in `auth.rs` and `guard.rs`, what a connection may do in
//! `connection.rs`. What is answered is in `crate::api`, and the work is done in `crate::engine`.

mod app;
mod auth;
mod connection;
mod guard;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tokio::sync::{oneshot, watch};

pub use app::{Access, App, Limits, ServedModel, Settings};
pub use auth::{Caller, KeyFileError, Keys, LOCAL};

use crate::api::{self, ApiError, document};
use crate::conversations::Store;
use crate::engine::ModelSource;
use crate::page::{self, Desk};
use crate::{Error, Result};

/// All routes; with a desk, the chat page and its conversations too.
pub fn router(app: Arc<App>, desk: Option<Arc<Desk>>) -> Router {
    let document = match desk {
        Some(_) => get(document::api_and_page),
        None => get(document::api),
    };
    Router::new()
        .merge(api::routes())
        .route("/openapi.json", document)
        .merge(desk.map(page::routes).unwrap_or_default())
        .fallback(|| async { ApiError::not_found("there is nothing under this address") })
        .method_not_allowed_fallback(|| async {
            let sentence = "this address takes no request of that method";
            ApiError::refused(StatusCode::METHOD_NOT_ALLOWED, sentence)
        })
        .layer(DefaultBodyLimit::max(app.limits().body_bytes))
        .layer(from_fn_with_state(app.clone(), guard::guard))
        .with_state(app)
}

/// Whether a request with these headers is let in, and whose it is: what every request goes through, for [`crate::hostile`].
pub(crate) fn admit(access: &Access, headers: &HeaderMap) -> std::result::Result<Caller, ApiError> {
    guard::check(access, headers)?;
    Caller::of(access, headers)
}

/// A running service. Dropping it cuts whatever is under way; [`Server::drain`] does not.
pub struct Server {
    app: Arc<App>,
    address: SocketAddr,
    drain: watch::Sender<bool>,
    quit: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on `host` and `port` (0 takes one that is free) and begins to read the models; until they are there, `/health` says
    /// so. With a store of conversations there is a chat page.
    ///
    /// # Errors
    /// If the address cannot be had, if others than this machine could reach it and neither keys nor [`Access::Anyone`] are
    /// given, if the store cannot be written, or if the system gives no thread.
    pub fn start(
        host: IpAddr,
        port: u16,
        models: Vec<ModelSource>,
        settings: Settings,
        conversations: Option<Store>,
    ) -> Result<Self> {
        if matches!(settings.access, Access::LoopbackOnly) && !host.is_loopback() {
            return Err(Error::OpenToAll { host });
        }
        let listen = |source| Error::Bind { host, port, source };
        let listener = TcpListener::bind((host, port)).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let start = |source| Error::Start { source };
        // One thread for requests: they are short between tokens, and the processor belongs to the model.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(start)?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(listen)?
        };
        let limits = settings.limits.clone();
        let app = App::start(models, settings).map_err(start)?;
        let (drain, draining) = watch::channel(false);
        let (quit, quitting) = oneshot::channel::<()>();
        let desk = conversations
            .map(|store| Desk::new(&app, store))
            .transpose()?;
        let routes = router(app.clone(), desk.clone());
        let service = async move {
            connection::serve(listener, routes, limits, draining).await;
            // Replies whose page was closed are written to their end as well.
            if let Some(desk) = desk {
                desk.idle().await;
            }
        };
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = service => {}
                    _ = quitting => {}
                }
            });
            // Work that blocks, such as tokenising, ends by itself.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new()
            .name("server".to_owned())
            .spawn(serve)
            .map_err(start)?;
        Ok(Self {
            app,
            address,
            drain,
            quit: Some(quit),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its requests share.
    #[must_use]
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Takes no more connections, and ends when every request under way has its answer.
    pub fn drain(&self) {
        self.app.begin_to_drain();
        self.drain.send_replace(true);
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either may have ended by itself; then there is nothing to stop.
        if let Some(quit) = self.quit.take() {
            let _ = quit.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
