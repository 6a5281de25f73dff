//! Learning the merges of a byte-level BPE.
//!
//! Words are counted once; after that each merge touches only the words that contain its pair, and the next pair comes from
//! a heap whose outdated entries are put right when they surface. This is the algorithm of the ecosystem's trainers, with the
//! same result; it is written here because it runs in a fraction of their time. Cutting into words is in `pretokenize`.
//!
//! Reference: Sennrich, Haddow, Birch (2016), <https://arxiv.org/abs/1508.07909>.

use super::bpe::{Bpe, Merge};
use super::pretokenize::Pattern;
use super::vocabulary::Vocabulary;
use super::{Model, Tokenizer, alphabet, check_special_names, pretokenize};
use crate::{Error, Result, parallel};
use rustc_hash::{FxHashMap, FxHashSet};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;

/// Which of several equally frequent pairs is joined first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TieBreak {
    /// The pair whose bytes are lexicographically greater, the left token first. Independent of how ids are given out.
    #[default]
    GreaterBytes,
    /// The pair with the lower ids, the left token first, which is what Hugging Face's trainer does.
    LowerIds,
}

/// Counts the words of texts and learns merges from them.
pub struct BpeTrainer {
    vocab_size: usize,
    special_tokens: Vec<String>,
    tie_break: TieBreak,
    words: FxHashMap<Box<[u8]>, u64>,
}

/// Texts are counted in pieces of about this many bytes, so that a single long text keeps all threads busy.
const PIECE_BYTES: usize = 1 << 20;

impl BpeTrainer {
    /// A trainer for a vocabulary of `vocab_size` tokens, special tokens and the 256 bytes included.
    ///
    /// # Errors
    /// As [`Tokenizer::train`].
    pub fn new(vocab_size: usize, special_tokens: &[&str]) -> Result<BpeTrainer> {
        check_special_names(special_tokens)?;
        let least = 256 + special_tokens.len();
        if vocab_size < least {
            return Err(Error::setting(
                format!(
                    "a vocabulary of {vocab_size} tokens cannot hold the 256 bytes and {} special tokens",
                    special_tokens.len()
                ),
                format!("ask for at least {least}"),
            ));
        }
        if vocab_size > 1 << 24 {
            return Err(Error::setting(
                format!("a vocabulary of {vocab_size} tokens is larger than this trainer makes"),
                format!("ask for at most {}", 1 << 24),
            ));
        }
        Ok(BpeTrainer {
            vocab_size,
            special_tokens: special_tokens.iter().map(|&name| name.to_owned()).collect(),
            tie_break: TieBreak::default(),
            words: FxHashMap::default(),
        })
    }

    /// Chooses among equally frequent pairs; the default is [`TieBreak::GreaterBytes`].
    pub fn tie_break(mut self, tie_break: TieBreak) -> BpeTrainer {
        self.tie_break = tie_break;
        self
    }

    /// Counts the words of one text.
    pub fn feed(&mut self, text: &str) {
        self.feed_batch(&[text]);
    }

    /// Counts the words of many texts on all threads. Words never reach from one text into the next.
    pub fn feed_batch<S: AsRef<str>>(&mut self, texts: &[S]) {
        let pieces: Vec<&str> = texts
            .iter()
            .flat_map(|text| pretokenize::pieces(text.as_ref(), PIECE_BYTES))
            .collect();
        if let [piece] = pieces[..] {
            return count_words(piece, &mut self.words);
        }
        // Groups of pieces, so that a million short texts are not a million maps.
        let mut groups: Vec<&[&str]> = Vec::new();
        let (mut start, mut bytes) = (0, 0);
        for (i, piece) in pieces.iter().enumerate() {
            bytes += piece.len();
            if bytes >= PIECE_BYTES || i + 1 == pieces.len() {
                groups.push(&pieces[start..=i]);
                (start, bytes) = (i + 1, 0);
            }
        }
        let counts = parallel::map_with(
            &groups,
            || (),
            |(), group| {
                let mut words = FxHashMap::default();
                group
                    .iter()
                    .for_each(|piece| count_words(piece, &mut words));
                words
            },
        );
        for group in counts {
            for (word, count) in group {
                *self.words.entry(word).or_insert(0) += count;
            }
        }
    }

    /// Learns the merges. The vocabulary stays smaller than asked for when no pair is left to join.
    ///
    /// # Errors
    /// If no text was fed.
    pub fn finish(self) -> Result<Tokenizer> {
        if self.words.is_empty() {
            return Err(Error::setting(
                "a tokenizer was to be trained and the text is empty",
                "give some text",
            ));
        }
        let mut vocabulary = Vocabulary::default();
        let specials: Vec<(String, u32)> = self
            .special_tokens
            .iter()
            .map(|name| (name.clone(), vocabulary.push(name.as_bytes())))
            .collect();
        let mut byte_ids = [0; 256];
        for byte in alphabet::bytes_in_file_order() {
            byte_ids[usize::from(byte)] = vocabulary.push(&[byte]);
        }
        let banned = self
            .special_tokens
            .iter()
            .map(|name| name.as_bytes().into())
            .collect();
        let mut learner = Learner::new(&self.words, &byte_ids, &vocabulary, self.tie_break, banned);
        let merges = learner.learn(&mut vocabulary, self.vocab_size);
        Ok(Tokenizer::assemble(
            Model::Bpe(Box::new(Bpe::new(byte_ids, merges))),
            vocabulary,
            specials,
        ))
    }
}

fn count_words(text: &str, words: &mut FxHashMap<Box<[u8]>, u64>) {
    for word in pretokenize::words(text, Pattern::Gpt2) {
        match words.get_mut(word.as_bytes()) {
            Some(count) => *count += 1,
            None => {
                words.insert(word.as_bytes().into(), 1);
            }
        }
    }
}

type Pair = (u32, u32);

/// Where a pair occurs and how often, each word weighted by its count.
#[derive(Default)]
struct Occurrences {
    count: u64,
    /// Words that contain the pair, or did once; possibly more than once.
    words: Vec<u32>,
}

/// A pair in the heap. The order of the fields is the order of preference.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    count: u64,
    tie: Tie,
    pair: Pair,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Tie {
    Bytes(Rc<[u8]>, Rc<[u8]>),
    Ids(Reverse<Pair>),
}

/// One word of the text as tokens so far.
struct Word {
    ids: Vec<u32>,
    count: u64,
}

struct Learner {
    words: Vec<Word>,
    pairs: FxHashMap<Pair, Occurrences>,
    heap: BinaryHeap<Candidate>,
    /// The bytes of each token, shared with the heap.
    bytes: Vec<Rc<[u8]>>,
    tie_break: TieBreak,
    /// Byte strings that must not become tokens: the names of the special tokens.
    banned: FxHashSet<Rc<[u8]>>,
}

impl Learner {
    fn new(
        counts: &FxHashMap<Box<[u8]>, u64>,
        byte_ids: &[u32; 256],
        vocabulary: &Vocabulary,
        tie_break: TieBreak,
        banned: FxHashSet<Rc<[u8]>>,
    ) -> Learner {
        let mut learner = Learner {
            words: Vec::with_capacity(counts.len()),
            pairs: FxHashMap::default(),
            heap: BinaryHeap::new(),
            bytes: vocabulary.iter().map(Rc::from).collect(),
            tie_break,
            banned,
        };
        for (word, &count) in counts.iter().filter(|(word, _)| word.len() > 1) {
            let at = learner.words.len() as u32;
            let ids: Vec<u32> = word
                .iter()
                .map(|&byte| byte_ids[usize::from(byte)])
                .collect();
            for pair in ids.windows(2) {
                let occurrences = learner.pairs.entry((pair[0], pair[1])).or_default();
                occurrences.count += count;
                if occurrences.words.last() != Some(&at) {
                    occurrences.words.push(at);
                }
            }
            learner.words.push(Word { ids, count });
        }
        let pairs: Vec<Pair> = learner.pairs.keys().copied().collect();
        pairs.into_iter().for_each(|pair| learner.enqueue(pair));
        learner
    }

    /// Puts a pair into the heap with its present count.
    fn enqueue(&mut self, pair: Pair) {
        let count = self
            .pairs
            .get(&pair)
            .map_or(0, |occurrences| occurrences.count);
        if count == 0 {
            return;
        }
        let tie = match self.tie_break {
            TieBreak::GreaterBytes => Tie::Bytes(
                self.bytes[pair.0 as usize].clone(),
                self.bytes[pair.1 as usize].clone(),
            ),
            TieBreak::LowerIds => Tie::Ids(Reverse(pair)),
        };
        self.heap.push(Candidate { count, tie, pair });
    }

    fn learn(&mut self, vocabulary: &mut Vocabulary, vocab_size: usize) -> Vec<Merge> {
        let mut by_bytes: FxHashMap<Rc<[u8]>, u32> = FxHashMap::default();
        let mut merges = Vec::new();
        while vocabulary.len() < vocab_size {
            let Some(Candidate { count, pair, .. }) = self.heap.pop() else {
                break;
            };
            let present = self
                .pairs
                .get(&pair)
                .map_or(0, |occurrences| occurrences.count);
            if present != count {
                self.enqueue(pair);
                continue;
            }
            let joined_bytes: Rc<[u8]> = [
                &self.bytes[pair.0 as usize][..],
                &self.bytes[pair.1 as usize][..],
            ]
            .concat()
            .into();
            if self.banned.contains(&joined_bytes) {
                self.pairs.remove(&pair);
                continue;
            }
            // Two different pairs can spell the same bytes; they share the token.
            let joined = *by_bytes.entry(joined_bytes.clone()).or_insert_with(|| {
                self.bytes.push(joined_bytes.clone());
                vocabulary.push(&joined_bytes)
            });
            merges.push(Merge {
                left: pair.0,
                right: pair.1,
                joined,
            });
            self.join(pair, joined);
        }
        merges
    }

    /// Replaces `pair` by `joined` in every word and brings the counts of the neighbouring pairs up to date.
    fn join(&mut self, pair: Pair, joined: u32) {
        let Some(occurrences) = self.pairs.remove(&pair) else {
            return;
        };
        let mut appeared: Vec<Pair> = Vec::new();
        for at in occurrences.words {
            let Word { ids, count } = &mut self.words[at as usize];
            let lose = |pairs: &mut FxHashMap<Pair, Occurrences>, old: Pair| {
                if let Some(occurrences) = pairs.get_mut(&old) {
                    occurrences.count -= *count;
                }
            };
            let mut gain = |pairs: &mut FxHashMap<Pair, Occurrences>, new: Pair| {
                let occurrences = pairs.entry(new).or_default();
                occurrences.count += *count;
                if occurrences.words.last() != Some(&at) {
                    occurrences.words.push(at);
                    appeared.push(new);
                }
            };
            // `kept` tokens at the front are final, the rest starts at `read`.
            let (mut kept, mut read) = (0, 0);
            while read < ids.len() {
                if read + 1 < ids.len() && (ids[read], ids[read + 1]) == pair {
                    if kept > 0 {
                        lose(&mut self.pairs, (ids[kept - 1], pair.0));
                        gain(&mut self.pairs, (ids[kept - 1], joined));
                    }
                    if let Some(&next) = ids.get(read + 2) {
                        lose(&mut self.pairs, (pair.1, next));
                        gain(&mut self.pairs, (joined, next));
                    }
                    ids[kept] = joined;
                    read += 2;
                } else {
                    ids[kept] = ids[read];
                    read += 1;
                }
                kept += 1;
            }
            ids.truncate(kept);
        }
        appeared.sort_unstable();
        appeared.dedup();
        appeared.into_iter().for_each(|pair| self.enqueue(pair));
    }
}

#[cfg(test)]
mod tests;
