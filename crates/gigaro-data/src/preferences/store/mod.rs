//! The file that labels are collected in: one SQLite database with items, their answers, and every label ever given.
//!
//! Nothing is deleted. A label is a row, undoing it is a later row, and what counts is the last row of each labeller for each item. A
//! labeller goes through the items in a seeded order. A share of the items is given to everyone, so that agreement can be
//! measured; each of the others goes to whoever opens it first. Answers are shown in an order of their own for each labeller and
//! item, without the name of what wrote them.
//!
//! Each change is one transaction in write-ahead mode, flushed to disk: a kill leaves the state before it or after it. Several programs may have
//! the file open at once. The tables are in `schema`, bringing items in is in `import`, taking labels out in `export`; screens are in
//! the binary (`gigaro label`) and in gigaro-serve.

mod export;
mod import;
mod schema;

pub use export::{LabelReport, Labelled, LabellerCounts};
pub use import::Imported;
pub(crate) use import::read_items;

use super::dense_ranks;
use crate::chat::{Conversation, Message};
use crate::sqlite::now_ms;
use crate::world::rng::Rng;
use crate::{Error, Result};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// An item that somebody has opened and not labelled is kept from others for this long.
const CLAIM_MS: i64 = 30 * 60 * 1000;
/// Longer names are refused: they are for people to read in a report.
const NAME_CHARS: usize = 64;

/// What is fixed when a store is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Start of the order of the items and of the order in which answers are shown.
    pub seed: u64,
    /// Of a hundred items, how many everyone gets.
    pub shared_percent: u32,
}

/// An open store of labels.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    connection: Connection,
    settings: Settings,
}

/// What one labeller is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Task {
    /// The item's number.
    pub item: i64,
    /// What the answers answer.
    pub prompt: Vec<Message>,
    /// The answers in the order in which this labeller sees them.
    pub answers: Vec<String>,
}

/// What a labeller says about a task.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// For each answer as shown its rank, 1 for the best, ties level; `None` if the item is passed over.
    pub ranks: Option<Vec<u32>>,
    /// Whether somebody should look at the item again.
    pub flag: bool,
    /// How long the task was on the screen.
    pub seconds: f64,
}

/// How far a labeller has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Items ranked.
    pub ranked: u64,
    /// Items passed over.
    pub skipped: u64,
    /// Items that are still to be had.
    pub open: u64,
}

impl Store {
    /// Opens the store at `path`.
    ///
    /// # Errors
    /// If there is none, the file is something else or damaged, or it comes from a later version.
    pub fn open(path: impl AsRef<Path>) -> Result<Store> {
        let path = path.as_ref();
        if !path.exists() {
            return Err(Error::setting(
                format!("there is no label store at {}", path.display()),
                format!(
                    "make one from answers: gigaro label {} --import FILE.jsonl",
                    path.display()
                ),
            ));
        }
        Store::connect(path, None)
    }

    /// Opens the store at `path`, or makes one with these settings if there is none.
    ///
    /// # Errors
    /// As [`Store::open`], or if the folder cannot be written to.
    pub fn open_or_create(path: impl AsRef<Path>, settings: Settings) -> Result<Store> {
        Store::connect(path.as_ref(), Some(settings))
    }

    fn connect(path: &Path, new: Option<Settings>) -> Result<Store> {
        let (connection, settings) = schema::connect(path, new)?;
        Ok(Store {
            path: path.to_path_buf(),
            connection,
            settings,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was fixed when the store was made.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// The next task of a labeller, and keeps it from the others for half an hour unless everyone gets it. `None` when there is none.
    ///
    /// # Errors
    /// If the name cannot be one, or the file cannot be read or written.
    pub fn next(&mut self, labeller: &str) -> Result<Option<Task>> {
        check_name(labeller)?;
        let now = now_ms();
        let item = self.change(|changes| {
            let item: Option<i64> = changes
                .query_row(
                    &format!("SELECT id FROM items WHERE {} ORDER BY place, id LIMIT 1", schema::OPEN),
                    params![labeller, now - CLAIM_MS],
                    |row| row.get(0),
                )
                .optional()?;
            if let Some(item) = item {
                changes.execute(
                    "INSERT OR REPLACE INTO claims (item, labeller, at_ms) SELECT id, ?2, ?3 FROM items WHERE id = ?1 AND NOT shared",
                    params![item, labeller, now],
                )?;
            }
            Ok(item)
        })?;
        item.map(|item| self.task(labeller, item)).transpose()
    }

    /// The item of that number as `labeller` sees it.
    ///
    /// # Errors
    /// If there is no such item, or the file cannot be read.
    pub fn task(&self, labeller: &str, item: i64) -> Result<Task> {
        let prompt: Option<String> = self
            .connection
            .query_row("SELECT prompt FROM items WHERE id = ?1", [item], |row| {
                row.get(0)
            })
            .optional()
            .map_err(|error| self.broken(&error))?;
        let Some(prompt) = prompt else {
            return Err(Error::setting(
                format!("there is no item {item} in {}", self.path.display()),
                "ask for the next one",
            ));
        };
        let answers = self.answers(item)?;
        let shown = self.shown_order(labeller, item, answers.len());
        Ok(Task {
            item,
            prompt: self.messages(item, &prompt)?.messages,
            answers: shown.into_iter().map(|at| answers[at].0.clone()).collect(),
        })
    }

    /// Keeps what `labeller` says about `item`, in place of what they said before.
    ///
    /// # Errors
    /// If the item does not exist, there is not one rank per answer, or the file cannot be written.
    pub fn label(&mut self, labeller: &str, item: i64, verdict: &Verdict) -> Result<()> {
        check_name(labeller)?;
        let answers = self.task(labeller, item)?.answers.len();
        let ranks = match &verdict.ranks {
            None => None,
            Some(shown) if shown.len() == answers => {
                // As stored: the place of each answer in the file, not on this labeller's screen.
                let mut ranks = vec![0; answers];
                let order = self.shown_order(labeller, item, answers);
                for (rank, at) in dense_ranks(shown).into_iter().zip(order) {
                    ranks[at] = rank;
                }
                Some(serde_json::json!(ranks).to_string())
            }
            Some(shown) => {
                return Err(Error::setting(
                    format!(
                        "item {item} has {answers} answers and came with {} ranks",
                        shown.len()
                    ),
                    "give one rank per answer",
                ));
            }
        };
        let kind = if ranks.is_some() { "ranked" } else { "skipped" };
        let seconds = if verdict.seconds.is_finite() {
            verdict.seconds.max(0.0)
        } else {
            0.0
        };
        self.change(|changes| {
            changes.execute(
                "INSERT INTO labels (item, labeller, kind, ranks, flag, seconds, at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![item, labeller, kind, ranks, verdict.flag, seconds, now_ms()],
            )?;
            changes.execute("DELETE FROM claims WHERE item = ?1 AND labeller = ?2", params![item, labeller])
        })?;
        Ok(())
    }

    /// Takes back the last thing that `labeller` said and is still standing, by a row that says so, and returns its item.
    ///
    /// # Errors
    /// If the name cannot be one, or the file cannot be read or written.
    pub fn undo(&mut self, labeller: &str) -> Result<Option<i64>> {
        check_name(labeller)?;
        self.change(|changes| {
            let last: Option<i64> = changes
                .query_row(
                    "SELECT item FROM standing WHERE labeller = ?1 ORDER BY id DESC LIMIT 1",
                    [labeller],
                    |row| row.get(0),
                )
                .optional()?;
            if let Some(item) = last {
                let now = now_ms();
                changes.execute(
                    "INSERT INTO labels (item, labeller, kind, ranks, flag, seconds, at_ms) VALUES (?1, ?2, 'undone', NULL, 0, 0, ?3)",
                    params![item, labeller, now],
                )?;
                changes.execute(
                    "INSERT OR REPLACE INTO claims (item, labeller, at_ms) SELECT id, ?2, ?3 FROM items WHERE id = ?1 AND NOT shared",
                    params![item, labeller, now],
                )?;
            }
            Ok(last)
        })
    }

    /// How far `labeller` has come.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn progress(&self, labeller: &str) -> Result<Progress> {
        let count = |query: &str, parameters: &[&dyn rusqlite::ToSql]| {
            self.connection
                .query_row(query, parameters, |row| row.get::<_, i64>(0))
                .map(|count| count.unsigned_abs())
                .map_err(|error| self.broken(&error))
        };
        let said = "SELECT count(*) FROM standing WHERE labeller = ?1 AND kind = ?2";
        Ok(Progress {
            ranked: count(said, &[&labeller, &"ranked"])?,
            skipped: count(said, &[&labeller, &"skipped"])?,
            open: count(
                &format!("SELECT count(*) FROM items WHERE {}", schema::OPEN),
                &[&labeller, &(now_ms() - CLAIM_MS)],
            )?,
        })
    }

    /// One transaction, which holds the file from its start: what it reads is what it changes.
    fn change<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let done = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .and_then(|changes| {
                let done = work(&changes)?;
                changes.commit()?;
                Ok(done)
            });
        done.map_err(|error| self.broken(&error))
    }

    /// The answers of an item as stored, each with its source.
    fn answers(&self, item: i64) -> Result<Vec<(String, Option<String>)>> {
        let mut query = self
            .connection
            .prepare("SELECT text, source FROM answers WHERE item = ?1 ORDER BY place")
            .map_err(|error| self.broken(&error))?;
        query
            .query_map([item], |row| Ok((row.get(0)?, row.get(1)?)))
            .and_then(Iterator::collect)
            .map_err(|error| self.broken(&error))
    }

    /// Which stored answer stands at each place of this labeller's screen.
    fn shown_order(&self, labeller: &str, item: i64, answers: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..answers).collect();
        let stream = format!("answers for {labeller}");
        Rng::at(self.settings.seed, &stream, item.unsigned_abs()).shuffle(&mut order);
        order
    }

    fn messages(&self, item: i64, json: &str) -> Result<Conversation> {
        serde_json::from_str(json)
            .map(|messages: Vec<Message>| messages.into())
            .map_err(|error| self.damaged(&format!("item {item} has no readable prompt ({error})")))
    }

    fn damaged(&self, problem: &str) -> Error {
        Error::malformed(
            self.path.display().to_string(),
            problem,
            "the store is damaged, go back to a copy of it",
        )
    }

    fn broken(&self, error: &rusqlite::Error) -> Error {
        schema::sentence(&self.path, error)
    }
}

fn check_name(labeller: &str) -> Result<()> {
    let fits = !labeller.trim().is_empty()
        && labeller.chars().count() <= NAME_CHARS
        && !labeller.chars().any(char::is_control);
    if fits {
        return Ok(());
    }
    Err(Error::setting(
        format!("{labeller:.80?} cannot be a labeller's name"),
        format!("give 1 to {NAME_CHARS} printable characters"),
    ))
}

#[cfg(test)]
mod tests;
