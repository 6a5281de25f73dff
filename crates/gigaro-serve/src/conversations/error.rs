//! What can go wrong between a store of conversations and those who use it.

use rusqlite::ErrorCode;
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

    /// What a refusal of SQLite means.
    pub(super) fn sqlite(path: &Path, error: &rusqlite::Error) -> Error {
        let (problem, advice) = match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => (
                "this is no store of conversations".to_owned(),
                "give the path of one, or a new path to make one",
            ),
            Some(ErrorCode::DatabaseCorrupt) => (
                format!("the store is damaged ({error})"),
                "go back to a copy, or rescue what is left with sqlite3 FILE .recover",
            ),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
                "another program holds the store".to_owned(),
                "wait until it is done and try again",
            ),
            Some(ErrorCode::DiskFull) => (
                "the disk is full".to_owned(),
                "free some space; what was stored before is kept",
            ),
            Some(ErrorCode::CannotOpen) => (
                "the store cannot be opened".to_owned(),
                "check that it is a file and that its folder exists and can be written to",
            ),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => (
                "the store cannot be written".to_owned(),
                "check the permissions of the file and of its folder",
            ),
            _ => (
                format!("the store cannot be used ({error})"),
                "check that it is a store of conversations that gigaro made",
            ),
        };
        Error::file(path, problem, advice)
    }
}
