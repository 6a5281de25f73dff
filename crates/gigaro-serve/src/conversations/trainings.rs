//! What became of feedback: how much came on which day, and the trainings that learned from it.
//!
//! Trainings are lines of JSON in a file beside the store, since another program writes them (`gigaro align --from-feedback`), perhaps
//! while a server has the store open; a line that cannot be read is left out.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use rusqlite::Row;
use serde::{Deserialize, Serialize};

use super::Store;
use super::error::{Error, Result};

/// Days that are told, the last ones.
const DAYS: i64 = 90;
/// Trainings that are told, the last ones.
const TRAININGS: usize = 20;

/// What people said on one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FeedbackDay {
    /// In UTC, such as 2026-11-30.
    pub day: String,
    /// Thumbs up on answers of that day.
    pub up: i64,
    /// Thumbs down on answers of that day.
    pub down: i64,
    /// Comparisons made on that day.
    pub compared: i64,
}

/// Whether a training has made the model better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Its answers are preferred to those before, the whole interval above one half.
    Better,
    /// Those before are preferred.
    Worse,
    /// The interval holds one half.
    Undecided,
    /// They were not compared.
    Unknown,
}

/// One training on feedback.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// When it ended, in milliseconds since 1970.
    pub at_ms: i64,
    /// The run's name.
    pub run: String,
    /// How it learned, such as `dpo`.
    pub algorithm: String,
    /// Pairs, or thumbs, that it learned from.
    pub learned_from: usize,
    /// How often its answers are preferred to those before, with the bounds of the 95 % interval; nothing if they were not compared.
    pub win_rate: Option<[f64; 3]>,
    /// What follows from that.
    pub outcome: Outcome,
    /// Whether it took the place of the model before.
    pub taken: bool,
    /// The server that was told to serve it, if one was.
    pub swapped: Option<String>,
}

impl Store {
    /// How much one owner, or all, have said on each of the last days on which anything was said.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn feedback_days(&self, owner: Option<&str>) -> Result<Vec<FeedbackDay>> {
        let day = |row: &Row<'_>| {
            Ok(FeedbackDay {
                day: row.get(0)?,
                up: row.get(1)?,
                down: row.get(2)?,
                compared: row.get(3)?,
            })
        };
        let query = "SELECT date(at_ms / 1000, 'unixepoch') AS day, sum(up), sum(down), sum(compared) FROM ( \
               SELECT conversation, created_ms AS at_ms, rating = 1 AS up, rating = -1 AS down, 0 AS compared FROM messages WHERE rating IS NOT NULL \
               UNION ALL SELECT conversation, at_ms, 0, 0, 1 FROM choices JOIN messages ON messages.id = first \
             ) JOIN conversations c ON c.id = conversation WHERE (?1 IS NULL OR c.owner = ?1) \
             GROUP BY day ORDER BY day DESC LIMIT ?2";
        let mut days: Vec<FeedbackDay> = self
            .connection
            .prepare(query)
            .and_then(|mut query| query.query_map((owner, DAYS), day)?.collect())
            .map_err(|error| self.broken(&error))?;
        days.reverse();
        Ok(days)
    }

    /// Where trainings are noted.
    fn trainings_path(&self) -> PathBuf {
        self.path.with_extension("trainings.jsonl")
    }

    /// Notes a training for [`Store::trainings`].
    ///
    /// # Errors
    /// If the file beside the store cannot be written.
    pub fn note_training(&self, training: &Training) -> Result<()> {
        let path = self.trainings_path();
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
            let mut line = serde_json::to_string(training)?;
            line.push('\n');
            file.write_all(line.as_bytes())?;
            file.sync_all()
        };
        write().map_err(|e| {
            let problem = format!("the training cannot be noted: {e}");
            Error::file(&path, problem, "check that the folder can be written to")
        })
    }

    /// The last trainings, the newest first.
    ///
    /// # Errors
    /// If the file beside the store cannot be read.
    pub fn trainings(&self) -> Result<Vec<Training>> {
        let path = self.trainings_path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => {
                let problem = format!("the trainings cannot be read: {e}");
                return Err(Error::file(&path, problem, "check the file"));
            }
        };
        let read = text
            .lines()
            .rev()
            .filter_map(|line| serde_json::from_str(line).ok());
        Ok(read.take(TRAININGS).collect())
    }
}
