//! 8-bit weights times 16-bit inputs with `vpdpbusd`, which multiplies unsigned by signed bytes and adds four
//! products to a 32-bit sum.
//!
//! The weights become unsigned by adding 128; what that adds to a sum, 128 times the inputs, is subtracted by
//! starting the sum below zero. The high and the low bytes of the inputs take an instruction each.

use super::int8::{GROUP, Inputs};
use std::arch::x86_64::*;

/// Some rows of the weight times all inputs: `sums` is (weight rows, input rows). The machine has VNNI.
pub(super) fn multiply(inputs: &Inputs, values: &[i8], scales: &[f32], sums: &mut [f32]) {
    let run = match inputs.rows {
        1 => block::<1, 4>,
        2 => block::<2, 4>,
        3 => block::<3, 4>,
        4 => block::<4, 4>,
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
    let starts: Vec<[__m512i; M]> = (0..groups)
        .map(|g| std::array::from_fn(|i| start(inputs, g * M + i)))
        .collect();
    let weights = sums.len() / M;
    for first in (0..weights).step_by(R) {
        let mut totals = [[_mm512_setzero_ps(); M]; R];
        for (g, starts) in starts.iter().enumerate() {
            let x = &inputs.bytes[g * M * 2 * GROUP..][..M * 2 * GROUP];
            for r in 0..R {
                // Past the end the last row is computed again and dropped.
                let at = (first + r).min(weights - 1) * groups + g;
                let w = &values[at * GROUP..][..GROUP];
                // SAFETY: a group is two vectors; `x` holds a group of high and of low bytes for each row.
                unsafe {
                    _mm_prefetch::<_MM_HINT_T0>(w.as_ptr().wrapping_add(R * groups * GROUP));
                    _mm_prefetch::<_MM_HINT_T0>(w.as_ptr().wrapping_add(R * groups * GROUP + 64));
                    let w0 = unsigned(w.as_ptr());
                    let w1 = unsigned(w.as_ptr().add(64));
                    let scale = _mm512_set1_ps(scales[at]);
                    for i in 0..M {
                        let x = x.as_ptr().add(i * 2 * GROUP);
                        let high = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w0, bytes(x));
                        let high = _mm512_dpbusd_epi32(high, w1, bytes(x.add(64)));
                        let low = _mm512_dpbusd_epi32(starts[i], w0, bytes(x.add(128)));
                        let low = _mm512_dpbusd_epi32(low, w1, bytes(x.add(192)));
                        let sum = _mm512_add_epi32(_mm512_slli_epi32::<8>(high), low);
                        totals[r][i] =
                            _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scale, totals[r][i]);
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

/// What the sums of part `at` (of groups times rows) begin with: -128 times the inputs of each lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn start(inputs: &Inputs, at: usize) -> __m512i {
    let x = &inputs.values[at * GROUP..][..GROUP];
    let lane = |l: usize| -> i32 {
        let four = |start: usize| {
            x[start..start + 4]
                .iter()
                .map(|&x| i32::from(x))
                .sum::<i32>()
        };
        -128 * (four(4 * l) + four(64 + 4 * l))
    };
    let lanes: [i32; 16] = std::array::from_fn(lane);
    // SAFETY: 512 bits either way.
    unsafe { std::mem::transmute(lanes) }
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
