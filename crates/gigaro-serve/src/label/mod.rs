//! The labelling page: one person at a time ranks answers in a browser on this machine.
//!
//! The service listens on the loopback address and nowhere else, and has no accounts: whoever can use this machine can label under any
//! name. What it must keep out is other web sites in the same browser; `guard` does that. The requests are in `routes`, the page
//! itself in the three files beside this one, compiled in. What is labelled goes into a [`Store`]; ranking in a terminal is in the
//! binary.

mod guard;
mod routes;

use crate::{Error, Result};
use gigaro_data::preferences::store::Store;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// A running labelling page. It stops when this is dropped.
#[derive(Debug)]
pub struct LabelServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LabelServer {
    /// Serves the page for `store` on `port` of this machine's loopback address; port 0 takes one that is free.
    ///
    /// # Errors
    /// If the port is taken or not allowed, or the system gives no thread.
    pub fn start(store: Store, port: u16) -> Result<LabelServer> {
        let listen = |source| Error::Listen { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        // One thread for requests; the store's work is done on the runtime's blocking threads.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Error::Start { source })?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(listen)?
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let service = routes::service(store, address);
        let serve = move || {
            runtime.spawn(axum::serve(listener, service).into_future());
            // The end comes with the order to stop, or with whoever could give it. No connection is waited for: a browser keeps its
            // own open, and each label is on disk before it is answered.
            let _ = runtime.block_on(stopped);
        };
        let thread = std::thread::Builder::new()
            .name("label page".to_owned())
            .spawn(serve)
            .map_err(|source| Error::Start { source })?;
        Ok(LabelServer {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to type into a browser.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

impl Drop for LabelServer {
    fn drop(&mut self) {
        // Either may have ended by itself; then there is nothing to stop.
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
