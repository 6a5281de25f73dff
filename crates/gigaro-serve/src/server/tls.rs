//! TLS: a certificate and its key from two files, which are read again when they change.
//!
//! HTTP/1.1 over TLS 1.2 and 1.3, by rustls with ring. Connections that stand keep what they began with.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// Why there can be no TLS with these files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path} for TLS: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file holds something else.
    #[error("{path} holds no {what} in PEM form: {problem}")]
    Content {
        /// The file.
        path: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// Both can be read, and do not go together.
    #[error(
        "the certificate in {certificate} and the key in {key} cannot be used together: {source}"
    )]
    Pair {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
}

/// What connections are encrypted with.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<ServerConfig>>,
    /// What was read last, to tell whether there is something new.
    bytes: Mutex<[Vec<u8>; 2]>,
}

impl fmt::Debug for Tls {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("certificate", &self.certificate)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads a chain of certificates, the server's own first, and the private key of that.
    ///
    /// # Errors
    /// If one of the files cannot be read or holds something else, or they do not go together.
    pub fn read(certificate: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let bytes = [read(certificate)?, read(key)?];
        let config = config(certificate, key, &bytes)?;
        Ok(Arc::new(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current: RwLock::new(config),
            bytes: Mutex::new(bytes),
        }))
    }

    /// Looks whether the files have changed, and takes what they say now for connections to come; whether they have. If they cannot be used
    /// any more, all stays as it was.
    ///
    /// # Errors
    /// If they have changed and cannot be used.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let now = [read(&self.certificate)?, read(&self.key)?];
        let mut before = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if *before == now {
            return Ok(false);
        }
        let config = config(&self.certificate, &self.key, &now);
        // Of two files one is written first: what does not go together now may do so at the next look, and is complained of once.
        *before = now;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = config?;
        Ok(true)
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone().into()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })
}

fn config(
    certificate: &Path,
    key: &Path,
    [chain, secret]: &[Vec<u8>; 2],
) -> Result<Arc<ServerConfig>, TlsError> {
    let content = |path: &Path, what, problem: String| TlsError::Content {
        path: path.to_owned(),
        what,
        problem,
    };
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(chain).collect();
    let chain = chain.map_err(|e| content(certificate, "certificate", e.to_string()))?;
    if chain.is_empty() {
        let problem = "there is none in it".to_owned();
        return Err(content(certificate, "certificate", problem));
    }
    let secret = PrivateKeyDer::from_pem_slice(secret);
    let secret = secret.map_err(|e| content(key, "private key", e.to_string()))?;
    let pair = |source| TlsError::Pair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    };
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(pair)?;
    let mut config = builder
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
