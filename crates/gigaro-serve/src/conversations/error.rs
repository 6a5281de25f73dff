//! What can go wrong between a store of conversations and those who use it.

use crate::database::Fault;

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
    /// A conversation that is there has no such message.
    #[error("there is no message {id} in this conversation; load it again")]
    Elsewhere {
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
    /// The file or the database server cannot be used.
    #[error("{place}: {problem}; {advice}")]
    Unusable {
        /// The file, or the server without its password.
        place: String,
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
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        let Fault {
            place,
            problem,
            advice,
        } = fault;
        Error::Unusable {
            place,
            problem,
            advice,
        }
    }
}
