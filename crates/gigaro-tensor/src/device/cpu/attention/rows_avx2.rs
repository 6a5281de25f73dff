//! Rows of scores for AVX2 with FMA; see [`rows`](super::rows). A vector of [`LANES`] is two registers.

use super::rows::{Gradients, LANES, MaskRow, PER_TILE, Query, RowKernels, Running, Weights};
use crate::device::cpu::exp2::EXP2;
use std::arch::x86_64::*;

/// Elements of a register.
const WIDTH: usize = 8;
/// Registers of [`LANES`].
const HALVES: usize = LANES / WIDTH;
/// Registers of a tile's row.
const PER_ROW: usize = HALVES * PER_TILE;

/// Rows in f32.
pub(super) fn single() -> RowKernels {
    static WEIGHTS: [Weights; 4] = [
        weights::<PER_ROW>,
        weights::<{ 2 * PER_ROW }>,
        weights::<{ 3 * PER_ROW }>,
        weights::<{ 4 * PER_ROW }>,
    ];
    static GRADIENTS: [Gradients; 4] = [
        gradients::<PER_ROW>,
        gradients::<{ 2 * PER_ROW }>,
        gradients::<{ 3 * PER_ROW }>,
        gradients::<{ 4 * PER_ROW }>,
    ];
    RowKernels {
        weights: &WEIGHTS,
        gradients: &GRADIENTS,
    }
}

/// Two to the power of `x`, to about one unit in the last place; zero where the result would not be a normal number.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn exp2(x: __m256) -> __m256 {
    let whole = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x);
    let f = _mm256_sub_ps(x, whole);
    let mut y = _mm256_set1_ps(EXP2[0]);
    for c in EXP2.into_iter().skip(1) {
        y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(c));
    }
    let exponent = _mm256_slli_epi32::<23>(_mm256_cvtps_epi32(whole));
    let scaled = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(y), exponent));
    // Minus infinity and whatever is too small give zero; the comparison is false for a NaN, which stays one.
    let small = _mm256_cmp_ps::<_CMP_LT_OQ>(x, _mm256_set1_ps(-125.0));
    let large = _mm256_cmp_ps::<_CMP_NLE_UQ>(x, _mm256_set1_ps(127.0));
    let scaled = _mm256_blendv_ps(
        scaled,
        _mm256_mul_ps(x, _mm256_set1_ps(f32::INFINITY)),
        large,
    );
    _mm256_andnot_ps(small, scaled)
}

/// All ones in the lanes below `limit`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn first(limit: usize) -> __m256i {
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_cmpgt_epi32(_mm256_set1_epi32(limit.min(WIDTH) as i32), lanes)
}

/// Reads a register of products: scaled, with the mask added, and minus infinity from key `limit` on.
///
/// # Safety
/// The row has register `v`, the mask `limit` elements; needs AVX2 and FMA.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn scores(
    row: *const f32,
    v: usize,
    scale: f32,
    mask: Option<MaskRow>,
    limit: usize,
) -> __m256 {
    // SAFETY: passed on to the caller.
    let mut y =
        unsafe { _mm256_mul_ps(_mm256_loadu_ps(row.add(WIDTH * v)), _mm256_set1_ps(scale)) };
    if let Some(mask) = mask {
        // SAFETY: passed on to the caller.
        let mask = unsafe { load_mask(mask, WIDTH * v, limit) };
        y = _mm256_fmadd_ps(mask, _mm256_set1_ps(std::f32::consts::LOG2_E), y);
    }
    if limit >= WIDTH * (v + 1) {
        return y;
    }
    let live = _mm256_castsi256_ps(first(limit.saturating_sub(WIDTH * v)));
    _mm256_blendv_ps(_mm256_set1_ps(f32::NEG_INFINITY), y, live)
}

/// Eight elements of the mask from key `from` on; zeros from `limit` on.
///
/// # Safety
/// The mask has `limit` elements; needs AVX2.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn load_mask(mask: MaskRow, from: usize, limit: usize) -> __m256 {
    let count = limit.saturating_sub(from).min(WIDTH);
    // SAFETY: passed on to the caller.
    unsafe {
        if mask.stride == 1 {
            return _mm256_maskload_ps(mask.ptr.wrapping_add(from), first(count));
        }
        let mut values = [0.0f32; WIDTH];
        for (i, value) in values.iter_mut().enumerate().take(count) {
            *value = *mask.ptr.add((from + i) * mask.stride);
        }
        _mm256_loadu_ps(values.as_ptr())
    }
}

/// See [`Weights`].
///
/// # Safety
/// As there, for `N` registers.
#[target_feature(enable = "avx2,fma")]
unsafe fn weights<const N: usize>(
    row: *mut f32,
    scale: f32,
    mask: Option<MaskRow>,
    limit: usize,
    running: &mut Running,
) -> f32 {
    // SAFETY: passed on to the caller.
    unsafe {
        let mut max = _mm256_set1_ps(f32::NEG_INFINITY);
        for v in 0..N {
            let x = scores(row, v, scale, mask, limit);
            _mm256_storeu_ps(row.add(WIDTH * v), x);
            max = _mm256_max_ps(max, x);
        }
        let max = largest(max).max(running.max);
        // While a query has seen nothing, any reference will do but infinity.
        let reference = if max == f32::NEG_INFINITY { 0.0 } else { max };
        let shrink = if running.max == max {
            1.0
        } else {
            (running.max - reference).exp2()
        };
        running.max = max;
        let (center, factor) = (_mm256_set1_ps(reference), _mm256_set1_ps(shrink));
        let mut sums = [_mm256_setzero_ps(); HALVES];
        for (h, sums) in sums.iter_mut().enumerate() {
            *sums = _mm256_mul_ps(
                _mm256_loadu_ps(running.sums.as_ptr().add(WIDTH * h)),
                factor,
            );
        }
        for v in 0..N {
            let at = row.add(WIDTH * v);
            let y = exp2(_mm256_sub_ps(_mm256_loadu_ps(at), center));
            _mm256_storeu_ps(at, y);
            sums[v % HALVES] = _mm256_add_ps(sums[v % HALVES], y);
        }
        for (h, &sums) in sums.iter().enumerate() {
            _mm256_storeu_ps(running.sums.as_mut_ptr().add(WIDTH * h), sums);
        }
        shrink
    }
}

/// The largest element.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn largest(x: __m256) -> f32 {
    let half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
    let pair = _mm_max_ps(half, _mm_movehl_ps(half, half));
    _mm_cvtss_f32(_mm_max_ss(pair, _mm_movehdup_ps(pair)))
}

/// See [`Gradients`].
///
/// # Safety
/// As there, for `N` registers.
#[target_feature(enable = "avx2,fma")]
unsafe fn gradients<const N: usize>(
    row: *mut f32,
    grad: *mut f32,
    (scale, scale2): (f32, f32),
    query: &Query,
) {
    let (lse, delta, scale) = (
        _mm256_set1_ps(query.lse),
        _mm256_set1_ps(query.delta),
        _mm256_set1_ps(scale),
    );
    // SAFETY: passed on to the caller.
    unsafe {
        for v in 0..N {
            let x = scores(row, v, scale2, query.mask, query.limit);
            let p = exp2(_mm256_sub_ps(x, lse));
            let dp = _mm256_loadu_ps(grad.add(WIDTH * v));
            let ds = _mm256_mul_ps(_mm256_mul_ps(p, scale), _mm256_sub_ps(dp, delta));
            _mm256_storeu_ps(row.add(WIDTH * v), p);
            _mm256_storeu_ps(grad.add(WIDTH * v), ds);
        }
    }
}
