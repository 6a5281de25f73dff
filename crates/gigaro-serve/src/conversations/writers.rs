//! Which server is writing which answer, so that what a dead one left is told from what a living one is about.
//!
//! Servers that share a store know each other only through it. Each says from time to time that it is there; the answers of one that has
//! been silent for long are marked as interrupted. Should it live after all, the end of its answer puts that right.

use super::Store;
use super::error::Result;
use crate::database::{Database, Dialect, Fault};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// How often a server says that it is there.
pub const BEAT: Duration = Duration::from_secs(5);
/// Who has been silent for so long is gone.
pub const SILENCE: Duration = Duration::from_secs(20);

/// A number that no other program has.
pub(super) fn new_writer() -> i64 {
    // Hash maps are seeded by the system's random numbers.
    RandomState::new()
        .hash_one(std::process::id())
        .cast_signed()
}

/// The database's own clock, in milliseconds since 1970: those of several machines need not agree.
fn now(database: &Database) -> &'static str {
    match database.dialect() {
        Dialect::Sqlite => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
        Dialect::Postgres => "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
    }
}

/// Keeps that a writer is there.
fn beat(changes: &mut Database, writer: i64) -> std::result::Result<(), Fault> {
    let now = now(changes);
    let statement = format!(
        "INSERT INTO writers (id, seen_ms) VALUES (?1, {now}) ON CONFLICT (id) DO UPDATE SET seen_ms = excluded.seen_ms"
    );
    changes.execute(&statement, &[&writer]).map(|_| ())
}

/// Keeps who writes an answer that begins.
pub(super) fn begin(
    changes: &mut Database,
    writer: i64,
    answer: i64,
) -> std::result::Result<(), Fault> {
    beat(changes, writer)?;
    let statement = "INSERT INTO writing (message, writer) VALUES (?1, ?2)";
    changes.execute(statement, &[&answer, &writer]).map(|_| ())
}

/// Forgets who wrote an answer that is over.
pub(super) fn end(changes: &mut Database, answer: i64) -> std::result::Result<(), Fault> {
    let statement = "DELETE FROM writing WHERE message = ?1";
    changes.execute(statement, &[&answer]).map(|_| ())
}

impl Store {
    /// Says that this program is there, and marks the unfinished answers of those that have been silent for `silence` as interrupted:
    /// how many there were. To be called every [`BEAT`] by whoever writes answers. Where no answer is under way, nothing is written.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn recover(&mut self, silence: Duration) -> Result<usize> {
        let writer = self.writer;
        let under_way = self.database.row(
            "SELECT id FROM messages WHERE state = 'streaming' LIMIT 1",
            &[],
            |_| Ok(()),
        )?;
        if under_way.is_none() {
            return Ok(0);
        }
        let silence = i64::try_from(silence.as_millis()).unwrap_or(i64::MAX);
        self.database.change(|changes| {
            beat(changes, writer)?;
            let now = now(changes);
            changes.execute(
                &format!("DELETE FROM writers WHERE id <> ?1 AND seen_ms <= {now} - ?2"),
                &[&writer, &silence],
            )?;
            let marked = changes.execute(
                "UPDATE messages SET state = 'interrupted' WHERE state = 'streaming' AND NOT EXISTS \
                 (SELECT 1 FROM writing JOIN writers ON writers.id = writing.writer WHERE writing.message = messages.id)",
                &[],
            )?;
            changes.execute(
                "DELETE FROM writing WHERE writer NOT IN (SELECT id FROM writers)",
                &[],
            )?;
            Ok(marked)
        })
    }
}
