//! The tables of a store of conversations, and how a file is opened as one.

use super::error::{Error, Result};
use gigaro_data::sqlite::{Fill, StoreKind};
use rusqlite::Connection;
use std::path::Path;

/// What to do about a path that is none.
const GIVE_ANOTHER: &str = "give the path of one, or a new path to make one";

/// What a store of conversations is known by.
pub(super) const KIND: StoreKind = StoreKind {
    name: "store of conversations",
    application_id: 0x6763_6E76, // `gcnv` in ASCII
    version: 1,
    tables: TABLES,
    no_database: GIVE_ANOTHER,
    blank: ("this is not a store of conversations", GIVE_ANOTHER),
    foreign: ("this is not a store of conversations", GIVE_ANOTHER),
};

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
    let nothing: &Fill<'_> = &|_| Ok(());
    KIND.open(path, create.then_some(nothing))
        .map_err(|problem| Error::unusable(path, problem))
}
