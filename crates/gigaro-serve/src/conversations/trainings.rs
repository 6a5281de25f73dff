//! What became of feedback: how much came on which day, and the trainings that learned from it.
//!
//! Another program notes trainings (`gigaro align --from-feedback`), perhaps while a server has the store open, perhaps of another version;
//! one that cannot be read is left out.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Store;
use super::error::{Error, Result};

/// Days that are told, the last ones.
const DAYS: usize = 90;
/// Trainings that are told, the last ones.
const TRAININGS: i64 = 20;

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
    pub fn feedback_days(&mut self, owner: Option<&str>) -> Result<Vec<FeedbackDay>> {
        // When, and 1 or -1 for a thumb, 0 for a comparison.
        let said: Vec<(i64, i64)> = self.database.rows(
            "SELECT at_ms, what FROM ( \
               SELECT conversation, created_ms AS at_ms, rating AS what FROM messages WHERE rating IS NOT NULL \
               UNION ALL SELECT conversation, at_ms, 0 FROM choices JOIN messages ON messages.id = first \
             ) AS said JOIN conversations c ON c.id = conversation WHERE (CAST(?1 AS TEXT) IS NULL OR c.owner = ?1)",
            &[&owner],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let mut days = BTreeMap::<String, FeedbackDay>::new();
        for (at_ms, what) in said {
            // A time that no clock tells is a damaged row, of no day.
            let Ok(day) = Timestamp::from_millisecond(at_ms) else {
                continue;
            };
            let day = day.strftime("%Y-%m-%d").to_string();
            let counts = days.entry(day.clone()).or_insert(FeedbackDay {
                day,
                up: 0,
                down: 0,
                compared: 0,
            });
            match what {
                0 => counts.compared += 1,
                1.. => counts.up += 1,
                _ => counts.down += 1,
            }
        }
        let first = days.len().saturating_sub(DAYS);
        Ok(days.into_values().skip(first).collect())
    }

    /// Notes a training for [`Store::trainings`].
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn note_training(&mut self, training: &Training) -> Result<()> {
        let noted = serde_json::to_string(training).map_err(|e| {
            Error::refused(format!("the training cannot be noted: {e}"), "report it")
        })?;
        self.database
            .execute("INSERT INTO trainings (training) VALUES (?1)", &[&noted])?;
        Ok(())
    }

    /// The last trainings, the newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn trainings(&mut self) -> Result<Vec<Training>> {
        let noted: Vec<String> = self.database.rows(
            "SELECT training FROM trainings ORDER BY id DESC LIMIT ?1",
            &[&TRAININGS],
            |row| row.get(0),
        )?;
        let read = noted
            .iter()
            .filter_map(|text| serde_json::from_str(text).ok());
        Ok(read.collect())
    }
}
