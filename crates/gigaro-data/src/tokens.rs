//! A long sequence of token ids that loaders cut windows from, in memory or (with [`crate::shards`]) on disk.
//!
//! Cloning and splitting share the ids. It knows nothing of order or batches; those are in [`crate::loader`].

use crate::shards::Shard;
use std::ops::Range;
use std::sync::Arc;

/// A sequence of token ids, shared and cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokens {
    store: Arc<Store>,
    range: Range<u64>,
}

#[derive(Debug)]
enum Store {
    Memory(Vec<u32>),
    Shards(Vec<Shard>),
}

impl From<Vec<u32>> for Tokens {
    fn from(ids: Vec<u32>) -> Tokens {
        let range = 0..ids.len() as u64;
        Tokens {
            store: Arc::new(Store::Memory(ids)),
            range,
        }
    }
}

impl From<Vec<Shard>> for Tokens {
    fn from(shards: Vec<Shard>) -> Tokens {
        let range = 0..shards.iter().map(Shard::len).sum();
        Tokens {
            store: Arc::new(Store::Shards(shards)),
            range,
        }
    }
}

impl Tokens {
    /// The number of tokens.
    pub fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Copies the ids from `start` on into `out`.
    ///
    /// # Panics
    /// If the tokens end before `out` is full.
    #[track_caller]
    pub fn copy_to(&self, start: u64, out: &mut [u32]) {
        let end = start + out.len() as u64;
        assert!(
            end <= self.len(),
            "copy_to: tokens {start}..{end} of {}",
            self.len()
        );
        let mut start = self.range.start + start;
        match &*self.store {
            Store::Memory(ids) => {
                let start = start as usize;
                out.copy_from_slice(&ids[start..start + out.len()]);
            }
            Store::Shards(shards) => {
                // A window may reach from one shard into the next. Shards are few, so a walk finds the first.
                let mut out = out;
                for shard in shards {
                    if start < shard.len() {
                        let here = (shard.len() - start).min(out.len() as u64) as usize;
                        let (now, later) = out.split_at_mut(here);
                        shard.copy_to(start, now);
                        out = later;
                        start = 0;
                    } else {
                        start -= shard.len();
                    }
                    if out.is_empty() {
                        break;
                    }
                }
            }
        }
    }

    /// The ids as a vector.
    pub fn to_vec(&self) -> Vec<u32> {
        let mut ids = vec![0; self.len() as usize];
        self.copy_to(0, &mut ids);
        ids
    }

    /// The tokens before `at` and those from `at` on.
    ///
    /// # Panics
    /// If `at` is beyond the end.
    #[track_caller]
    pub fn split_at(&self, at: u64) -> (Tokens, Tokens) {
        assert!(at <= self.len(), "split_at: token {at} of {}", self.len());
        let middle = self.range.start + at;
        let part = |range| Tokens {
            store: self.store.clone(),
            range,
        };
        (part(self.range.start..middle), part(middle..self.range.end))
    }

    /// Training and validation parts: the last `fraction` of the tokens is set aside for validation.
    ///
    /// # Panics
    /// If `fraction` is not in `0.0..=1.0`.
    #[track_caller]
    pub fn split_tail(&self, fraction: f64) -> (Tokens, Tokens) {
        assert!(
            (0.0..=1.0).contains(&fraction),
            "split_tail: the fraction {fraction} is not between 0 and 1"
        );
        // As nanoGPT cuts: the training part is the floor of its share.
        self.split_at((self.len() as f64 * (1.0 - fraction)) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_set_aside() {
        let tokens = Tokens::from((0..10).collect::<Vec<u32>>());
        let (train, validation) = tokens.split_tail(0.25);
        assert_eq!(train.to_vec(), (0..7).collect::<Vec<u32>>());
        assert_eq!(validation.to_vec(), [7, 8, 9]);
        let mut window = [0; 2];
        validation.copy_to(1, &mut window);
        assert_eq!(window, [8, 9]);
        let (all, none) = tokens.split_tail(0.0);
        assert_eq!((all.len(), none.is_empty()), (10, true));
    }
}
