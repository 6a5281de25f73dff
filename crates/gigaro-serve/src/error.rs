//! What can go wrong when a service is started. What goes wrong with a single request is answered to whoever sent it.

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a service could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The port cannot be had.
    #[error(
        "cannot listen on port {port} of this machine: {source}; give another one with --port, or 0 for any that is free"
    )]
    Listen {
        /// The port that was asked for.
        port: u16,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The operating system gave no thread or no event queue.
    #[error("cannot start the service: {source}; close other programs and try again")]
    Start {
        /// What the operating system said.
        source: std::io::Error,
    },
}
