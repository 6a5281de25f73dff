//! Rows of scores for AVX-512; see [`rows`](super::rows).

use super::kernel::LD;
use super::rows::{Gradients, MaskRow, PER_TILE, Query, RowKernels, Running, Weights};
use crate::device::cpu::exp2::EXP2;
use crate::device::cpu::gemm::pack_avx512::{first, interleave, narrow};
use std::arch::x86_64::*;

/// Two to the power of `x`, to about one unit in the last place; zero below the smallest numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn exp2(x: __m512) -> __m512 {
    // The order of operands lets a NaN through.
    let x = _mm512_max_ps(_mm512_set1_ps(-160.0), x);
    let whole = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x);
    let f = _mm512_sub_ps(x, whole);
    let mut y = _mm512_set1_ps(EXP2[0]);
    for c in EXP2.into_iter().skip(1) {
        y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(c));
    }
    _mm512_scalef_ps(y, whole)
}

/// Reads a row of `N` vectors of products: scaled, with the mask added, and minus infinity from key `limit` on.
///
/// # Safety
/// The row has `N` vectors, the mask `limit` elements; needs AVX-512.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn scores<const N: usize>(
    row: *const f32,
    scale: f32,
    mask: Option<MaskRow>,
    limit: usize,
) -> [__m512; N] {
    let (scale, hidden) = (_mm512_set1_ps(scale), _mm512_set1_ps(f32::NEG_INFINITY));
    let mut x = [hidden; N];
    for v in 0..N {
        let live = first(limit.saturating_sub(16 * v));
        // SAFETY: passed on to the caller.
        unsafe {
            let mut y = _mm512_mul_ps(_mm512_loadu_ps(row.add(16 * v)), scale);
            if let Some(mask) = mask {
                let mask = load_mask(mask, 16 * v, limit);
                y = _mm512_fmadd_ps(mask, _mm512_set1_ps(std::f32::consts::LOG2_E), y);
            }
            x[v] = _mm512_mask_mov_ps(hidden, live, y);
        }
    }
    x
}

/// Sixteen elements of the mask from key `from` on; zeros from `limit` on.
///
/// # Safety
/// The mask has `limit` elements; needs AVX-512.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn load_mask(mask: MaskRow, from: usize, limit: usize) -> __m512 {
    let live = first(limit.saturating_sub(from));
    // SAFETY: passed on to the caller.
    unsafe {
        if mask.stride == 1 {
            return _mm512_maskz_loadu_ps(live, mask.ptr.wrapping_add(from));
        }
        let mut values = [0.0f32; 16];
        for (i, value) in values
            .iter_mut()
            .enumerate()
            .take(limit.saturating_sub(from))
        {
            *value = *mask.ptr.add((from + i) * mask.stride);
        }
        _mm512_loadu_ps(values.as_ptr())
    }
}

/// Turns `N` vectors of products into weights relative to the running maximum, in place or, for `PAIRS`, as bf16 at
/// `pairs`. Gives the factor by which what was summed before must shrink.
///
/// # Safety
/// As [`scores`], and `pairs` has room; needs BF16 for `PAIRS`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn weights<const N: usize>(
    row: *const f32,
    scale: f32,
    mask: Option<MaskRow>,
    limit: usize,
    running: &mut Running,
) -> ([__m512; N], f32) {
    // SAFETY: passed on to the caller.
    let x: [__m512; N] = unsafe { scores(row, scale, mask, limit) };
    let mut max = x[0];
    for v in 1..N {
        max = _mm512_max_ps(max, x[v]);
    }
    let max = _mm512_reduce_max_ps(max).max(running.max);
    // While a query has seen nothing, any reference will do but infinity.
    let reference = if max == f32::NEG_INFINITY { 0.0 } else { max };
    let shrink = if running.max == max {
        1.0
    } else {
        (running.max - reference).exp2()
    };
    let center = _mm512_set1_ps(reference);
    // SAFETY: the field is sixteen floats.
    let mut sums = unsafe { _mm512_loadu_ps(running.sums.as_ptr()) };
    sums = _mm512_mul_ps(sums, _mm512_set1_ps(shrink));
    let mut y = x;
    for v in 0..N {
        y[v] = exp2(_mm512_sub_ps(x[v], center));
        sums = _mm512_add_ps(sums, y[v]);
    }
    // SAFETY: the field is sixteen floats.
    unsafe { _mm512_storeu_ps(running.sums.as_mut_ptr(), sums) };
    running.max = max;
    (y, shrink)
}

/// Rows in f32.
pub(super) fn single() -> RowKernels {
    static WEIGHTS: [Weights; 4] = [
        weights_single::<PER_TILE>,
        weights_single::<{ 2 * PER_TILE }>,
        weights_single::<{ 3 * PER_TILE }>,
        weights_single::<{ 4 * PER_TILE }>,
    ];
    static GRADIENTS: [Gradients; 4] = [
        gradients_single::<PER_TILE>,
        gradients_single::<{ 2 * PER_TILE }>,
        gradients_single::<{ 3 * PER_TILE }>,
        gradients_single::<{ 4 * PER_TILE }>,
    ];
    RowKernels {
        weights: &WEIGHTS,
        gradients: &GRADIENTS,
    }
}

/// Rows whose weights are rounded to pairs in bf16; gradients are those of [`gradients_pairs`].
pub(super) fn pairs() -> RowKernels {
    static WEIGHTS: [Weights; 4] = [
        weights_pairs::<PER_TILE>,
        weights_pairs::<{ 2 * PER_TILE }>,
        weights_pairs::<{ 3 * PER_TILE }>,
        weights_pairs::<{ 4 * PER_TILE }>,
    ];
    RowKernels {
        weights: &WEIGHTS,
        ..single()
    }
}

/// [`weights`] in place.
///
/// # Safety
/// As [`scores`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn weights_single<const N: usize>(
    row: *mut f32,
    scale: f32,
    mask: Option<MaskRow>,
    limit: usize,
    running: &mut Running,
) -> f32 {
    // SAFETY: passed on to the caller.
    unsafe {
        let (y, shrink) = weights::<N>(row, scale, mask, limit, running);
        for v in 0..N {
            _mm512_storeu_ps(row.add(16 * v), y[v]);
        }
        shrink
    }
}

/// [`weights`] in place, as bf16.
///
/// # Safety
/// As [`scores`]; needs BF16, and an even `N`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn weights_pairs<const N: usize>(
    row: *mut f32,
    scale: f32,
    mask: Option<MaskRow>,
    limit: usize,
    running: &mut Running,
) -> f32 {
    // SAFETY: passed on to the caller.
    unsafe {
        let (y, shrink) = weights::<N>(row, scale, mask, limit, running);
        for v in 0..N / 2 {
            _mm512_storeu_ps(row.add(16 * v), narrow(y[2 * v], y[2 * v + 1]));
        }
        shrink
    }
}

/// Weights and gradients of the scores for `N` vectors of products `row` and of gradients of weights `grad`.
///
/// # Safety
/// As [`scores`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn gradients<const N: usize>(
    row: *const f32,
    grad: *const f32,
    (scale, scale2): (f32, f32),
    query: &Query,
) -> ([__m512; N], [__m512; N]) {
    // SAFETY: passed on to the caller.
    let x: [__m512; N] = unsafe { scores(row, scale2, query.mask, query.limit) };
    let (lse, delta, scale) = (
        _mm512_set1_ps(query.lse),
        _mm512_set1_ps(query.delta),
        _mm512_set1_ps(scale),
    );
    let (mut p, mut ds) = (x, x);
    for v in 0..N {
        p[v] = exp2(_mm512_sub_ps(x[v], lse));
        // SAFETY: passed on to the caller.
        let dp = unsafe { _mm512_loadu_ps(grad.add(16 * v)) };
        ds[v] = _mm512_mul_ps(_mm512_mul_ps(p[v], scale), _mm512_sub_ps(dp, delta));
    }
    (p, ds)
}

/// [`gradients`] in place: products become weights, and their gradients those of the scores.
///
/// # Safety
/// As [`scores`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn gradients_single<const N: usize>(
    row: *mut f32,
    grad: *mut f32,
    scales: (f32, f32),
    query: &Query,
) {
    // SAFETY: passed on to the caller.
    unsafe {
        let (p, ds) = gradients::<N>(row, grad, scales, query);
        for v in 0..N {
            _mm512_storeu_ps(row.add(16 * v), p[v]);
            _mm512_storeu_ps(grad.add(16 * v), ds[v]);
        }
    }
}

/// Where the gradients of two neighbouring rows go in bf16.
#[derive(Clone, Copy)]
pub(super) struct PairTargets {
    /// Weights, as pairs of the two rows.
    pub(super) weights: *mut f32,
    /// Gradients of the scores, as pairs of the two rows.
    pub(super) columns: *mut f32,
    /// The same, as pairs of neighbouring keys; the second row is half of [`LD`] further.
    pub(super) rows: *mut f32,
}

/// [`gradients`] of two neighbouring rows, [`LD`] apart, rounded to bf16.
///
/// # Safety
/// As [`scores`], and the targets have room; needs BF16, and an even `N`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(super) unsafe fn gradients_pairs<const N: usize>(
    row: *const f32,
    grad: *const f32,
    scales: (f32, f32),
    queries: &[Query; 2],
    to: PairTargets,
) {
    // SAFETY: passed on to the caller.
    unsafe {
        let (p0, ds0) = gradients::<N>(row, grad, scales, &queries[0]);
        for v in 0..N / 2 {
            _mm512_storeu_ps(to.rows.add(16 * v), narrow(ds0[2 * v], ds0[2 * v + 1]));
        }
        let (p1, ds1) = gradients::<N>(row.add(LD), grad.add(LD), scales, &queries[1]);
        for v in 0..N / 2 {
            _mm512_storeu_ps(
                to.rows.add(LD / 2 + 16 * v),
                narrow(ds1[2 * v], ds1[2 * v + 1]),
            );
        }
        for v in 0..N {
            _mm512_storeu_ps(to.weights.add(16 * v), interleave(p0[v], p1[v]));
            _mm512_storeu_ps(to.columns.add(16 * v), interleave(ds0[v], ds1[v]));
        }
    }
}
