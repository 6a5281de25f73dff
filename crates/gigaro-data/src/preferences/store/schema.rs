//! The tables of a label store, and how a file is opened as one.

use super::Settings;
use crate::sqlite::{Fill, Problem, StoreKind};
use crate::{Error, Result};
use rusqlite::{Connection, params};
use std::path::Path;

/// What a label store is known by.
const KIND: StoreKind = StoreKind {
    name: "label store",
    application_id: 0x676C_626C, // `glbl` in ASCII
    version: 1,
    tables: TABLES,
    no_database: "give the path of one, or a new path with --import FILE.jsonl to make one",
    blank: (
        "there is nothing in this store yet",
        "bring items in with --import FILE.jsonl",
    ),
    foreign: (
        "this is another program's database",
        "give the path of a label store, or a new one to make it",
    ),
};

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
    let fill = new.map(|new| {
        move |changes: &Connection| {
            for (name, value) in [
                ("seed", new.seed.to_string()),
                ("shared_percent", new.shared_percent.to_string()),
            ] {
                changes.execute("INSERT INTO settings VALUES (?1, ?2)", params![name, value])?;
            }
            Ok(())
        }
    });
    let fill = fill.as_ref().map(|fill| fill as &Fill<'_>);
    let connection = KIND
        .open(path, fill)
        .map_err(|problem| unusable(path, problem))?;
    let settings = settings(path, &connection)?;
    Ok((connection, settings))
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
    unusable(path, KIND.refusal(error))
}

fn unusable(path: &Path, Problem { problem, advice }: Problem) -> Error {
    Error::malformed(path.display().to_string(), problem, advice)
}
