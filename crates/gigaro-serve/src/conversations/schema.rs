//! The tables of a store of conversations, and how a file is opened as one.

use super::error::{Error, Result};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

/// `gcnv` in ASCII, in the header of every store: SQLite's own place for what a file is.
const APPLICATION_ID: i32 = 0x6763_6E76;
const VERSION: i32 = 1;
/// How long one program waits for another to finish its change.
const PATIENCE: Duration = Duration::from_secs(10);

/// A message's `parent` is what it follows; the children of one message are its branches. `words` indexes the text of whole messages by
/// its trigrams, so that any part of a word is found in any script; a reply under way is indexed at its end.
const TABLES: &str = "
CREATE TABLE conversations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL,
    title TEXT NOT NULL,
    system TEXT NOT NULL,
    settings TEXT NOT NULL,
    leaf INTEGER,
    created_ms INTEGER NOT NULL,
    changed_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX conversations_of ON conversations (owner, changed_ms DESC, id DESC);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    parent INTEGER REFERENCES messages (id) ON DELETE CASCADE,
    role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
    content TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('streaming', 'complete', 'stopped', 'interrupted', 'failed')),
    reason TEXT,
    system TEXT NOT NULL,
    request TEXT,
    model TEXT,
    tokens TEXT,
    usage TEXT,
    rating INTEGER CHECK (rating IN (-1, 1)),
    created_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX messages_of ON messages (conversation, id);
CREATE INDEX messages_after ON messages (parent);
CREATE INDEX messages_streaming ON messages (state) WHERE state = 'streaming';
CREATE TABLE choices (
    first INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    second INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    chosen INTEGER,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (first, second),
    CHECK (first < second),
    CHECK (chosen IS NULL OR chosen IN (first, second))
) STRICT;
CREATE INDEX choices_second ON choices (second);
CREATE VIRTUAL TABLE words USING fts5 (text, tokenize = 'trigram', content = '', contentless_delete = 1);
CREATE TRIGGER words_of_new AFTER INSERT ON messages WHEN new.state <> 'streaming' BEGIN
    INSERT INTO words (rowid, text) VALUES (new.id, new.content);
END;
CREATE TRIGGER words_of_changed AFTER UPDATE OF content, state ON messages WHEN new.state <> 'streaming' BEGIN
    DELETE FROM words WHERE rowid = old.id;
    INSERT INTO words (rowid, text) VALUES (new.id, new.content);
END;
CREATE TRIGGER words_of_deleted AFTER DELETE ON messages BEGIN
    DELETE FROM words WHERE rowid = old.id;
END;
";

/// Opens `path`, and makes a store of it if `create` says so and nothing is there yet.
pub(super) fn connect(path: &Path, create: bool) -> Result<Connection> {
    let refuse = |error: rusqlite::Error| Error::sqlite(path, &error);
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if create {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let mut connection = Connection::open_with_flags(path, flags).map_err(refuse)?;
    connection.busy_timeout(PATIENCE).map_err(refuse)?;
    if create && is_blank(&connection).map_err(refuse)? {
        make_tables(&mut connection).map_err(refuse)?;
    }
    check(path, &connection)?;
    // Only now: the foreign file that was refused above must stay as it was.
    connection
        .query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
        .and_then(|()| {
            connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
        })
        .map_err(refuse)?;
    Ok(connection)
}

/// Whether the file holds nothing at all: new, or left by a program that was stopped before its first change.
fn is_blank(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| {
        row.get::<_, i64>(0).map(|tables| tables == 0)
    })
}

fn make_tables(connection: &mut Connection) -> rusqlite::Result<()> {
    let changes = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another program may have come first.
    if is_blank(&changes)? {
        changes.execute_batch(TABLES)?;
        changes.pragma_update(None, "application_id", APPLICATION_ID)?;
        changes.pragma_update(None, "user_version", VERSION)?;
    }
    changes.commit()
}

fn check(path: &Path, connection: &Connection) -> Result<()> {
    let refuse = |error: rusqlite::Error| Error::sqlite(path, &error);
    let number = |name: &str| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i32>(0))
            .map_err(refuse)
    };
    if number("application_id")? != APPLICATION_ID {
        return Err(Error::file(
            path,
            "this is not a store of conversations",
            "give the path of one, or a new path to make one",
        ));
    }
    let version = number("user_version")?;
    if version != VERSION {
        return Err(Error::file(
            path,
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
    Err(Error::file(
        path,
        format!("the store is damaged ({verdict:.200})"),
        "go back to a copy, or rescue what is left with sqlite3 FILE .recover",
    ))
}
