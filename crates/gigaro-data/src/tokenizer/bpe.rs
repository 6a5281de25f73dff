//! Byte-pair encoding of one word, and the cache that makes a long text cheap.
//!
//! The rule (Sennrich, Haddow, Birch 2016, <https://arxiv.org/abs/1508.07909>; on bytes: GPT-2): start from the bytes,
//! join the adjacent pair that was learnt earliest, the leftmost of equals, until no pair is known. Words come from
//! `pretokenize`, merges from `train` or a file. SentencePiece's BPE starts from characters, and is otherwise the same.

use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The merges of a BPE, ready for use.
#[derive(Clone, Debug)]
pub(crate) struct Bpe {
    /// The token of each single byte, or [`NO_TOKEN`].
    byte_ids: [u32; 256],
    /// Whether a byte has none.
    has_gaps: bool,
    /// The tokens of single characters, if merging starts from these; a character without one is spelled in bytes.
    characters: Option<FxHashMap<char, u32>>,
    /// Words that are tokens and are not merged, if there are such.
    whole: Option<FxHashMap<Box<[u8]>, u32>>,
    /// Pairs in the order they were learnt, with the token they make.
    merges: Vec<Merge>,
    /// `(left, right)` -> place in `merges`.
    ranks: FxHashMap<(u32, u32), u32>,
}

/// Two tokens and the token that replaces them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Merge {
    pub(crate) left: u32,
    pub(crate) right: u32,
    pub(crate) joined: u32,
}

/// Stands for a byte without a token, which is left out; not the largest number, which marks what was merged.
pub(crate) const NO_TOKEN: u32 = u32::MAX - 1;
/// No merge is known.
const NO_RANK: u32 = u32::MAX;
/// Words up to this many symbols are merged by rescanning, longer ones with a heap. A scan over so few ranks is faster than
/// a heap, and a hostile word of a megabyte must not take a quadratic time.
const SCAN_LIMIT: usize = 96;

impl Bpe {
    pub(crate) fn new(byte_ids: [u32; 256], merges: Vec<Merge>) -> Bpe {
        let ranks = merges
            .iter()
            .enumerate()
            .map(|(rank, merge)| ((merge.left, merge.right), rank as u32))
            .collect();
        Bpe {
            has_gaps: byte_ids.contains(&NO_TOKEN),
            byte_ids,
            characters: None,
            whole: None,
            merges,
            ranks,
        }
    }

    /// The same, starting from characters rather than bytes, as SentencePiece does.
    pub(crate) fn from_characters(self, ids: FxHashMap<char, u32>) -> Bpe {
        Bpe {
            characters: Some(ids),
            ..self
        }
    }

    /// The same, but a word that is one of these tokens is that token, whatever merging would make of it.
    pub(crate) fn with_whole_words(self, ids: FxHashMap<Box<[u8]>, u32>) -> Bpe {
        Bpe {
            whole: Some(ids),
            ..self
        }
    }

    /// Whether words that are tokens are not merged.
    pub(crate) fn has_whole_words(&self) -> bool {
        self.whole.is_some()
    }

    pub(crate) fn merges(&self) -> &[Merge] {
        &self.merges
    }

    pub(crate) fn byte_ids(&self) -> &[u32; 256] {
        &self.byte_ids
    }

    #[inline]
    fn rank(&self, left: u32, right: u32) -> u32 {
        self.ranks.get(&(left, right)).copied().unwrap_or(NO_RANK)
    }

    /// Appends the tokens of one word.
    pub(crate) fn encode_word(&self, word: &str, out: &mut Vec<u32>) {
        if let Some(whole) = &self.whole
            && let Some(&id) = whole.get(word.as_bytes())
        {
            return out.push(id);
        }
        let start = out.len();
        let spell = |bytes: &[u8], out: &mut Vec<u32>| {
            out.extend(bytes.iter().map(|&byte| self.byte_ids[usize::from(byte)]));
        };
        match &self.characters {
            None => spell(word.as_bytes(), out),
            Some(ids) => {
                for character in word.chars() {
                    match ids.get(&character) {
                        Some(&id) => out.push(id),
                        None => spell(character.encode_utf8(&mut [0; 4]).as_bytes(), out),
                    }
                }
            }
        }
        let len = if out.len() - start <= SCAN_LIMIT {
            self.merge_by_scan(&mut out[start..])
        } else {
            self.merge_by_heap(&mut out[start..])
        };
        out.truncate(start + len);
        if self.has_gaps && out[start..].contains(&NO_TOKEN) {
            let kept = out.split_off(start);
            out.extend(kept.into_iter().filter(|&id| id != NO_TOKEN));
        }
    }

    /// Whether a character has no token, nor all of its bytes.
    pub(crate) fn lacks(&self, character: char) -> bool {
        let is_token = |ids: &FxHashMap<char, u32>| ids.contains_key(&character);
        let mut buffer = [0; 4];
        let mut bytes = character.encode_utf8(&mut buffer).bytes();
        self.has_gaps
            && !self.characters.as_ref().is_some_and(is_token)
            && bytes.any(|byte| self.byte_ids[usize::from(byte)] == NO_TOKEN)
    }

    /// Merges in place and returns how many tokens are left at the front of `ids`. At most [`SCAN_LIMIT`] ids.
    fn merge_by_scan(&self, ids: &mut [u32]) -> usize {
        let mut len = ids.len();
        // ranks[i] is the rank of the pair (ids[i], ids[i + 1]).
        let mut ranks = [NO_RANK; SCAN_LIMIT];
        for i in 1..len {
            ranks[i - 1] = self.rank(ids[i - 1], ids[i]);
        }
        while len > 1 {
            let (mut best, mut at) = (NO_RANK, 0);
            for (i, &rank) in ranks[..len - 1].iter().enumerate() {
                if rank < best {
                    (best, at) = (rank, i);
                }
            }
            if best == NO_RANK {
                break;
            }
            ids[at] = self.merges[best as usize].joined;
            ids.copy_within(at + 2..len, at + 1);
            ranks.copy_within(at + 1..len - 1, at);
            len -= 1;
            ranks[len - 1] = NO_RANK;
            if at > 0 {
                ranks[at - 1] = self.rank(ids[at - 1], ids[at]);
            }
            if at + 1 < len {
                ranks[at] = self.rank(ids[at], ids[at + 1]);
            }
        }
        len
    }

    /// The same in n log n: a linked list of tokens and a heap of known pairs, where outdated entries are skipped.
    fn merge_by_heap(&self, ids: &mut [u32]) -> usize {
        const GONE: u32 = u32::MAX;
        let n = ids.len();
        let mut next: Vec<usize> = (1..=n).collect();
        let mut previous: Vec<usize> = (0..n).map(|i| i.wrapping_sub(1)).collect();
        let mut heap = BinaryHeap::new();
        for i in 1..n {
            let rank = self.rank(ids[i - 1], ids[i]);
            if rank != NO_RANK {
                heap.push(Reverse((rank, i - 1)));
            }
        }
        while let Some(Reverse((rank, at))) = heap.pop() {
            let Merge {
                left,
                right,
                joined,
            } = self.merges[rank as usize];
            let after = next[at];
            if ids[at] != left || after == n || ids[after] != right {
                continue; // one of the two has been merged since
            }
            ids[at] = joined;
            ids[after] = GONE;
            next[at] = next[after];
            if next[at] < n {
                previous[next[at]] = at;
                let rank = self.rank(joined, ids[next[at]]);
                if rank != NO_RANK {
                    heap.push(Reverse((rank, at)));
                }
            }
            if at > 0 {
                let before = previous[at];
                let rank = self.rank(ids[before], joined);
                if rank != NO_RANK {
                    heap.push(Reverse((rank, before)));
                }
            }
        }
        let mut len = 0;
        for i in 0..n {
            if ids[i] != GONE {
                ids[len] = ids[i];
                len += 1;
            }
        }
        len
    }
}

/// Words up to this many bytes are cached; almost every word of a text is.
const CACHED_WORD_LEN: usize = 15;
/// Words of more tokens than this are not cached, so that a slot is one cache line.
const CACHED_TOKENS: usize = 11;
/// A power of two. 2^15 slots of 64 bytes are 2 MiB: in reach of a core's own cache, and hold the frequent words.
const CACHE_SLOTS: usize = 1 << 15;

/// A word and its tokens.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Slot {
    /// The bytes of the word, and its length in the last one; zero: empty.
    key: u128,
    len: u32,
    ids: [u32; CACHED_TOKENS],
}

/// A direct-mapped cache of encoded words: bounded memory, nothing to evict.
pub(crate) struct WordCache {
    slots: Vec<Slot>,
}

impl WordCache {
    pub(crate) fn new() -> WordCache {
        WordCache {
            slots: vec![
                Slot {
                    key: 0,
                    len: 0,
                    ids: [0; CACHED_TOKENS]
                };
                CACHE_SLOTS
            ],
        }
    }

    /// Appends the tokens of one word, as [`Bpe::encode_word`] gives them.
    #[inline]
    pub(crate) fn encode_word(&mut self, bpe: &Bpe, word: &str, out: &mut Vec<u32>) {
        if word.len() > CACHED_WORD_LEN {
            return bpe.encode_word(word, out);
        }
        let key = pack(word.as_bytes());
        let slot = &mut self.slots[slot_of(key)];
        if slot.key != key {
            let start = out.len();
            bpe.encode_word(word, out);
            let ids = &out[start..];
            if ids.len() <= CACHED_TOKENS {
                slot.key = key;
                slot.len = ids.len() as u32;
                slot.ids[..ids.len()].copy_from_slice(ids);
            }
            return;
        }
        out.extend_from_slice(&slot.ids[..slot.len as usize]);
    }
}

/// A short word as one number, different for different words and never zero for one that is not empty.
#[inline]
fn pack(word: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    bytes[..word.len()].copy_from_slice(word);
    bytes[15] = word.len() as u8;
    u128::from_le_bytes(bytes)
}

#[inline]
fn slot_of(key: u128) -> usize {
    let (low, high) = (key as u64, (key >> 64) as u64);
    let mixed = (low ^ high.rotate_left(29)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> (64 - CACHE_SLOTS.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Merges over a two-letter alphabet, dense enough that every rule collides with others.
    fn crowded() -> Bpe {
        let mut merges = Vec::new();
        let (a, b) = (u32::from(b'a'), u32::from(b'b'));
        for (i, (left, right)) in [
            (a, b),
            (b, b),
            (256, a),
            (a, a),
            (257, 256),
            (258, 258),
            (259, 259),
            (260, b),
        ]
        .into_iter()
        .enumerate()
        {
            merges.push(Merge {
                left,
                right,
                joined: 256 + i as u32,
            });
        }
        Bpe::new(std::array::from_fn(|i| i as u32), merges)
    }

    proptest! {
        #[test]
        fn the_heap_the_scan_and_the_cache_agree(word in "[ab]{0,90}") {
            let bpe = crowded();
            let word = word.as_str();
            let mut scanned: Vec<u32> = word.as_bytes().iter().map(|&b| u32::from(b)).collect();
            let mut heaped = scanned.clone();
            let len = bpe.merge_by_scan(&mut scanned);
            scanned.truncate(len);
            let len = bpe.merge_by_heap(&mut heaped);
            heaped.truncate(len);
            prop_assert_eq!(&scanned, &heaped);
            let mut cache = WordCache::new();
            for _ in 0..2 {
                let mut cached = Vec::new();
                cache.encode_word(&bpe, word, &mut cached);
                prop_assert_eq!(&cached, &scanned);
            }
        }
    }

    #[test]
    fn a_word_of_a_megabyte_is_merged_in_reasonable_time() {
        let word = "a".repeat(1 << 20);
        let mut ids = Vec::new();
        crowded().encode_word(&word, &mut ids);
        // "aa" and then "aaaa" are the only merges that apply.
        assert_eq!(ids.len(), 1 << 18);
    }
}
