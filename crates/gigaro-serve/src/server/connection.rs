//! Connections: accepting them, their limits, and their end.
//!
//! hyper speaks HTTP; here are the bounds on peers that are slow, silent or endless, which `axum::serve` has none of.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::server::TlsStream;

use super::app::{Front, Limits};
use super::tls::Tls;

/// All headers of a request together, and what waits to be written, per connection.
const BUFFER_BYTES: usize = 64 << 10;
/// Headers of a request.
const MAX_HEADERS: usize = 100;
/// How long to wait when the system has no more file descriptors.
const NO_DESCRIPTOR: Duration = Duration::from_millis(50);

/// Serves until `drain` turns true and the front's delay is over, then takes no more connections and returns when the last request under
/// way has its whole answer.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    front: Front,
    mut drain: watch::Receiver<bool>,
) {
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(limits.connections));
    let end = async {
        // An error means that whoever could give the order is gone: an order too.
        let _ = drain.wait_for(|begun| *begun).await;
        tokio::time::sleep(front.drain_delay).await;
    };
    tokio::pin!(end);
    loop {
        let accepted = async {
            let permit = permits.clone().acquire_owned().await.ok()?;
            let (stream, _) = listener.accept().await.ok()?;
            Some((permit, stream))
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            () = &mut end => break,
        };
        let Some((permit, stream)) = accepted else {
            tokio::time::sleep(NO_DESCRIPTOR).await;
            continue;
        };
        // Tokens are small and should not wait for each other; without this they only come later.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(limits.write_time));
        let (watcher, limits) = (graceful.watcher(), limits.clone());
        let (router, tls) = (router.clone(), front.tls.clone());
        tokio::spawn(async move {
            let stream = Box::pin(stream);
            match tls {
                None => answer(stream, router, &limits, watcher).await,
                Some(tls) => {
                    if let Some(stream) = greet(&tls, stream, &limits).await {
                        answer(stream, router, &limits, watcher).await;
                    }
                }
            }
            drop(permit);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// The encrypted connection, if the peer manages to begin one in time.
async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    tls: &Tls,
    stream: S,
    limits: &Limits,
) -> Option<TlsStream<S>> {
    let greeting = tls.acceptor().accept(stream);
    tokio::time::timeout(limits.head_time, greeting)
        .await
        .ok()?
        .ok()
}

/// Answers what comes on a connection until it ends.
async fn answer<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    limits: &Limits,
    watcher: Watcher,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_headers(MAX_HEADERS)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // What went wrong on a connection is over with it: the peer left, was too slow, or sent no HTTP.
    let _ = watcher.watch(connection).await;
}
