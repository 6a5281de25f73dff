//! What this machine can do at best: arithmetic with everything in registers, and reading memory.
//!
//! The figures are the yardstick for every kernel: `gigaro doctor` prints them and the benchmarks divide by
//! them. Each measurement takes some tens of milliseconds and uses [`num_threads`] threads.

use super::isa::{self, Isa};
use super::scratch::Scratch;
use super::threads::{num_threads, parallel_for};
use std::hint::black_box;
use std::time::Instant;

/// Chains of dependent instructions that run side by side: more than latency times throughput of any machine, and few
/// enough that sums and operands stay in 32 registers.
const CHAINS: usize = 16;
/// The same for instruction sets with 16 registers.
const CHAINS_OF_16: usize = 12;
/// Steps of each chain in a measurement of arithmetic: well under a millisecond, so that on a busy machine some
/// measurement meets no other program.
const STEPS: usize = 1 << 16;
/// Measurements of arithmetic, of which the best counts.
const REPEATS: usize = 60;

/// Floating-point operations per second in f32, a multiply-add counted as two.
pub fn f32_flops() -> f64 {
    match isa::isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the machine has the instructions.
        Isa::Avx512 => rate(CHAINS * 16 * 2, || unsafe { x86::f32_avx512() }),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the machine has the instructions.
        Isa::Avx2 => rate(CHAINS_OF_16 * 8 * 2, || unsafe { x86::f32_avx2() }),
        isa => rate(CHAINS_OF_16 * 4 * 2, || f32_portable(isa == Isa::Neon)),
    }
}

/// Floating-point operations per second in bf16 with f32 sums: those of the bf16 dot product where kernels use it, of f32
/// elsewhere.
pub fn bf16_flops() -> f64 {
    match isa::has_bf16() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the machine has the instructions.
        true => rate(CHAINS * 32 * 2, || unsafe { x86::bf16_avx512() }),
        _ => f32_flops(),
    }
}

/// 8-bit integer operations per second with 32-bit sums; `None` without an 8-bit dot product.
pub fn int8_ops() -> Option<f64> {
    match isa::has_vnni() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the machine has the instructions.
        true => Some(rate(CHAINS * 64 * 2, || unsafe { x86::int8_avx512() })),
        _ => None,
    }
}

/// Bytes per second that all threads together read from memory, from a buffer far larger than
/// the caches.
pub fn read_bandwidth() -> f64 {
    const WORDS: usize = 64 << 20;
    const PIECE: usize = 1 << 18;
    let mut buffer = Scratch::take(WORDS);
    // Pages that were never written may all be the same one.
    super::threads::parallel_chunks_mut(&mut buffer.floats()[..WORDS], PIECE, |_, piece| {
        piece.fill(1.0)
    });
    let words = &buffer.floats()[..WORDS];
    let isa = isa::isa();
    let seconds = best(10, || {
        parallel_for(WORDS / PIECE, |i| {
            _ = black_box(sum(isa, &words[i * PIECE..][..PIECE]))
        })
    });
    (WORDS * 4) as f64 / seconds
}

/// The shortest of several runs, in seconds.
fn best(repeats: usize, f: impl Fn()) -> f64 {
    let run = |_| {
        let start = Instant::now();
        f();
        start.elapsed().as_secs_f64()
    };
    (0..repeats).map(run).fold(f64::INFINITY, f64::min)
}

/// Operations per second on all threads, each running `f`, which makes [`STEPS`] steps of so many operations.
fn rate(ops_per_step: usize, f: impl Fn() + Sync) -> f64 {
    let threads = num_threads();
    let ops = threads * STEPS * ops_per_step;
    ops as f64 / best(REPEATS, || parallel_for(threads, |_| f()))
}

super::isa::vectorized! {
    /// The bits of a slice, folded.
    fn sum(x: &[f32]) -> u32 {
        let mut lanes = [0u32; 64];
        for chunk in x.chunks_exact(64) {
            for (lane, x) in lanes.iter_mut().zip(chunk) {
                *lane |= x.to_bits();
            }
        }
        lanes.iter().fold(0, |x, y| x | y)
    }
}

fn f32_portable(fused: bool) {
    let (x, y) = (black_box([0.999f32; 4]), black_box([0.001f32; 4]));
    let mut sums = [[1.0f32; 4]; CHAINS_OF_16];
    for _ in 0..STEPS {
        for sum in &mut sums {
            for i in 0..4 {
                sum[i] = if fused {
                    sum[i].mul_add(x[i], y[i])
                } else {
                    sum[i] * x[i] + y[i]
                };
            }
        }
    }
    black_box(sums);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{CHAINS, CHAINS_OF_16, STEPS};
    use std::arch::x86_64::*;
    use std::hint::black_box;

    #[target_feature(enable = "avx512f")]
    pub(super) fn f32_avx512() {
        let (x, y) = (
            _mm512_set1_ps(black_box(0.999)),
            _mm512_set1_ps(black_box(0.001)),
        );
        let mut sums = [y; CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, x, y);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn f32_avx2() {
        let (x, y) = (
            _mm256_set1_ps(black_box(0.999)),
            _mm256_set1_ps(black_box(0.001)),
        );
        let mut sums = [y; CHAINS_OF_16];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, x, y);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) fn bf16_avx512() {
        let one = _mm512_cvtneps_pbh(_mm512_set1_ps(black_box(0.001)));
        // SAFETY: 512 bits either way.
        let x: __m512bh = unsafe {
            let half: __m256i = std::mem::transmute(one);
            std::mem::transmute(_mm512_broadcast_i64x4(half))
        };
        let mut sums = [_mm512_setzero_ps(); CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_dpbf16_ps(*sum, x, x);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn int8_avx512() {
        let x = _mm512_set1_epi8(black_box(1));
        let mut sums = [x; CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, x, x);
            }
        }
        black_box(sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_available_set_has_a_peak() {
        for &isa in isa::available() {
            isa::with_isa(isa, || {
                let f32 = f32_flops();
                assert!(f32 > 1e8, "{isa:?}: {f32}");
                let bf16 = bf16_flops();
                assert!(bf16 > 1e8, "{isa:?} in bf16: {bf16}");
                assert_eq!(int8_ops().is_some(), isa::has_vnni());
            });
        }
        assert!(read_bandwidth() > 1e8);
    }
}
