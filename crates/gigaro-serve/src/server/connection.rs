//! Connections: accepting them, their limits, and their end.
//!
//! hyper speaks HTTP; here are the bounds on peers that are slow, silent or endless, which `axum::serve` has none of.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_io_timeout::TimeoutStream;

use super::app::Limits;

/// All headers of a request together, and what waits to be written, per connection.
const BUFFER_BYTES: usize = 64 << 10;
/// Headers of a request.
const MAX_HEADERS: usize = 100;
/// How long to wait when the system has no more file descriptors.
const NO_DESCRIPTOR: Duration = Duration::from_millis(50);

/// Serves until `drain` turns true, then takes no more connections and returns when the last request under way has its whole
/// answer.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    mut drain: watch::Receiver<bool>,
) {
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(limits.connections));
    loop {
        let accepted = async {
            let permit = permits.clone().acquire_owned().await.ok()?;
            let (stream, _) = listener.accept().await.ok()?;
            Some((permit, stream))
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            // An error means that whoever could give the order is gone: an order too.
            _ = drain.wait_for(|begun| *begun) => break,
        };
        let Some((permit, stream)) = accepted else {
            tokio::time::sleep(NO_DESCRIPTOR).await;
            continue;
        };
        // Tokens are small and should not wait for each other; without this they only come later.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(limits.write_time));
        let service = TowerToHyperService::new(router.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_time)
            .max_headers(MAX_HEADERS)
            .max_buf_size(BUFFER_BYTES)
            .serve_connection(TokioIo::new(Box::pin(stream)), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // What went wrong on a connection is over with it: the peer left, was too slow, or sent no HTTP.
            let _ = connection.await;
            drop(permit);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}
