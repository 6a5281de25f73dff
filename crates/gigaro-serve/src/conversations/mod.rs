//! Conversations with a model, kept in one SQLite file: what was asked, every answer, and what people thought of it.
//!
//! A conversation is a tree. Asking again with other words, or answering again, adds a branch and deletes nothing; `leaf` is where the
//! branch on the screen ends. An answer is stored as it grows, with a state, so that one that was cut short can be seen to be.
//! Everything belongs to an owner, and nobody sees what is another's.
//!
//! Each change is one transaction in write-ahead mode, flushed to disk: a kill leaves the state before it or after it. The tables are in
//! `schema`, the list and search in `list`, questions and answers in `tree`, thumbs and comparisons and the preference data that they
//! give in `feedback`, what was made of it in `trainings`, files for people in `export`. The requests that reach all this over HTTP are in [`crate::page`].

mod error;
mod export;
mod feedback;
mod list;
mod schema;
mod trainings;
mod tree;

pub use error::{Error, Result};
pub use export::ExportForm;
pub use feedback::{Choice, FeedbackCounts};
pub use list::{Change, Listed, New, Summary};
pub use trainings::{FeedbackDay, Outcome, Training};
pub use tree::{AnswerEnd, AnswerRequest, Asked, Conversation, Message, State};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use std::path::{Path, PathBuf};

/// An open store of conversations.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    connection: Connection,
}

impl Store {
    /// Opens the store at `path`.
    ///
    /// # Errors
    /// If there is none, the file is something else or damaged, or it comes from a later version.
    pub fn open(path: impl AsRef<Path>) -> Result<Store> {
        let path = path.as_ref();
        if !path.exists() {
            return Err(Error::file(
                path,
                "there is no store of conversations",
                "check the spelling of the path; gigaro serve makes one",
            ));
        }
        Store::connect(path, false)
    }

    /// Opens the store at `path`, or makes one if there is none.
    ///
    /// # Errors
    /// As [`Store::open`], or if the folder cannot be written to.
    pub fn open_or_create(path: impl AsRef<Path>) -> Result<Store> {
        Store::connect(path.as_ref(), true)
    }

    fn connect(path: &Path, create: bool) -> Result<Store> {
        Ok(Store {
            path: path.to_path_buf(),
            connection: schema::connect(path, create)?,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One transaction, which holds the file from its start: what it reads is what it changes.
    fn change<T>(&mut self, work: impl FnOnce(&Transaction<'_>, &Path) -> Result<T>) -> Result<T> {
        let path = &self.path;
        let refuse = |error: rusqlite::Error| Error::sqlite(path, &error);
        let changes = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(refuse)?;
        let done = work(&changes, path)?;
        changes.commit().map_err(refuse)?;
        Ok(done)
    }

    fn broken(&self, error: &rusqlite::Error) -> Error {
        Error::sqlite(&self.path, error)
    }
}

/// Refuses a conversation that is not there, or not this owner's.
fn check_owner(connection: &Connection, path: &Path, owner: &str, conversation: i64) -> Result<()> {
    connection
        .query_row(
            "SELECT 1 FROM conversations WHERE id = ?1 AND owner = ?2",
            rusqlite::params![conversation, owner],
            |_| Ok(()),
        )
        .optional()
        .map_err(|error| Error::sqlite(path, &error))?
        .ok_or(Error::Missing {
            what: "conversation",
            id: conversation,
        })
}

#[cfg(test)]
mod tests;
