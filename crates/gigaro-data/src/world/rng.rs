//! The world's own source of chance: splitmix64, addressed by position.
//!
//! Document `i` of a corpus is a function of `(seed, i)` alone, so corpora can be written in parallel, resumed in the
//! middle and cut anywhere. For that a generator of two words of state is enough; the engine's Philox generator, which
//! also runs on the GPU, is not needed here and would tie the text of the world to the engine.

/// A small deterministic generator (splitmix64).
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The finaliser of splitmix64: a bijection of the 64-bit integers that scatters neighbours.
fn scatter(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Rng {
    /// The generator of one stream and one position in it.
    pub(crate) fn at(seed: u64, stream: &str, index: u64) -> Rng {
        let start = scatter(seed ^ hash(stream));
        Rng(scatter(start.wrapping_add(index.wrapping_mul(GOLDEN))))
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        scatter(self.0)
    }

    /// A number from `0..n`; the bias of the multiplication is below `n / 2^64`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        debug_assert!(n > 0, "a choice among nothing");
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }

    /// A number between 0 and 1, never either of them, so that its logarithms are finite.
    pub(crate) fn uniform(&mut self) -> f64 {
        ((self.next_u64() >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }

    /// True in `percent` of a hundred draws.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of the items, each as likely.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// One of the strings, each as likely.
    pub(crate) fn word<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    /// Shuffles in place (Fisher and Yates).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i + 1);
            items.swap(i, j);
        }
    }
}

/// FNV-1a, for splits and streams that depend on a text and on nothing else.
pub(crate) fn hash(text: &str) -> u64 {
    let mut h: u64 = 0xCBF2_9CE4_8422_2325;
    for &byte in text.as_bytes() {
        h = (h ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    }
    scatter(h)
}

/// True for one text in `n`, always the same ones.
pub(crate) fn one_in(n: u64, text: &str) -> bool {
    hash(text).is_multiple_of(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_place_gives_the_same_numbers() {
        let mut a = Rng::at(7, "documents", 3);
        let mut b = Rng::at(7, "documents", 3);
        let mut c = Rng::at(7, "documents", 4);
        let draws = |r: &mut Rng| (0..8).map(|_| r.below(1000)).collect::<Vec<_>>();
        let first = draws(&mut a);
        assert_eq!(first, draws(&mut b));
        assert_ne!(first, draws(&mut c));
    }

    #[test]
    fn choices_cover_their_range_evenly() {
        let mut rng = Rng::at(0, "even", 0);
        let mut seen = [0usize; 10];
        for _ in 0..10_000 {
            seen[rng.below(10)] += 1;
        }
        assert!(seen.iter().all(|&n| (850..1150).contains(&n)), "{seen:?}");
    }
}
