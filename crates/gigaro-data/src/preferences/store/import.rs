//! Items into the store: prompts with answers, from a ranking that is still to be made, or from pairs and rankings that exist.
//!
//! A row is `{"prompt": .., "answers": [..]}`, with `sources` beside it where it is known what wrote each answer, or any pair or
//! ranking that [`crate::preferences`] reads; what such a row already prefers is not shown to anyone, but its source says `chosen`
//! or `rejected`. The same prompt with the same answers is one item however often it is imported.

use super::Store;
use crate::chat::Conversation;
use crate::corpus::files;
use crate::corpus::records::{self, Record};
use crate::preferences::{Row, rows};
use crate::world::rng::Rng;
use crate::{Error, Result};
use rusqlite::{Connection, params};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::Path;

/// More answers than this cannot be ranked with one digit each.
const MAX_ANSWERS: usize = 9;

/// What an import brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Items that are new.
    pub added: usize,
    /// Rows whose item was there already.
    pub known: usize,
    /// Rows left out because no two of their answers differ or an answer is empty.
    pub nothing_to_compare: usize,
    /// Rows left out because their dialogues part before the last answer.
    pub diverging: usize,
}

/// A prompt with answers to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    prompt: Conversation,
    answers: Vec<String>,
    /// One per answer, or none at all.
    sources: Vec<String>,
}

impl Store {
    /// Brings in the items of a file, or of all JSON and JSONL files of a folder: all of them, or none if one cannot be read.
    ///
    /// # Errors
    /// If a file cannot be read, a row holds no answers to compare (with file, line and key), or the store cannot be written.
    pub fn import(&mut self, path: impl AsRef<Path>) -> Result<Imported> {
        let mut imported = Imported::default();
        let mut items = Vec::new();
        for file in files::list(path.as_ref(), files::holds_records)? {
            for item in read_items(files::open(&file)?, &file.display().to_string()) {
                match item? {
                    Some(item) if item.is_worth_a_look() => items.push(item),
                    Some(_) => imported.nothing_to_compare += 1,
                    None => imported.diverging += 1,
                }
            }
        }
        let (seed, shared) = (self.settings.seed, self.settings.shared_percent);
        self.change(|changes| {
            for item in &items {
                if insert(changes, item, seed, shared)? {
                    imported.added += 1;
                } else {
                    imported.known += 1;
                }
            }
            Ok(())
        })?;
        Ok(imported)
    }
}

/// The items of one JSONL text; `None` for a row whose dialogues part too early. Ends after the first error.
pub(crate) fn read_items(
    reader: impl Read + Send + 'static,
    place: &str,
) -> impl Iterator<Item = Result<Option<Item>>> {
    let mut failed = false;
    records::read(reader, place.to_owned()).map_while(move |record| {
        let found = (!failed).then(|| record.and_then(|record| item(&record)));
        failed = matches!(found, Some(Err(_)));
        found
    })
}

fn item(record: &Record) -> Result<Option<Item>> {
    let has = |key: &str| record.object.contains_key(key);
    let item = if has("answers") {
        let (prompt, answers) = rows::question(record)?;
        let sources = if has("sources") {
            rows::texts(record, "sources")?
        } else {
            Vec::new()
        };
        Item {
            prompt,
            answers,
            sources,
        }
    } else {
        match rows::row(record)? {
            Row::Pair(pair) => Item {
                prompt: pair.prompt,
                answers: vec![pair.chosen, pair.rejected],
                sources: vec!["chosen".to_owned(), "rejected".to_owned()],
            },
            Row::Diverging => return Ok(None),
            Row::Ranking(_) | Row::Judgement(_) => {
                return Err(Error::malformed(
                    &record.place,
                    "there is one answer here, and a comparison needs two",
                    "give `prompt` and a list of `answers`",
                ));
            }
        }
    };
    let refuse =
        |problem: String, advice: &str| Err(Error::malformed(&record.place, problem, advice));
    let answers = item.answers.len();
    if answers > MAX_ANSWERS {
        let problem = format!("there are {answers} answers");
        return refuse(problem, "give at most nine, one for each digit");
    }
    if !item.sources.is_empty() && item.sources.len() != answers {
        let problem = format!(
            "there are {answers} answers and {} sources",
            item.sources.len()
        );
        return refuse(problem, "give one source per answer");
    }
    Ok(Some(item))
}

impl Item {
    fn is_worth_a_look(&self) -> bool {
        let first = self.answers[0].trim();
        self.answers.iter().all(|answer| !answer.trim().is_empty())
            && self.answers.iter().any(|answer| answer.trim() != first)
    }
}

/// Whether the item is new.
fn insert(
    changes: &Connection,
    item: &Item,
    seed: u64,
    shared_percent: u32,
) -> rusqlite::Result<bool> {
    let prompt = serde_json::json!(item.prompt.messages).to_string();
    // The answers in the order of their text: the same answers the other way round are the same item.
    let mut sorted: Vec<&str> = item.answers.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let whole = serde_json::json!([&prompt, sorted]).to_string();
    let digest: String = Sha256::digest(whole.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    // The draws depend on what the item is, so that the order in which files are imported changes nothing.
    let mut draw = Rng::at(seed, &digest, 0);
    let place = draw.below(1 << 31) as i64;
    let shared = draw.below(100) < shared_percent as usize;
    let added = changes.execute(
        "INSERT OR IGNORE INTO items (place, shared, digest, prompt) VALUES (?1, ?2, ?3, ?4)",
        params![place, shared, digest, prompt],
    )?;
    if added == 0 {
        return Ok(false);
    }
    let id = changes.last_insert_rowid();
    for (at, text) in item.answers.iter().enumerate() {
        changes.execute(
            "INSERT INTO answers (item, place, text, source) VALUES (?1, ?2, ?3, ?4)",
            params![id, at as i64, text, item.sources.get(at)],
        )?;
    }
    Ok(true)
}
