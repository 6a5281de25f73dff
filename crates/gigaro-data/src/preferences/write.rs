//! Preferences into JSONL, in the keys that TRL reads.
//!
//! A file has one form throughout, because programs that load it as columns want one type per column: strings if every prompt is one
//! question (TRL's standard form), lists of messages otherwise (its conversational form). A name that ends in `.gz` is gzipped.
//! Reading is in [`super::rows`].

use super::pairs::{Judgement, Pair, Ranking};
use crate::chat::{Conversation, Message, Role};
use crate::{Error, Result, beside};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;

/// Writes pairs as `prompt`, `chosen`, `rejected`; a crash leaves the old file or the new one.
///
/// # Errors
/// If the file cannot be written.
pub fn write_pairs<'a>(
    path: impl AsRef<Path>,
    pairs: impl Iterator<Item = &'a Pair> + Clone,
) -> Result<()> {
    write_text(path.as_ref(), &pairs_jsonl(pairs))
}

/// Pairs as `prompt`, `chosen`, `rejected`, one object a line.
pub fn pairs_jsonl<'a>(pairs: impl Iterator<Item = &'a Pair> + Clone) -> String {
    let plain = pairs.clone().all(|pair| question(&pair.prompt).is_some());
    let row = |pair: &Pair| {
        json!({
            "prompt": prompt(&pair.prompt, plain),
            "chosen": answer(&pair.chosen, plain),
            "rejected": answer(&pair.rejected, plain),
        })
    };
    lines(pairs.map(row))
}

/// Writes judgements as `prompt`, `completion`, `label`; a crash leaves the old file or the new one.
///
/// # Errors
/// If the file cannot be written.
pub fn write_judgements(path: impl AsRef<Path>, judgements: &[Judgement]) -> Result<()> {
    write_text(path.as_ref(), &judgements_jsonl(judgements))
}

/// Judgements as `prompt`, `completion`, `label`, one object a line.
pub fn judgements_jsonl(judgements: &[Judgement]) -> String {
    let plain = judgements
        .iter()
        .all(|judgement| question(&judgement.prompt).is_some());
    let row = |judgement: &Judgement| {
        json!({
            "prompt": prompt(&judgement.prompt, plain),
            "completion": answer(&judgement.completion, plain),
            "label": judgement.label,
        })
    };
    lines(judgements.iter().map(row))
}

/// Writes rankings as `prompt`, `answers`, `ranks`, each row with the further keys that `more` gives it (an object, or null for none);
/// a crash leaves the old file or the new one.
///
/// # Errors
/// If the file cannot be written.
pub fn write_rankings<'a>(
    path: impl AsRef<Path>,
    rankings: impl Iterator<Item = (&'a Ranking, Value)> + Clone,
) -> Result<()> {
    let plain = rankings
        .clone()
        .all(|(ranking, _)| question(&ranking.prompt).is_some());
    let row = |(ranking, more): (&Ranking, Value)| {
        let mut row = json!({
            "prompt": prompt(&ranking.prompt, plain),
            "answers": ranking.answers,
            "ranks": ranking.ranks,
        });
        if let (Value::Object(row), Value::Object(more)) = (&mut row, more) {
            row.extend(more);
        }
        row
    };
    write_text(path.as_ref(), &lines(rankings.map(row)))
}

fn lines(rows: impl Iterator<Item = Value>) -> String {
    let mut text = String::new();
    for row in rows {
        text.push_str(&row.to_string());
        text.push('\n');
    }
    text
}

fn write_text(path: &Path, text: &str) -> Result<()> {
    let zipped = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    if !zipped {
        return beside::write(path, text.as_bytes());
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let bytes = encoder
        .write_all(text.as_bytes())
        .and_then(|()| encoder.finish())
        .map_err(|source| Error::io("write", path, source))?;
    beside::write(path, &bytes)
}

/// The question, if the prompt is nothing but one.
fn question(prompt: &Conversation) -> Option<&str> {
    match prompt.messages.as_slice() {
        // Text that opens like hh-rlhf's dialogues would be read back as one.
        [message] if message.role == Role::User && !message.content.starts_with("\n\n") => {
            Some(&message.content)
        }
        _ => None,
    }
}

fn prompt(prompt: &Conversation, plain: bool) -> Value {
    match question(prompt) {
        Some(text) if plain => json!(text),
        _ => json!(prompt.messages),
    }
}

fn answer(text: &str, plain: bool) -> Value {
    if plain {
        json!(text)
    } else {
        json!([Message::assistant(text)])
    }
}
