//! Encoding at speed: one text after another through a word cache, or a batch of texts on all threads.

use super::bpe::WordCache;
use super::rules::Before;
use super::{Model, Tokenizer, pretokenize};
use crate::parallel;

/// Encodes text after text, remembering the words it has met. For one thread; give each its own.
pub struct Encoder {
    tokenizer: Tokenizer,
    cache: WordCache,
}

impl Encoder {
    /// Appends the tokens of a text, exactly as [`Tokenizer::encode`] gives them.
    pub fn encode_into(&mut self, text: &str, out: &mut Vec<u32>) {
        self.encode_after(text, Before::Nothing, out);
    }

    pub(super) fn encode_after(&mut self, text: &str, before: Before, out: &mut Vec<u32>) {
        match &self.tokenizer.tables.model {
            Model::Bpe(bpe) => {
                let rules = self.tokenizer.tables.rules;
                let text = rules.normalize(text, before);
                for word in pretokenize::words(&text, rules.pattern) {
                    self.cache.encode_word(bpe, word, out);
                }
            }
            Model::Characters(characters) => characters.encode_into(text, out),
        }
    }
}

impl Tokenizer {
    /// An encoder for many texts.
    pub fn encoder(&self) -> Encoder {
        Encoder {
            tokenizer: self.clone(),
            cache: WordCache::new(),
        }
    }

    /// The tokens of each text, in the order of the texts, computed on all threads. Each is what [`Tokenizer::encode`] gives.
    pub fn encode_batch<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Vec<Vec<u32>> {
        parallel::map_with(
            texts,
            || self.encoder(),
            |encoder, text| {
                let mut out = Vec::new();
                encoder.encode_into(text.as_ref(), &mut out);
                out
            },
        )
    }
}
