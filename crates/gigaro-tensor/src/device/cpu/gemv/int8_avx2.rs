//! 8-bit weights times 16-bit inputs with `vpmaddwd`, which multiplies signed 16-bit integers and adds neighbours.
//!
//! The weights are widened to 16 bits on the way, so that no product and no sum ever saturates: a lane sums sixteen
//! products of a group, each below 2^23, and is exact.

use super::int8::{GROUP, Inputs};
use std::arch::x86_64::*;

/// How far ahead the weight is fetched, in bytes: what memory delivers while one access takes its time.
const AHEAD: usize = 4 << 10;

/// Some rows of the weight times all inputs: `sums` is (weight rows, input rows). The machine has AVX2 and FMA.
pub(super) fn multiply(inputs: &Inputs, values: &[i8], scales: &[f32], sums: &mut [f32]) {
    let run = match inputs.rows {
        1 => block::<1>,
        2 => block::<2>,
        3 => block::<3>,
        4 => block::<4>,
        5 => block::<5>,
        6 => block::<6>,
        7 => block::<7>,
        8 => block::<8>,
        rows => unreachable!("{rows} rows do not stream"),
    };
    // SAFETY: the caller found that the machine has the instructions.
    unsafe { run(inputs, values, scales, sums) }
}

/// `M` rows of inputs and one row of the weight at a time.
///
/// # Safety
/// Needs AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn block<const M: usize>(inputs: &Inputs, values: &[i8], scales: &[f32], sums: &mut [f32]) {
    let groups = inputs.values.len() / (M * GROUP);
    let weights = sums.len() / M;
    assert!(values.len() == weights * groups * GROUP && scales.len() == weights * groups);
    for (o, sums) in sums.chunks_exact_mut(M).enumerate() {
        let mut totals = [_mm256_setzero_ps(); M];
        for g in 0..groups {
            let at = o * groups + g;
            // SAFETY: the slices are as long as just asserted: a group is eight times sixteen weights, and as many
            // inputs of each row.
            unsafe {
                let from = values.as_ptr().add(at * GROUP);
                _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(AHEAD));
                _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(AHEAD + 64));
                let mut w = [_mm256_setzero_si256(); GROUP / 16];
                for (part, w) in w.iter_mut().enumerate() {
                    *w = _mm256_cvtepi8_epi16(_mm_loadu_si128(from.add(16 * part).cast()));
                }
                let scale = _mm256_set1_ps(*scales.as_ptr().add(at));
                for (i, total) in totals.iter_mut().enumerate() {
                    let x = inputs.values.as_ptr().add((g * M + i) * GROUP);
                    let dot = _mm256_cvtepi32_ps(dot(&w, x));
                    *total = _mm256_fmadd_ps(dot, scale, *total);
                }
            }
        }
        for (sum, &total) in sums.iter_mut().zip(&totals) {
            *sum = add_lanes(total);
        }
    }
}

/// The products of a group of weights and inputs, each lane the sum of sixteen.
///
/// # Safety
/// A group of inputs can be read.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn dot(w: &[__m256i; GROUP / 16], x: *const i16) -> __m256i {
    // Two sums, so that an addition need not wait for the one before.
    let mut halves = [_mm256_setzero_si256(); 2];
    for (part, &w) in w.iter().enumerate() {
        // SAFETY: passed on to the caller.
        let x = unsafe { _mm256_loadu_si256(x.add(16 * part).cast()) };
        let half = &mut halves[part % 2];
        *half = _mm256_add_epi32(*half, _mm256_madd_epi16(w, x));
    }
    _mm256_add_epi32(halves[0], halves[1])
}

/// The sum of eight numbers, in one fixed order.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn add_lanes(x: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}
