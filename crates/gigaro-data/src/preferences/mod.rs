//! What people prefer: pairs of answers, rankings and single judgements, from files and from labellers.
//!
//! JSONL (or a JSON array, gzipped or not), each object one of
//!
//! - `{"prompt": .., "chosen": .., "rejected": ..}`, TRL's preference form; the prompt may also be under `question`, `instruction` with
//!   `input`, `messages` or `conversations`, and `system` may stand beside it,
//! - `{"chosen": .., "rejected": ..}` with whole dialogues, as message lists or as hh-rlhf's `\n\nHuman: ..\n\nAssistant: ..`; what they
//!   share is the prompt,
//! - `{"prompt": .., "answers": [..], "ranks": [..]}`, a ranking, 1 for the best,
//! - `{"prompt": .., "completion": .., "label": true}`, TRL's unpaired form (KTO), also as `messages` with a `label`.
//!
//! A prompt or an answer is text, a message or a list of messages (`role` and `content`, or `from` and `value`). Other keys are
//! ignored. [`read`] gives what can be learned from and a report about the rest.
//!
//! [`store`] keeps what people say while they label, [`agreement`] measures how far they agree. Dialogues to imitate are in
//! [`crate::conversations`]; the labelling screens are in the binary and in gigaro-serve.

pub mod agreement;
pub mod store;

mod pairs;
mod rows;
mod write;

pub use pairs::{Judgement, Pair, PreferenceReport, Preferences, Ranking, dense_ranks};
pub use rows::{Row, read_from};
pub use write::{judgements_jsonl, pairs_jsonl, write_judgements, write_pairs, write_rankings};

use crate::corpus::files;
use crate::{Error, Result};
use std::path::Path;

/// The preferences in a file, or in all JSON and JSONL files of a folder in the order of their names.
///
/// # Errors
/// If there is nothing at `path`, a file cannot be read, an object is none of the shapes above (with file, line and key), or nothing is
/// left to learn from.
pub fn read(path: impl AsRef<Path>) -> Result<Preferences> {
    let path = path.as_ref();
    let mut rows = Vec::new();
    for file in files::list(path, files::holds_records)? {
        for row in read_from(files::open(&file)?, &file.display().to_string()) {
            rows.push(row?);
        }
    }
    let preferences = Preferences::from_rows(rows);
    if preferences.pairs.is_empty() && preferences.judgements.is_empty() {
        let what = preferences.report.sentences().join(" ");
        return Err(Error::malformed(
            path.display().to_string(),
            format!(
                "there is no preference in it ({})",
                what.trim_end_matches('.')
            ),
            "give pairs whose answers differ",
        ));
    }
    Ok(preferences)
}

#[cfg(test)]
mod tests;
