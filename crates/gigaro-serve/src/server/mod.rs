//! The service itself: an address, a thread, and all routes behind it.
//!
//! [`App`] (`app.rs`) is what requests share. A request passes, from outside in: `observe.rs`, which gives it a name and a line in the log;
//! `cors.rs` and `guard.rs`, which know pages from elsewhere; `gate.rs`, which knows keys, their scopes and limits. `connection.rs` and `tls.rs`
//! are what is below, `keeper.rs` what is looked after meanwhile; who may change the server is in `admin.rs`. What is answered is in
//! `crate::api`, and the work is done in `crate::engine`.

mod admin;
mod app;
mod auth;
mod connection;
mod cors;
pub(crate) mod gate;
mod guard;
mod held;
mod keeper;
pub(crate) mod observe;
mod origin;
mod tls;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use tokio::sync::{oneshot, watch};

pub(crate) use admin::may_administer;
pub use app::{Access, App, Front, Limits, ServedModel, Settings};
pub use auth::{Caller, LOCAL};
pub use origin::{NoOrigin, Origin};
pub use tls::{Tls, TlsError};

pub use crate::keys::{KeyFileError, Keys};

use self::keeper::Keeper;
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
    let routes = Router::new()
        .merge(api::routes())
        .route("/openapi.json", document)
        .merge(desk.map(page::routes).unwrap_or_default())
        .fallback(|| async { ApiError::not_found("there is nothing under this address") })
        .method_not_allowed_fallback(|| async {
            let sentence = "this address takes no request of that method";
            ApiError::refused(StatusCode::METHOD_NOT_ALLOWED, sentence)
        })
        .layer(DefaultBodyLimit::max(app.limits().body_bytes))
        .layer(from_fn_with_state(app.clone(), gate::gate))
        .layer(from_fn_with_state(app.clone(), guard::guard));
    cors::let_in(routes, &app.front().cors_origins)
        .layer(from_fn(observe::observe))
        .with_state(app)
}

/// The API as the page asks it inside the server: with the same gate, and a line of its own in the log.
pub(crate) fn inner_api(app: Arc<App>) -> Router {
    api::routes()
        .layer(from_fn_with_state(app.clone(), gate::gate))
        .layer(from_fn(observe::observe))
        .with_state(app)
}

/// Whether a request with these headers is let in, and whose it is: what every request goes through, for [`crate::hostile`].
pub(crate) fn admit(app: &App, headers: &HeaderMap) -> std::result::Result<Caller, ApiError> {
    guard::check(app.access(), app.front(), headers)?;
    gate::caller(app, headers)
}

/// Refuses to open a server to others without anything that keeps them out.
fn check_reach(host: IpAddr, settings: &Settings) -> Result<()> {
    if !matches!(settings.access, Access::LoopbackOnly) {
        return Ok(());
    }
    if !host.is_loopback() {
        return Err(Error::OpenToAll { host });
    }
    if settings.front.public_url.is_some() {
        return Err(Error::PublicToAll);
    }
    Ok(())
}

/// A running service. Dropping it cuts whatever is under way; [`Server::drain`] does not.
pub struct Server {
    /// Ends when this is dropped, after the thread of the requests.
    _keeper: Keeper,
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
        check_reach(host, &settings)?;
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
        let (limits, front) = (settings.limits.clone(), settings.front.clone());
        let app = App::start(models, settings).map_err(start)?;
        let (drain, draining) = watch::channel(false);
        let (quit, quitting) = oneshot::channel::<()>();
        let desk = conversations
            .map(|store| Desk::new(&app, store))
            .transpose()?;
        let routes = router(app.clone(), desk.clone());
        let kept = desk.clone();
        let service = async move {
            let beating = desk.clone().map(|desk| tokio::spawn(desk.beat()));
            connection::serve(listener, routes, limits, front, draining).await;
            // Replies whose page was closed are written to their end as well.
            if let Some(desk) = desk {
                desk.idle().await;
            }
            if let Some(beating) = beating {
                beating.abort();
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
            // Last, and out here: a connection to a database server may not be closed inside the event loop.
            drop(kept);
        };
        let thread = std::thread::Builder::new()
            .name("server".to_owned())
            .spawn(serve)
            .map_err(start)?;
        let keeper = Keeper::start(app.clone()).map_err(start)?;
        Ok(Self {
            _keeper: keeper,
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
