//! The character-level tokeniser: every character that occurs in the training text is a token.
//!
//! What char-rnn and nanoGPT's Shakespeare use: ids in the order of the code points. A character that was not in the
//! training text has no token and is left out when encoding; `Tokenizer::first_unknown` finds it beforehand.

use rustc_hash::FxHashMap;
use std::collections::BTreeSet;

/// Character -> id.
#[derive(Clone, Debug)]
pub(crate) struct Characters {
    ids: FxHashMap<char, u32>,
}

impl Characters {
    pub(crate) fn new(ids: impl IntoIterator<Item = (char, u32)>) -> Characters {
        Characters {
            ids: ids.into_iter().collect(),
        }
    }

    pub(crate) fn id(&self, character: char) -> Option<u32> {
        self.ids.get(&character).copied()
    }

    pub(crate) fn encode_into(&self, text: &str, out: &mut Vec<u32>) {
        out.extend(text.chars().filter_map(|character| self.id(character)));
    }
}

/// The distinct characters of the texts, in the order of their code points.
pub(crate) fn distinct<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> BTreeSet<char> {
    let mut characters = BTreeSet::new();
    // A text repeats few characters: asking an array first keeps the tree out of the loop.
    let mut ascii = [false; 128];
    for text in texts {
        for character in text.as_ref().chars() {
            match ascii.get_mut(character as usize) {
                Some(seen) => *seen = true,
                None => {
                    characters.insert(character);
                }
            }
        }
    }
    characters.extend(
        (0u8..128)
            .filter(|&byte| ascii[usize::from(byte)])
            .map(char::from),
    );
    characters
}
