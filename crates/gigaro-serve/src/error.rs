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
    /// The address cannot be had.
    #[error(
        "cannot listen on port {port} of {host}: {source}; give another one with --port, or 0 for any that is free"
    )]
    Bind {
        /// The address that was asked for.
        host: std::net::IpAddr,
        /// The port that was asked for.
        port: u16,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Others could reach the server, and nothing would keep them out.
    #[error(
        "others could reach {host}, and nothing would keep them out: give --api-key-file FILE, or --no-auth if everybody may use this model"
    )]
    OpenToAll {
        /// The address that was asked for.
        host: std::net::IpAddr,
    },
    /// Others reach the server through a proxy, and nothing would keep them out.
    #[error(
        "with --public-url others reach this server, and nothing would keep them out: give --api-key-file FILE, or --no-auth if the proxy before it asks who they are"
    )]
    PublicToAll,
    /// The conversations cannot be kept.
    #[error(transparent)]
    Conversations(#[from] crate::conversations::Error),
    /// The operating system gave no thread or no event queue.
    #[error("cannot start the service: {source}; close other programs and try again")]
    Start {
        /// What the operating system said.
        source: std::io::Error,
    },
}
