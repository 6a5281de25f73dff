//! What keys have used on which day, kept through restarts: a row for each key and day, in a SQLite file or a PostgreSQL database.

use std::path::{Path, PathBuf};

use gigaro_data::sqlite::StoreKind;
use serde::Serialize;

use super::ledger::Clock;
use crate::database::{Database, Fault, Form};

/// Days that are kept.
const KEPT_DAYS: i64 = 400;

const GIVE_ANOTHER: &str = "give another path with --key-usage";

const FORM: Form = Form {
    sqlite: StoreKind {
        name: "store of what keys have used",
        application_id: 0x676B_6579, // `gkey` in ASCII
        version: 1,
        tables: "CREATE TABLE key_usage (name TEXT NOT NULL, day INTEGER NOT NULL, requests INTEGER NOT NULL, \
                 tokens INTEGER NOT NULL, PRIMARY KEY (name, day)) STRICT;",
        no_database: GIVE_ANOTHER,
        blank: ("this is no store of what keys have used", GIVE_ANOTHER),
        foreign: ("this is no store of what keys have used", GIVE_ANOTHER),
    },
    postgres: "SET search_path TO gigaro, public; \
               CREATE TABLE IF NOT EXISTS key_usage (name TEXT NOT NULL, day BIGINT NOT NULL, requests BIGINT NOT NULL, \
               tokens BIGINT NOT NULL, PRIMARY KEY (name, day));",
};

/// Why use cannot be kept: a sentence with the place.
#[derive(Debug, thiserror::Error)]
#[error("what keys have used cannot be kept in {0}")]
pub struct UsageError(String);

impl From<Fault> for UsageError {
    fn from(fault: Fault) -> Self {
        Self(fault.to_string())
    }
}

/// Requests and tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Used {
    /// Requests.
    pub requests: u64,
    /// Tokens that were read or written.
    pub tokens: u64,
}

impl Used {
    pub(super) fn more(self, other: Used) -> Used {
        Used {
            requests: self.requests.saturating_add(other.requests),
            tokens: self.tokens.saturating_add(other.tokens),
        }
    }

    pub(super) fn less(self, other: Used) -> Used {
        Used {
            requests: self.requests.saturating_sub(other.requests),
            tokens: self.tokens.saturating_sub(other.tokens),
        }
    }
}

/// Where use is kept.
#[derive(Debug)]
pub(crate) struct UsageStore(Database);

impl UsageStore {
    /// Opens or makes it, and forgets days that are long past.
    pub(super) fn open(place: &Path) -> Result<Self, UsageError> {
        let mut database = Database::open(place, FORM, true)?;
        let oldest = Clock::now().unix / (24 * 60 * 60) - KEPT_DAYS;
        database.execute("DELETE FROM key_usage WHERE day < ?1", &[&oldest])?;
        Ok(Self(database))
    }

    /// What each key has used on a day.
    pub(super) fn of_day(&mut self, day: i64) -> Result<Vec<(String, Used)>, UsageError> {
        let found = self.0.rows(
            "SELECT name, requests, tokens FROM key_usage WHERE day = ?1 ORDER BY name",
            &[&day],
            |row| Ok((row.get::<String>(0)?, used(row.get(1)?, row.get(2)?))),
        )?;
        Ok(found)
    }

    /// Adds to what a key has used on a day; gives the sum.
    pub(super) fn add(&mut self, name: &str, day: i64, more: Used) -> Result<Used, UsageError> {
        let (requests, tokens) = (more.requests.cast_signed(), more.tokens.cast_signed());
        let sum = self.0.row(
            "INSERT INTO key_usage (name, day, requests, tokens) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (name, day) DO UPDATE \
             SET requests = key_usage.requests + excluded.requests, tokens = key_usage.tokens + excluded.tokens \
             RETURNING requests, tokens",
            &[&name, &day, &requests, &tokens],
            |row| Ok(used(row.get(0)?, row.get(1)?)),
        )?;
        Ok(sum.unwrap_or(more))
    }
}

fn used(requests: i64, tokens: i64) -> Used {
    Used {
        requests: requests.max(0).unsigned_abs(),
        tokens: tokens.max(0).unsigned_abs(),
    }
}

/// Where use is kept if nothing is said: beside the file of keys.
#[must_use]
pub fn default_usage(keys: &Path) -> PathBuf {
    let mut name = keys.as_os_str().to_owned();
    name.push(".usage.db");
    name.into()
}

/// What each key has used today, by its name, as a server has stored it.
///
/// # Errors
/// If that place cannot be used.
pub fn used_today(place: &Path) -> Result<Vec<(String, Used)>, UsageError> {
    UsageStore::open(place)?.of_day(Clock::now().unix.div_euclid(24 * 60 * 60))
}
