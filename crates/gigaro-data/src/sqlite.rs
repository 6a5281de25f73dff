//! A SQLite file of one kind: how it is made and opened, and what SQLite's refusals mean in a sentence.
//!
//! The label store is one kind, the conversations of the chat page another. A store is told from other programs' databases by the
//! number in its header, is never changed before it is known to be one, and keeps what was stored through a kill at any moment
//! (write-ahead log, flushed at every change).

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

/// How long one program waits for another to finish its change.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a kind of store is known by.
#[derive(Clone, Copy, Debug)]
pub struct StoreKind {
    /// Such as `label store`.
    pub name: &'static str,
    /// Stands in the header: SQLite's own place for what a file is.
    pub application_id: i32,
    /// The form of the tables.
    pub version: i32,
    /// Makes the tables.
    pub tables: &'static str,
    /// What to do about a file that is no database.
    pub no_database: &'static str,
    /// What is wrong with a file that nothing is in, and what to do.
    pub blank: (&'static str, &'static str),
    /// What is wrong with another program's database, and what to do.
    pub foreign: (&'static str, &'static str),
}

/// Why a file cannot be used as a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong with it.
    pub problem: String,
    /// What to do.
    pub advice: &'static str,
}

/// What is put into a new store's tables.
pub type Fill<'a> = dyn Fn(&Connection) -> rusqlite::Result<()> + 'a;

impl StoreKind {
    /// Opens `path`; makes a store of it, with what `new` puts in, if that is given and nothing is there yet.
    ///
    /// # Errors
    /// If the file cannot be opened or made, is damaged, or is something else.
    pub fn open(&self, path: &Path, new: Option<&Fill<'_>>) -> Result<Connection, Problem> {
        let refuse = |error: rusqlite::Error| self.refusal(&error);
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        if new.is_some() {
            flags |= OpenFlags::SQLITE_OPEN_CREATE;
        }
        let mut connection = Connection::open_with_flags(path, flags).map_err(refuse)?;
        connection.busy_timeout(PATIENCE).map_err(refuse)?;
        if let (true, Some(fill)) = (is_blank(&connection).map_err(refuse)?, new) {
            self.make(&mut connection, fill).map_err(refuse)?;
        }
        self.check(&connection)?;
        // Only now: the foreign file that was refused above must stay as it was.
        connection
            .query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
            .and_then(|()| {
                connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
            })
            .map_err(refuse)?;
        Ok(connection)
    }

    fn make(&self, connection: &mut Connection, fill: &Fill<'_>) -> rusqlite::Result<()> {
        let changes = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another program may have come first.
        if is_blank(&changes)? {
            changes.execute_batch(self.tables)?;
            changes.pragma_update(None, "application_id", self.application_id)?;
            changes.pragma_update(None, "user_version", self.version)?;
            fill(&changes)?;
        }
        changes.commit()
    }

    fn check(&self, connection: &Connection) -> Result<(), Problem> {
        let refuse = |error: rusqlite::Error| self.refusal(&error);
        let wrong = |problem: String, advice| Err(Problem { problem, advice });
        let number = |name: &str| {
            connection
                .pragma_query_value(None, name, |row| row.get::<_, i32>(0))
                .map_err(refuse)
        };
        if number("application_id")? != self.application_id {
            let blank = is_blank(connection).map_err(refuse)?;
            let (problem, advice) = if blank { self.blank } else { self.foreign };
            return wrong(problem.to_owned(), advice);
        }
        let (version, known) = (number("user_version")?, self.version);
        if version != known {
            return wrong(
                format!("this store has form {version}, and this gigaro knows {known}"),
                "use the gigaro that made it, or a later one",
            );
        }
        let verdict: String = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(refuse)?;
        if verdict == "ok" {
            return Ok(());
        }
        wrong(
            format!("the store is damaged ({verdict:.200})"),
            "go back to a copy, or rescue what is left with sqlite3 FILE .recover",
        )
    }

    /// What a refusal of SQLite means.
    #[must_use]
    pub fn refusal(&self, error: &rusqlite::Error) -> Problem {
        let name = self.name;
        let (problem, advice) = match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => (format!("this is no {name}"), self.no_database),
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
                format!("the {name} cannot be used ({error})"),
                "check that it is one that gigaro made",
            ),
        };
        Problem { problem, advice }
    }
}

/// Whether the file holds nothing at all: new, or left by a program that was stopped before its first change.
fn is_blank(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| {
        row.get::<_, i64>(0).map(|tables| tables == 0)
    })
}

/// The time of a change, in milliseconds since 1970; 0 if the clock stands before that.
#[must_use]
pub fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| {
            i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
        })
}
