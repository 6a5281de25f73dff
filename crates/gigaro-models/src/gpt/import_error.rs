//! What can be wrong with a model that others made.

use std::path::{Path, PathBuf};

use super::config::ConfigError;

/// Why a model in another project's files cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A file could not be read.
    #[error("cannot read {}: {source}; check the path and its permissions", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The settings are unreadable, impossible, or of a form that the decoder does not have.
    #[error("{place}: {source}")]
    Config {
        /// The file.
        place: String,
        /// What is wrong with them.
        source: ConfigError,
    },
    /// The weights are damaged, incomplete, or those of another model.
    #[error("{place}: {reason}")]
    Weights {
        /// The file or folder.
        place: String,
        /// What is wrong and what to do.
        reason: String,
    },
}

impl ImportError {
    pub(super) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn weights(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Weights {
            place: place.into(),
            reason: reason.into(),
        }
    }
}
