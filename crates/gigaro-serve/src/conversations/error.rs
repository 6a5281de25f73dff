//! What can go wrong between a store of conversations and those who use it.

use super::schema::KIND;
use gigaro_data::sqlite::Problem;
use std::path::{Path, PathBuf};

/// What the store's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a conversation could not be read or changed. Each message is a sentence: what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such thing, or it belongs to somebody else: which of both is nobody's business.
    #[error("there is no {what} {id} here; load the list of conversations again")]
    Missing {
        /// `conversation`, `message` or `answer`.
        what: &'static str,
        /// The number that was asked for.
        id: i64,
    },
    /// What was asked for cannot be done.
    #[error("{problem}; {advice}")]
    Refused {
        /// What is wrong with it.
        problem: String,
        /// What to do.
        advice: &'static str,
    },
    /// The file cannot be used.
    #[error("{}: {problem}; {advice}", path.display())]
    File {
        /// The store.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        advice: &'static str,
    },
}

impl Error {
    pub(super) fn refused(problem: impl Into<String>, advice: &'static str) -> Error {
        Error::Refused {
            problem: problem.into(),
            advice,
        }
    }

    pub(super) fn file(path: &Path, problem: impl Into<String>, advice: &'static str) -> Error {
        Error::File {
            path: path.to_path_buf(),
            problem: problem.into(),
            advice,
        }
    }

    pub(super) fn unusable(path: &Path, Problem { problem, advice }: Problem) -> Error {
        Error::file(path, problem, advice)
    }

    /// What a refusal of SQLite means.
    pub(super) fn sqlite(path: &Path, error: &rusqlite::Error) -> Error {
        Error::unusable(path, KIND.refusal(error))
    }
}
