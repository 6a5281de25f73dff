//! The conversations of one owner: made, listed, searched, renamed, deleted.

use super::error::{Error, Result};
use super::{Store, check_owner};
use crate::api::whole;
use crate::database::{Dialect, Param, Refusal, Row, storable};
use gigaro_data::sqlite::now_ms;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// Longer titles are cut: they are for a line on the screen.
const TITLE_CHARS: usize = 120;
/// As much of a first question becomes the title.
const FIRST_TITLE_CHARS: usize = 60;
/// Longer instructions are refused; no model's context holds them.
const SYSTEM_BYTES: usize = 256 * 1024;
const SETTINGS_BYTES: usize = 8 * 1024;
/// More words of a search are passed over.
const SEARCH_WORDS: usize = 8;
/// Shorter words have no trigram and are looked for in the messages themselves.
const TRIGRAM: usize = 3;

/// A conversation to begin.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct New {
    /// Its name; empty until the first question gives it one.
    pub title: String,
    /// Instructions that stand before the conversation; empty for none.
    pub system: String,
    /// The model and how it draws, as the page has set them.
    pub settings: Map<String, Value>,
}

/// What is to be different about a conversation; `None` leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Change {
    /// Another name.
    pub title: Option<String>,
    /// Other instructions, for the answers to come.
    pub system: Option<String>,
    /// Other settings, for the answers to come.
    pub settings: Option<Map<String, Value>>,
    /// The message at which the branch on the screen ends.
    #[serde(deserialize_with = "whole_or_null")]
    pub leaf: Option<i64>,
}

/// A whole number as the API reads it, or null.
fn whole_or_null<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<i64>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        value => match whole(&value) {
            Some(number) => Ok(Some(number)),
            None => Err(serde::de::Error::custom("leaf is not a whole number")),
        },
    }
}

/// A line in the list of conversations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Its number.
    pub id: i64,
    /// Its name; empty before the first question.
    pub title: String,
    /// When it was begun, in milliseconds since 1970.
    pub created_ms: i64,
    /// When something was last said in it.
    pub changed_ms: i64,
    /// Words around the first place where what was searched for stands.
    pub snippet: Option<String>,
}

impl Summary {
    fn from_row(row: &Row<'_>) -> std::result::Result<Summary, Refusal> {
        Ok(Summary {
            id: row.get(0)?,
            title: row.get(1)?,
            created_ms: row.get(2)?,
            changed_ms: row.get(3)?,
            snippet: row.get(4)?,
        })
    }
}

/// A part of the list of conversations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The conversations, the one that changed last first.
    pub conversations: Vec<Summary>,
    /// Whether there are further ones.
    pub more: bool,
}

impl Store {
    /// Begins a conversation and returns its number.
    ///
    /// # Errors
    /// If it is too long, or the store cannot be written.
    pub fn create(&mut self, owner: &str, new: &New) -> Result<i64> {
        check_system(&new.system)?;
        let settings = settings_text(&new.settings)?;
        let now = now_ms();
        let (title, system) = (line(&new.title, TITLE_CHARS), storable(&new.system));
        let made = self.database.row(
            "INSERT INTO conversations (owner, title, system, settings, created_ms, changed_ms) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?5) RETURNING id",
            &[&owner, &title, &system, &settings, &now],
            |row| row.get(0),
        )?;
        made.ok_or_else(|| Error::refused("the conversation was not stored", "try again"))
    }

    /// Up to `limit` of the owner's conversations after the first `skip`, the one that changed last first; with a `search`, those in which
    /// each of its words stands somewhere.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn list(&mut self, owner: &str, search: &str, skip: u32, limit: u32) -> Result<Listed> {
        // A zero would end the words for the index in the middle.
        let between = |c: char| c.is_whitespace() || c == '\0';
        let words: Vec<String> = search
            .split(between)
            .filter(|word| !word.is_empty())
            .take(SEARCH_WORDS)
            .map(storable)
            .collect();
        let likes: Vec<String> = words.iter().map(|word| like(word)).collect();
        let phrases: Vec<String> = words.iter().map(|word| phrase(word)).collect();
        let dialect = self.database.dialect();
        let (like, snippet) = match dialect {
            Dialect::Sqlite => ("LIKE", SNIPPET),
            Dialect::Postgres => ("ILIKE", POSTGRES_SNIPPET),
        };
        let mut query = String::from("SELECT id, title, created_ms, changed_ms, ");
        let (skip, wanted) = (i64::from(skip), i64::from(limit) + 1);
        let mut values: Vec<&dyn Param> = vec![&owner, &skip, &wanted];
        match likes.first() {
            None => query.push_str("CAST(NULL AS TEXT)"),
            Some(first) => {
                values.push(&words[0]);
                values.push(first);
                query.push_str(snippet);
            }
        }
        query.push_str(" FROM conversations WHERE owner = ?1");
        for ((word, pattern), phrase) in words.iter().zip(&likes).zip(&phrases) {
            values.push(pattern);
            let title = values.len();
            let has_index = dialect == Dialect::Sqlite && word.chars().count() >= TRIGRAM;
            let found = if has_index {
                values.push(phrase);
                let at = values.len();
                format!(
                    "SELECT conversation FROM messages WHERE id IN (SELECT rowid FROM words WHERE words MATCH ?{at})"
                )
            } else {
                format!(
                    "SELECT conversation FROM messages WHERE content {like} ?{title} ESCAPE '\\'"
                )
            };
            query.push_str(&format!(
                " AND (title {like} ?{title} ESCAPE '\\' OR id IN ({found}))"
            ));
        }
        query.push_str(" ORDER BY changed_ms DESC, id DESC LIMIT ?3 OFFSET ?2");
        let mut found = self.database.rows(&query, &values, Summary::from_row)?;
        let more = found.len() as i64 == wanted;
        found.truncate(limit as usize);
        Ok(Listed {
            conversations: found,
            more,
        })
    }

    /// Changes what `change` names about a conversation.
    ///
    /// # Errors
    /// If it is not there or not this owner's, the leaf is no message of it, or the store cannot be written.
    pub fn alter(&mut self, owner: &str, id: i64, change: &Change) -> Result<()> {
        let system = change.system.as_deref();
        system.map_or(Ok(()), check_system)?;
        let settings = change.settings.as_ref().map(settings_text).transpose()?;
        let title = change
            .title
            .as_deref()
            .map(|title| line(title, TITLE_CHARS));
        let system = system.map(storable);
        self.database.change(|changes| {
            check_owner(changes, owner, id)?;
            if let Some(leaf) = change.leaf {
                let inside = changes.row(
                    "SELECT id FROM messages WHERE id = ?1 AND conversation = ?2",
                    &[&leaf, &id],
                    |_| Ok(()),
                )?;
                inside.ok_or(Error::Elsewhere { id: leaf })?;
            }
            changes.execute(
                "UPDATE conversations SET title = coalesce(?2, title), system = coalesce(?3, system), \
                 settings = coalesce(?4, settings), leaf = coalesce(?5, leaf) WHERE id = ?1",
                &[&id, &title, &system, &settings, &change.leaf],
            )?;
            Ok(())
        })
    }

    /// Deletes a conversation with all its messages and what was thought of them.
    ///
    /// # Errors
    /// If it is not there or not this owner's, or the store cannot be written.
    pub fn delete(&mut self, owner: &str, id: i64) -> Result<()> {
        self.database.change(|changes| {
            check_owner(changes, owner, id)?;
            changes.execute("DELETE FROM conversations WHERE id = ?1", &[&id])?;
            Ok(())
        })
    }
}

/// Some words before and after the first place of `?4` in a message that is like `?5`.
const SNIPPET: &str = "(SELECT substr(content, max(1, instr(lower(content), lower(?4)) - 30), 110) FROM messages \
WHERE conversation = conversations.id AND content LIKE ?5 ESCAPE '\\' ORDER BY id LIMIT 1)";

/// The same on a PostgreSQL server.
const POSTGRES_SNIPPET: &str = "(SELECT substr(content, greatest(1, strpos(lower(content), lower(?4)) - 30), 110) FROM messages \
WHERE conversation = conversations.id AND content ILIKE ?5 ESCAPE '\\' ORDER BY id LIMIT 1)";

/// The title that a first question gives.
pub(super) fn first_title(question: &str) -> String {
    let first = question
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    line(first, FIRST_TITLE_CHARS)
}

/// One line of at most `chars` characters, without control characters.
fn line(text: &str, chars: usize) -> String {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let whole = words.join(" ");
    match whole.char_indices().nth(chars) {
        None => whole,
        Some((end, _)) => format!("{}…", whole[..end].trim_end()),
    }
}

/// A pattern for LIKE that finds `word` anywhere.
fn like(word: &str) -> String {
    let mut pattern = String::from("%");
    for c in word.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// An expression for MATCH that finds `word` and is no operator, whatever stands in it.
fn phrase(word: &str) -> String {
    format!("\"{}\"", word.replace('"', "\"\""))
}

fn check_system(system: &str) -> Result<()> {
    if system.len() <= SYSTEM_BYTES {
        return Ok(());
    }
    Err(Error::refused(
        format!(
            "the system prompt has {} bytes, and {SYSTEM_BYTES} are the most",
            system.len()
        ),
        "shorten it",
    ))
}

fn settings_text(settings: &Map<String, Value>) -> Result<String> {
    let text = Value::Object(settings.clone()).to_string();
    if text.len() <= SETTINGS_BYTES {
        return Ok(text);
    }
    Err(Error::refused(
        format!(
            "the settings have {} bytes, and {SETTINGS_BYTES} are the most",
            text.len()
        ),
        "leave out what is no setting",
    ))
}
