//! A random order of `0..n` without a table: each place is computed from its number.
//!
//! A Feistel network is a bijection on numbers of an even number of bits; values that fall outside `0..n` are sent through
//! again until they fall inside (cycle walking), which keeps it a bijection. Memory does not grow with `n`, and the order
//! is a function of the key alone, so a position in it is one number.
//!
//! Reference: Black, Rogaway (2002), Ciphers with Arbitrary Finite Domains, <https://www.cs.ucdavis.edu/~rogaway/papers/subset.pdf>.

/// A random order of `0..n`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Permutation {
    n: u64,
    /// Bits of each half.
    half: u32,
    keys: [u64; ROUNDS],
}

/// Four rounds suffice in theory; six keep small domains well mixed.
const ROUNDS: usize = 6;

impl Permutation {
    /// The order of `0..n` that belongs to `seed` and `stream`.
    pub(crate) fn new(n: u64, seed: u64, stream: u64) -> Permutation {
        let bits = 64 - n.saturating_sub(1).leading_zeros();
        let mut state = mix(seed ^ mix(stream ^ 0x6A09_E667_F3BC_C909));
        let keys = std::array::from_fn(|_| {
            state = mix(state);
            state
        });
        Permutation {
            n,
            half: bits.div_ceil(2).max(1),
            keys,
        }
    }

    /// The element at place `i`.
    ///
    /// # Panics
    /// If `i` is not below `n`.
    pub(crate) fn at(&self, i: u64) -> u64 {
        assert!(i < self.n, "place {i} of a permutation of {}", self.n);
        let mut value = i;
        loop {
            value = self.feistel(value);
            if value < self.n {
                return value;
            }
        }
    }

    fn feistel(&self, value: u64) -> u64 {
        let mask = (1 << self.half) - 1;
        let (mut left, mut right) = (value >> self.half, value & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mix(right ^ key) & mask));
        }
        left << self.half | right
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every bit of the input reaches every bit of the output.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_element_has_one_place(n in 1u64..3000, seed: u64, stream: u64) {
            let permutation = Permutation::new(n, seed, stream);
            let mut seen = vec![false; n as usize];
            for i in 0..n {
                prop_assert!(!std::mem::replace(&mut seen[permutation.at(i) as usize], true));
            }
        }

        #[test]
        fn large_domains_stay_inside(n in 1u64 << 40.., i: u64, seed: u64) {
            prop_assert!(Permutation::new(n, seed, 0).at(i % n) < n);
        }
    }

    #[test]
    fn neighbours_and_streams_are_unrelated() {
        let n = 1000;
        let (first, second) = (Permutation::new(n, 7, 0), Permutation::new(n, 7, 1));
        let steps = (1..n)
            .filter(|&i| first.at(i) == first.at(i - 1) + 1)
            .count();
        let same = (0..n).filter(|&i| first.at(i) == second.at(i)).count();
        assert!(
            steps < 10 && same < 10,
            "{steps} neighbours stay together, {same} places agree"
        );
    }
}
