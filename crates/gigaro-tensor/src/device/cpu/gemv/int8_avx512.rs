//! 8-bit weights times 16-bit inputs with `vpdpbusd`, which multiplies unsigned by signed bytes and adds four
//! products to a 32-bit sum.
//!
//! The weights become unsigned by adding 128; what that adds to a sum, 128 times the inputs, is subtracted by
//! starting the sum below zero. The high and the low bytes of the inputs take an instruction each.

use super::int8::{GROUP, Inputs};
use std::arch::x86_64::*;

/// How far ahead the weight is fetched, in bytes: what memory delivers while one access takes its time.
const AHEAD: usize = 8 << 10;

/// Some rows of the weight times all inputs: `sums` is (weight rows, input rows). The machine has VNNI.
pub(super) fn multiply(inputs: &Inputs, values: &[i8], scales: &[f32], sums: &mut [f32]) {
    let run = match inputs.rows {
        1 => block::<1, 4>,
        2 => block::<2, 4>,
        3 => block::<3, 2>,
        4 => block::<4, 2>,
        5 => block::<5, 2>,
        6 => block::<6, 2>,
        7 => block::<7, 2>,
        8 => block::<8, 2>,
        rows => unreachable!("{rows} rows do not stream"),
    };
    // SAFETY: the caller found that the machine has the instructions.
    unsafe { run(inputs, values, scales, sums) }
}

/// `M` rows of inputs and `R` rows of the weight at a time.
///
/// # Safety
/// Needs AVX-512 with VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn block<const M: usize, const R: usize>(
    inputs: &Inputs,
    values: &[i8],
    scales: &[f32],
    sums: &mut [f32],
) {
    let groups = inputs.values.len() / (M * GROUP);
    let weights = sums.len() / M;
    assert!(values.len() == weights * groups * GROUP && scales.len() == weights * groups);
    assert!(inputs.bytes.len() == groups * M * 2 * GROUP);
    assert!(inputs.starts.len() == groups * M);
    for first in (0..weights).step_by(R) {
        let mut totals = [[_mm512_setzero_ps(); M]; R];
        for g in 0..groups {
            // SAFETY: `at` is below `weights * groups`, and the slices are as long as just asserted: a group is two
            // vectors of the weight, and two of high and two of low bytes, and a start, for each row of inputs.
            unsafe {
                let mut w = [[_mm512_setzero_si512(); 2]; R];
                let mut scale = [_mm512_setzero_ps(); R];
                for r in 0..R {
                    // Past the end the last row is computed again and dropped.
                    let at = (first + r).min(weights - 1) * groups + g;
                    let from = values.as_ptr().add(at * GROUP);
                    _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(AHEAD));
                    _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(AHEAD + 64));
                    w[r] = [unsigned(from), unsigned(from.add(64))];
                    scale[r] = _mm512_set1_ps(*scales.as_ptr().add(at));
                }
                // Inputs outside, so that they stay in registers while the weights pass.
                for i in 0..M {
                    let x = inputs.bytes.as_ptr().add((g * M + i) * 2 * GROUP);
                    let (high0, high1) = (bytes(x), bytes(x.add(64)));
                    let (low0, low1) = (bytes(x.add(128)), bytes(x.add(192)));
                    let start = _mm512_loadu_si512(inputs.starts.as_ptr().add(g * M + i).cast());
                    for r in 0..R {
                        let high = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w[r][0], high0);
                        let high = _mm512_dpbusd_epi32(high, w[r][1], high1);
                        let low = _mm512_dpbusd_epi32(start, w[r][0], low0);
                        let low = _mm512_dpbusd_epi32(low, w[r][1], low1);
                        let sum = _mm512_add_epi32(_mm512_slli_epi32::<8>(high), low);
                        let sum = _mm512_cvtepi32_ps(sum);
                        totals[r][i] = _mm512_fmadd_ps(sum, scale[r], totals[r][i]);
                    }
                }
            }
        }
        for (r, totals) in totals.iter().enumerate().take(weights - first) {
            for (i, &total) in totals.iter().enumerate() {
                sums[(first + r) * M + i] = _mm512_reduce_add_ps(total);
            }
        }
    }
}

/// # Safety
/// 64 bytes can be read.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn bytes(from: *const i8) -> __m512i {
    // SAFETY: passed on to the caller.
    unsafe { _mm512_loadu_epi8(from) }
}

/// Signed bytes plus 128.
///
/// # Safety
/// 64 bytes can be read.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn unsigned(from: *const i8) -> __m512i {
    // SAFETY: passed on to the caller.
    _mm512_xor_si512(unsafe { bytes(from) }, _mm512_set1_epi8(-128))
}
