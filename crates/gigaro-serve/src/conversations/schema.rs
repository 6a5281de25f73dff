//! The tables of a store of conversations, in a SQLite file and on a PostgreSQL server.

use crate::database::Form;
use gigaro_data::sqlite::StoreKind;

/// What to do about a path that is none.
const GIVE_ANOTHER: &str = "give the path of one, or a new path to make one";

/// What a store of conversations is made of.
pub(super) const FORM: Form = Form {
    sqlite: StoreKind {
        name: "store of conversations",
        application_id: 0x6763_6E76, // `gcnv` in ASCII
        version: 1,
        tables: TABLES,
        no_database: GIVE_ANOTHER,
        blank: ("this is not a store of conversations", GIVE_ANOTHER),
        foreign: ("this is not a store of conversations", GIVE_ANOTHER),
    },
    postgres: POSTGRES,
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

/// Which server is writing which answer, and when each server was last heard of; and what was made of feedback. Made when a store is opened:
/// earlier ones have none.
pub(super) const LATER: &str = "
CREATE TABLE IF NOT EXISTS trainings (id INTEGER PRIMARY KEY AUTOINCREMENT, training TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS writers (id INTEGER PRIMARY KEY, seen_ms INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS writing (
    message INTEGER PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    writer INTEGER NOT NULL
) STRICT;
";

/// The same tables. Searches go by trigrams as well, where the database's owner lets the extension be made; else they read what there is.
const POSTGRES: &str = "
SET search_path TO gigaro, public;
CREATE TABLE IF NOT EXISTS conversations (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner TEXT NOT NULL,
    title TEXT NOT NULL,
    system TEXT NOT NULL,
    settings TEXT NOT NULL,
    leaf BIGINT,
    created_ms BIGINT NOT NULL,
    changed_ms BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS conversations_of ON conversations (owner, changed_ms DESC, id DESC);
CREATE TABLE IF NOT EXISTS messages (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation BIGINT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    parent BIGINT REFERENCES messages (id) ON DELETE CASCADE,
    role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
    content TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('streaming', 'complete', 'stopped', 'interrupted', 'failed')),
    reason TEXT,
    system TEXT NOT NULL,
    request TEXT,
    model TEXT,
    tokens TEXT,
    usage TEXT,
    rating BIGINT CHECK (rating IN (-1, 1)),
    created_ms BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS messages_of ON messages (conversation, id);
CREATE INDEX IF NOT EXISTS messages_after ON messages (parent);
CREATE INDEX IF NOT EXISTS messages_streaming ON messages (state) WHERE state = 'streaming';
CREATE TABLE IF NOT EXISTS choices (
    first BIGINT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    second BIGINT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    chosen BIGINT,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (first, second),
    CHECK (first < second),
    CHECK (chosen IS NULL OR chosen IN (first, second))
);
CREATE INDEX IF NOT EXISTS choices_second ON choices (second);
CREATE TABLE IF NOT EXISTS trainings (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, training TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS writers (id BIGINT PRIMARY KEY, seen_ms BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS writing (
    message BIGINT PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    writer BIGINT NOT NULL
);
DO $$ BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;
    CREATE INDEX IF NOT EXISTS messages_words ON messages USING gin (content gin_trgm_ops);
EXCEPTION WHEN insufficient_privilege OR undefined_file OR undefined_object OR feature_not_supported THEN
    NULL;
END $$;
";
