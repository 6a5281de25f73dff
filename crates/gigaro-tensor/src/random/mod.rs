//! Random numbers that are the same on every device and with every number of threads.
//!
//! Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3") is
//! a function from a key and a counter to 128 random bits; there is no hidden state, so any
//! element of a stream can be had alone, and the position is two numbers in a checkpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Four random words for a counter under a key.
#[inline(always)]
pub(crate) fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    const M0: u64 = 0xd251_1f53;
    const M1: u64 = 0xcd9e_8d57;
    let ([mut a, mut b, mut c, mut d], [mut k0, mut k1]) = (counter, key);
    for round in 0..10 {
        if round > 0 {
            k0 = k0.wrapping_add(0x9e37_79b9);
            k1 = k1.wrapping_add(0xbb67_ae85);
        }
        let (p, q) = (u64::from(a) * M0, u64::from(c) * M1);
        (a, b, c, d) = (
            (q >> 32) as u32 ^ b ^ k0,
            q as u32,
            (p >> 32) as u32 ^ d ^ k1,
            p as u32,
        );
    }
    [a, b, c, d]
}

/// A stream of random numbers: a seed and a position. Clones share the position.
#[derive(Clone, Debug)]
pub struct Generator(Arc<Stream>);

#[derive(Debug)]
struct Stream {
    seed: AtomicU64,
    position: AtomicU64,
}

impl Generator {
    /// The stream of a seed, from its beginning.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Stream {
            seed: AtomicU64::new(seed),
            position: AtomicU64::new(0),
        }))
    }

    /// Seed and position, for a checkpoint.
    #[must_use]
    pub fn state(&self) -> [u64; 2] {
        [
            self.0.seed.load(Ordering::Relaxed),
            self.0.position.load(Ordering::Relaxed),
        ]
    }

    /// Continues from a saved state.
    pub fn set_state(&self, [seed, position]: [u64; 2]) {
        self.0.seed.store(seed, Ordering::Relaxed);
        self.0.position.store(position, Ordering::Relaxed);
    }

    /// An independent stream, named by a number.
    #[must_use]
    pub fn fork(&self, stream: u64) -> Self {
        let [seed, _] = self.state();
        let [a, b, ..] = philox4x32(
            [stream as u32, (stream >> 32) as u32, 0x666f_726b, 0],
            key(seed),
        );
        Self::new(u64::from(a) | u64::from(b) << 32)
    }

    /// Claims `blocks` counter values for a kernel that draws in parallel: gives the key and the
    /// first one.
    pub(crate) fn reserve(&self, blocks: u64) -> (u64, u64) {
        (
            self.0.seed.load(Ordering::Relaxed),
            self.0.position.fetch_add(blocks, Ordering::Relaxed),
        )
    }

    fn block(&self) -> [u32; 4] {
        let (seed, at) = self.reserve(1);
        philox4x32([at as u32, (at >> 32) as u32, 0, 0], key(seed))
    }

    /// 64 random bits.
    #[must_use]
    pub fn next_u64(&self) -> u64 {
        let [a, b, ..] = self.block();
        u64::from(a) | u64::from(b) << 32
    }

    /// Uniform on `[0, 1)`, 53 bits.
    #[must_use]
    pub fn uniform(&self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform on `0..n` (Lemire's multiplication; the bias is below 2^-64 n).
    ///
    /// # Panics
    /// If `n` is zero.
    #[must_use]
    #[track_caller]
    pub fn below(&self, n: u64) -> u64 {
        assert!(n > 0, "below: nothing lies below 0");
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// Two independent standard normals (Box and Muller 1958).
    #[must_use]
    pub fn normal_pair(&self) -> (f64, f64) {
        let [a, b, c, d] = self.block();
        let unit = |hi: u32, lo: u32| {
            ((u64::from(hi) << 32 | u64::from(lo)) >> 11) as f64 / (1_u64 << 53) as f64
        };
        // 1 - u lies in (0, 1], so the logarithm is finite.
        let radius = (-2.0 * (1.0 - unit(a, b)).ln()).sqrt();
        let (sin, cos) = (2.0 * std::f64::consts::PI * unit(c, d)).sin_cos();
        (radius * cos, radius * sin)
    }
}

/// A seed as Philox takes it.
pub(crate) fn key(seed: u64) -> [u32; 2] {
    [seed as u32, (seed >> 32) as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_known_answers_of_random123() {
        assert_eq!(
            philox4x32([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox4x32([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn a_saved_state_continues_the_stream() {
        let g = Generator::new(7);
        let _ = g.next_u64();
        let state = g.state();
        let next: Vec<u64> = (0..5).map(|_| g.next_u64()).collect();
        let h = Generator::new(0);
        h.set_state(state);
        assert_eq!(next, (0..5).map(|_| h.next_u64()).collect::<Vec<_>>());
        assert_ne!(g.fork(1).next_u64(), g.fork(2).next_u64());
    }

    #[test]
    fn normals_have_mean_zero_and_variance_one() {
        let g = Generator::new(1);
        let n = 100_000;
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..n / 2 {
            let (a, b) = g.normal_pair();
            sum += a + b;
            squares += a * a + b * b;
        }
        assert!((sum / f64::from(n)).abs() < 0.01 && (squares / f64::from(n) - 1.0).abs() < 0.02);
    }
}
