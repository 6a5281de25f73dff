//! The tables of a label store, how a file is opened as one, and what SQLite's refusals mean in a sentence.

use super::Settings;
use crate::{Error, Result};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};
use std::path::Path;
use std::time::Duration;

/// `glbl` in ASCII, in the header of every store: SQLite's own place for what a file is.
const APPLICATION_ID: i32 = 0x676C_626C;
const VERSION: i32 = 1;
/// How long one program waits for another to finish its change.
const PATIENCE: Duration = Duration::from_secs(10);

/// `standing` is what counts: the last row of each labeller for each item, unless that row takes back.
const TABLES: &str = "
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE items (
    id INTEGER PRIMARY KEY,
    place INTEGER NOT NULL,
    shared INTEGER NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    prompt TEXT NOT NULL
) STRICT;
CREATE INDEX items_in_order ON items (place, id);
CREATE TABLE answers (
    item INTEGER NOT NULL REFERENCES items (id),
    place INTEGER NOT NULL,
    text TEXT NOT NULL,
    source TEXT,
    PRIMARY KEY (item, place)
) STRICT;
CREATE TABLE labels (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    item INTEGER NOT NULL REFERENCES items (id),
    labeller TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('ranked', 'skipped', 'undone')),
    ranks TEXT,
    flag INTEGER NOT NULL,
    seconds REAL NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX labels_of ON labels (item, labeller, id);
CREATE TABLE claims (
    item INTEGER PRIMARY KEY REFERENCES items (id),
    labeller TEXT NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT;
CREATE VIEW standing AS
SELECT * FROM labels WHERE kind <> 'undone' AND id IN (SELECT max(id) FROM labels GROUP BY item, labeller);
";

/// The condition under which an item is open to labeller `?1`, where claims older than `?2` are void. An item that not everyone gets
/// is open while nobody else has labelled or claimed it.
pub(super) const OPEN: &str = "\
NOT EXISTS (SELECT 1 FROM standing WHERE standing.item = items.id AND (standing.labeller = ?1 OR NOT items.shared)) \
AND NOT EXISTS (SELECT 1 FROM claims WHERE claims.item = items.id AND claims.labeller <> ?1 AND claims.at_ms > ?2)";

/// Opens `path`, and makes a store of it if `new` says so and nothing is there yet.
pub(super) fn connect(path: &Path, new: Option<Settings>) -> Result<(Connection, Settings)> {
    let refuse = |error: rusqlite::Error| sentence(path, &error);
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if new.is_some() {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let mut connection = Connection::open_with_flags(path, flags).map_err(refuse)?;
    connection.busy_timeout(PATIENCE).map_err(refuse)?;
    if let (true, Some(settings)) = (is_blank(&connection).map_err(refuse)?, new) {
        create(&mut connection, settings).map_err(refuse)?;
    }
    check(path, &connection)?;
    // Only now: the foreign file that was refused above must stay as it was.
    connection
        .query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
        .and_then(|()| {
            connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
        })
        .map_err(refuse)?;
    let settings = settings(path, &connection)?;
    Ok((connection, settings))
}

/// Whether the file holds nothing at all: new, or left by a program that was stopped before its first change.
fn is_blank(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| {
        row.get::<_, i64>(0).map(|tables| tables == 0)
    })
}

fn create(connection: &mut Connection, settings: Settings) -> rusqlite::Result<()> {
    let changes = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another program may have come first.
    if is_blank(&changes)? {
        changes.execute_batch(TABLES)?;
        changes.pragma_update(None, "application_id", APPLICATION_ID)?;
        changes.pragma_update(None, "user_version", VERSION)?;
        for (name, value) in [
            ("seed", settings.seed.to_string()),
            ("shared_percent", settings.shared_percent.to_string()),
        ] {
            changes.execute("INSERT INTO settings VALUES (?1, ?2)", params![name, value])?;
        }
    }
    changes.commit()
}

fn check(path: &Path, connection: &Connection) -> Result<()> {
    let refuse = |error: rusqlite::Error| sentence(path, &error);
    let place = path.display().to_string();
    let number = |name: &str| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i32>(0))
            .map_err(refuse)
    };
    if number("application_id")? != APPLICATION_ID {
        let (problem, advice) = if is_blank(connection).map_err(refuse)? {
            (
                "there is nothing in this store yet",
                "bring items in with --import FILE.jsonl",
            )
        } else {
            (
                "this is another program's database",
                "give the path of a label store, or a new one to make it",
            )
        };
        return Err(Error::malformed(place, problem, advice));
    }
    let version = number("user_version")?;
    if version != VERSION {
        return Err(Error::malformed(
            place,
            format!("this store has form {version}, and this gigaro knows {VERSION}"),
            "use the gigaro that made it, or a later one",
        ));
    }
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(refuse)?;
    if verdict == "ok" {
        return Ok(());
    }
    Err(Error::malformed(
        place,
        format!("the store is damaged ({verdict:.200})"),
        "go back to a copy, or rescue what is left with sqlite3 FILE .recover",
    ))
}

fn settings(path: &Path, connection: &Connection) -> Result<Settings> {
    let value = |name: &str| -> Result<u64> {
        let text: String = connection
            .query_row(
                "SELECT value FROM settings WHERE name = ?1",
                [name],
                |row| row.get(0),
            )
            .map_err(|error| sentence(path, &error))?;
        text.parse().map_err(|_| {
            Error::malformed(
                path.display().to_string(),
                format!("the setting {name} is {text:.40?}, not a number"),
                "the store is damaged, go back to a copy of it",
            )
        })
    };
    Ok(Settings {
        seed: value("seed")?,
        shared_percent: u32::try_from(value("shared_percent")?)
            .unwrap_or(100)
            .min(100),
    })
}

/// What a refusal of SQLite means.
pub(super) fn sentence(path: &Path, error: &rusqlite::Error) -> Error {
    let place = path.display().to_string();
    let (problem, advice) = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => (
            "this is no label store".to_owned(),
            "give the path of one, or a new path with --import FILE.jsonl to make one",
        ),
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
            "free some space; what was labelled before is kept",
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
            format!("the store cannot be used ({error})"),
            "check that it is a label store that gigaro made",
        ),
    };
    Error::malformed(place, problem, advice)
}
