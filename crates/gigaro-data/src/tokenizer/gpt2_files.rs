//! GPT-2's own pair of files: `encoder.json`, token -> id, and `vocab.bpe`, the merges in order.
//!
//! Hugging Face calls them `vocab.json` and `merges.txt`. The single file that replaced them is read in `json`, which also
//! holds what the two formats share.

use super::json::{BpeFile, assemble_bpe, text_of};
use super::rules::Rules;
use super::{END_OF_TEXT, Tokenizer};
use crate::{Error, Result};
use std::collections::HashMap;

/// Reads the contents of the two files.
pub(super) fn read(
    encoder: &[u8],
    bpe: &[u8],
    encoder_place: &str,
    bpe_place: &str,
) -> Result<Tokenizer> {
    let vocab: HashMap<String, u32> = serde_json::from_slice(encoder).map_err(|error| {
        Error::malformed(
            encoder_place,
            format!("not a JSON object of tokens and ids: {error}"),
            "give GPT-2's encoder.json",
        )
    })?;
    let mut merges = Vec::new();
    for (i, line) in text_of(bpe, bpe_place)?.lines().enumerate() {
        if line.is_empty() || (i == 0 && line.starts_with("#version")) {
            continue;
        }
        let Some((left, right)) = line.split_once(' ') else {
            return Err(Error::malformed(
                format!("{bpe_place}, line {}", i + 1),
                format!("{line:?} is not two tokens with a space between them"),
                "give GPT-2's vocab.bpe",
            ));
        };
        merges.push((left.to_owned(), right.to_owned()));
    }
    let specials = vocab
        .get(END_OF_TEXT)
        .map(|&id| (END_OF_TEXT.to_owned(), id))
        .into_iter()
        .collect();
    assemble_bpe(
        BpeFile {
            vocab,
            merges,
            specials,
            visible: Vec::new(),
            rules: Rules::default(),
            ignore_merges: false,
        },
        &format!("{encoder_place} with {bpe_place}"),
    )
}
