//! What can go wrong outside the program: files, folders, formats, settings.
//!
//! Each message is a sentence that says what is wrong, where, and what to do. Bugs of the calling code panic instead.

use std::path::{Path, PathBuf};

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can be wrong with what comes from outside.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}; {}", path.display(), advice_for(source))]
    Io {
        /// The verb: `read`, `create`, `write`, `rename`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file is not what its name or its reader says it is.
    #[error("{place}: {problem}; {advice}")]
    Malformed {
        /// The file, and the line, key or byte in it where that is known.
        place: String,
        /// What is wrong there.
        problem: String,
        /// What to do.
        advice: String,
    },
    /// A setting that cannot work, such as a vocabulary smaller than the alphabet.
    #[error("{problem}; {advice}")]
    Setting {
        /// What is wrong.
        problem: String,
        /// What to do.
        advice: String,
    },
    /// Whoever hands out documents was asked to stop, and ends a pass over them so.
    #[error("the text was not read to its end, as was asked; begin again to read all of it")]
    Stopped,
    /// There is less text than one training example needs.
    #[error(
        "{place} has {tokens} tokens, and one example needs {needed}; give more text or a shorter sequence length"
    )]
    TooShort {
        /// Where the tokens came from.
        place: String,
        /// How many there are.
        tokens: u64,
        /// How many one example needs.
        needed: u64,
    },
    /// Weights, shards or a checkpoint made with one tokenizer meet another.
    #[error(
        "{place} was made with the tokenizer {expected:.12} and this one is {found:.12}; \
         use the tokenizer.json that belongs to it, or make it again with this tokenizer"
    )]
    ForeignTokenizer {
        /// What was made with the other tokenizer.
        place: String,
        /// The hash it names.
        expected: String,
        /// The hash of the tokenizer at hand.
        found: String,
    },
}

impl Error {
    pub(crate) fn io(
        action: &'static str,
        path: impl AsRef<Path>,
        source: std::io::Error,
    ) -> Error {
        Error::Io {
            action,
            path: path.as_ref().to_path_buf(),
            source,
        }
    }

    pub(crate) fn malformed(
        place: impl Into<String>,
        problem: impl Into<String>,
        advice: impl Into<String>,
    ) -> Error {
        Error::Malformed {
            place: place.into(),
            problem: problem.into(),
            advice: advice.into(),
        }
    }

    pub(crate) fn setting(problem: impl Into<String>, advice: impl Into<String>) -> Error {
        Error::Setting {
            problem: problem.into(),
            advice: advice.into(),
        }
    }
}

fn advice_for(source: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match source.kind() {
        ErrorKind::NotFound => "check the spelling of the path",
        ErrorKind::PermissionDenied => "check its permissions",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some space or write elsewhere",
        ErrorKind::UnexpectedEof => "the file is cut short, fetch or make it again",
        ErrorKind::IsADirectory => "give a file, not a folder",
        ErrorKind::InvalidInput | ErrorKind::InvalidData => {
            "the file is damaged, fetch or make it again"
        }
        _ => "check the disk and try again",
    }
}
