//! Conversations with a model, kept in one SQLite file or on a PostgreSQL server: what was asked, every answer, and what people thought of it.
//!
//! A conversation is a tree. Asking again with other words, or answering again, adds a branch and deletes nothing; `leaf` is where the
//! branch on the screen ends. An answer is stored as it grows, with a state, so that one that was cut short can be seen to be.
//! Everything belongs to an owner, and nobody sees what is another's.
//!
//! Each change is one transaction, flushed to disk: a kill leaves the state before it or after it. Several servers may use one store; which
//! of them writes which answer is in `writers`. The tables are in `schema`, the list and search in `list`, questions and answers in `tree`,
//! thumbs and comparisons and the preference data that they give in `feedback`, what was made of it in `trainings`, files for people in
//! `export`. The requests that reach all this over HTTP are in [`crate::page`].

mod error;
mod export;
mod feedback;
mod list;
mod schema;
mod trainings;
mod tree;
mod writers;

pub use error::{Error, Result};
pub use export::ExportForm;
pub use feedback::{Choice, FeedbackCounts};
pub use list::{Change, Listed, New, Summary};
pub use trainings::{FeedbackDay, Outcome, Training};
pub use tree::{AnswerEnd, AnswerRequest, Asked, Conversation, Message, State};
pub use writers::{BEAT, SILENCE};

use crate::database::{Database, Fault, server_url};
use std::path::Path;

/// An open store of conversations.
#[derive(Debug)]
pub struct Store {
    database: Database,
    /// What this program is known by among those that write answers here.
    writer: i64,
}

impl Store {
    /// Opens the store at `place`: a file, or `postgres://USER@HOST/NAME`.
    ///
    /// # Errors
    /// If there is no such file, it is something else or damaged, it comes from a later version, or the server does not let in.
    pub fn open(place: impl AsRef<Path>) -> Result<Store> {
        let place = place.as_ref();
        if server_url(place).is_none() && !place.exists() {
            return Err(Error::from(Fault {
                place: place.display().to_string(),
                problem: "there is no store of conversations".to_owned(),
                advice: "check the spelling of the path; gigaro serve makes one",
            }));
        }
        Store::connect(place, false)
    }

    /// Opens the store at `place`, or makes one if there is none.
    ///
    /// # Errors
    /// As [`Store::open`], or if the folder cannot be written to.
    pub fn open_or_create(place: impl AsRef<Path>) -> Result<Store> {
        Store::connect(place.as_ref(), true)
    }

    fn connect(place: &Path, create: bool) -> Result<Store> {
        let mut database = Database::open(place, schema::FORM, create)?;
        if server_url(place).is_none() {
            database.batch(schema::LATER)?;
        }
        Ok(Store {
            database,
            writer: writers::new_writer(),
        })
    }

    /// The file, or the server without its password.
    pub fn place(&self) -> &str {
        self.database.place()
    }
}

/// Refuses a conversation that is not there, or not this owner's.
fn check_owner(database: &mut Database, owner: &str, conversation: i64) -> Result<()> {
    let found = database.row(
        "SELECT id FROM conversations WHERE id = ?1 AND owner = ?2",
        &[&conversation, &owner],
        |_| Ok(()),
    )?;
    found.ok_or(Error::Missing {
        what: "conversation",
        id: conversation,
    })
}

#[cfg(test)]
mod tests;
