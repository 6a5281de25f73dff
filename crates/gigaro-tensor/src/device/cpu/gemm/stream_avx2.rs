//! The streaming kernels for AVX2. Eight columns, each contiguous along `k`, are read a cache line (of f32) at a time,
//! transposed in registers, and multiplied step by step in the order of the blocked kernel, so that the bits are
//! the same.
//!
//! Two neighbours in bf16 are transposed as one 32-bit word and parted afterwards, which takes half the shuffles.

use super::kernel_avx2::store;
use super::kernels::{StreamKernel, Strip, Tile};
use super::pack::Kind;
use super::pack_avx2::{Load8, load, transpose};
use half::{bf16, f16};
use std::arch::x86_64::*;

/// Steps along `k` that are read at once.
const STEPS: usize = 16;

macro_rules! table {
    ($type:ty, $round:literal) => {{
        static TABLE: [StreamKernel; 9] = [
            kernel::<$type, $round, 1, 2>,
            kernel::<$type, $round, 1, 2>,
            kernel::<$type, $round, 2, 2>,
            kernel::<$type, $round, 3, 2>,
            kernel::<$type, $round, 4, 2>,
            kernel::<$type, $round, 5, 1>,
            kernel::<$type, $round, 6, 1>,
            kernel::<$type, $round, 7, 1>,
            kernel::<$type, $round, 8, 1>,
        ];
        Some(&TABLE)
    }};
}

/// Kernels with products in f32.
pub(super) fn single(kind: Kind) -> Option<&'static [StreamKernel]> {
    match kind {
        Kind::F32 => table!(f32, false),
        Kind::BF16 => table!(bf16, false),
        Kind::F16 => table!(f16, false),
    }
}

/// Kernels that round to bf16 before they multiply.
pub(super) fn rounded(kind: Kind) -> Option<&'static [StreamKernel]> {
    match kind {
        Kind::F32 => table!(f32, true),
        Kind::BF16 => table!(bf16, false),
        Kind::F16 => table!(f16, true),
    }
}

/// Eight columns of a strip.
trait Columns: Load8 {
    /// [`STEPS`] steps along `k`, of which the first `count` are wanted, from the places where the columns are.
    ///
    /// # Safety
    /// `count` elements can be read from each place; needs AVX2, FMA and F16C.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn columns<const ROUND: bool>(from: &[*const Self; 8], count: usize) -> [__m256; STEPS] {
        let mut steps = [_mm256_setzero_ps(); STEPS];
        for half in [0, 8] {
            let mut rows = [_mm256_setzero_ps(); 8];
            for i in 0..8 {
                // SAFETY: passed on to the caller.
                rows[i] = unsafe {
                    load::<Self, ROUND>(from[i].wrapping_add(half), count.saturating_sub(half))
                };
            }
            steps[half..half + 8].copy_from_slice(&transpose(rows));
        }
        steps
    }
}
impl Columns for f32 {}
impl Columns for f16 {}
impl Columns for bf16 {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn columns<const ROUND: bool>(from: &[*const Self; 8], count: usize) -> [__m256; STEPS] {
        let mut rows = [_mm256_setzero_ps(); 8];
        for i in 0..8 {
            // SAFETY: passed on to the caller; `rest` is our own.
            unsafe {
                if count >= STEPS {
                    rows[i] = _mm256_loadu_ps(from[i].cast());
                } else {
                    let mut rest = [bf16::ZERO; STEPS];
                    std::ptr::copy_nonoverlapping(from[i], rest.as_mut_ptr(), count);
                    rows[i] = _mm256_loadu_ps(rest.as_ptr().cast());
                }
            }
        }
        let pairs = transpose(rows);
        let mut steps = [_mm256_setzero_ps(); STEPS];
        let high = _mm256_castsi256_ps(_mm256_set1_epi32(0xffff_0000_u32 as i32));
        for (i, &pair) in pairs.iter().enumerate() {
            let low = _mm256_slli_epi32::<16>(_mm256_castps_si256(pair));
            steps[2 * i] = _mm256_castsi256_ps(low);
            steps[2 * i + 1] = _mm256_and_ps(pair, high);
        }
        steps
    }
}

/// `M` rows, and `GROUPS` times eight columns at a time, as many as the registers hold sums for.
///
/// # Safety
/// See [`StreamKernel`]; needs AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn kernel<T: Columns, const ROUND: bool, const M: usize, const GROUPS: usize>(
    a: *const u32,
    strip: &Strip,
    tile: &Tile,
) {
    for first in (0..strip.columns).step_by(8 * GROUPS) {
        let mut sums = [[_mm256_setzero_ps(); GROUPS]; M];
        for k in (0..strip.k).step_by(STEPS) {
            let count = (strip.k - k).min(STEPS);
            // SAFETY: the elements lie in the strip, the values of `A` in its panel.
            unsafe {
                let a = a.cast::<f32>().add(k * M);
                for g in 0..GROUPS {
                    let mut from = [std::ptr::null(); 8];
                    for i in 0..8 {
                        let column = (first + 8 * g + i).min(strip.columns - 1);
                        let at = strip.ptr.wrapping_add(column * strip.stride).cast::<T>();
                        from[i] = at.wrapping_add(k);
                    }
                    if count == STEPS {
                        let columns = T::columns::<ROUND>(&from, STEPS);
                        update(&mut sums, g, a, &columns);
                    } else {
                        let columns = T::columns::<ROUND>(&from, count);
                        update(&mut sums, g, a, &columns[..count]);
                    }
                }
            }
        }
        let tile = tile.columns(first, 8 * GROUPS);
        // SAFETY: passed on to the caller.
        unsafe { store(&sums, &tile) };
    }
}

/// Some steps along `k` for every row and one group of columns.
///
/// # Safety
/// `a` holds `M` values for each step; needs AVX2 and FMA.
#[inline(always)]
unsafe fn update<const M: usize, const GROUPS: usize>(
    sums: &mut [[__m256; GROUPS]; M],
    g: usize,
    a: *const f32,
    columns: &[__m256],
) {
    for (step, &column) in columns.iter().enumerate() {
        for (i, sums) in sums.iter_mut().enumerate() {
            // SAFETY: passed on to the caller.
            sums[g] = unsafe {
                let x = _mm256_set1_ps(*a.add(step * M + i));
                _mm256_fmadd_ps(x, column, sums[g])
            };
        }
    }
}
