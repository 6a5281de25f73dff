//! The streaming kernels for AVX2. Sixteen columns, each contiguous along `k`, are read sixteen elements at a time,
//! transposed in registers, and multiplied step by step in the order of the blocked kernel, so that the bits are
//! the same.
//!
//! While one strip of columns is multiplied, the same place in the next strip is fetched.

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
            kernel::<$type, $round, 5, 2>,
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
    /// Reads [`STEPS`] elements of each column and writes the steps along `k`.
    ///
    /// # Safety
    /// The elements can be read; needs AVX2, FMA and F16C.
    // Inlined by force, so that the blocks are transposed in registers.
    #[inline(always)]
    unsafe fn read<const ROUND: bool>(from: &[*const Self; 8], steps: &mut [__m256; STEPS]) {
        // SAFETY: passed on to the caller.
        unsafe {
            for half in [0, 8] {
                let mut rows = [_mm256_setzero_ps(); 8];
                for i in 0..8 {
                    rows[i] = load::<Self, ROUND>(from[i].wrapping_add(half), 8);
                }
                let columns = transpose(rows);
                steps[half..half + 8].copy_from_slice(&columns);
            }
        }
    }
}
impl Columns for f32 {}
impl Columns for f16 {}
impl Columns for bf16 {
    /// Two neighbours are transposed as one 32-bit word and parted afterwards, which takes half the shuffles.
    #[inline(always)]
    unsafe fn read<const ROUND: bool>(from: &[*const Self; 8], steps: &mut [__m256; STEPS]) {
        // SAFETY: passed on to the caller.
        unsafe {
            let mut rows = [_mm256_setzero_ps(); 8];
            for i in 0..8 {
                rows[i] = _mm256_loadu_ps(from[i].cast());
            }
            let pairs = transpose(rows);
            let high = _mm256_castsi256_ps(_mm256_set1_epi32(0xffff_0000_u32 as i32));
            for i in 0..8 {
                let low = _mm256_slli_epi32::<16>(_mm256_castps_si256(pairs[i]));
                steps[2 * i] = _mm256_castsi256_ps(low);
                steps[2 * i + 1] = _mm256_and_ps(pairs[i], high);
            }
        }
    }
}

/// `M` rows, and `VECTORS` times eight columns at a time, as many as the registers hold sums for.
///
/// # Safety
/// See [`StreamKernel`]; needs AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn kernel<T: Columns, const ROUND: bool, const M: usize, const VECTORS: usize>(
    a: *const u32,
    strip: &Strip,
    tile: &Tile,
) {
    let mut tail = [[0u32; STEPS]; 16];
    let mut columns = [[_mm256_setzero_ps(); STEPS]; VECTORS];
    for first in (0..strip.columns).step_by(8 * VECTORS) {
        // Past the end the last column is read again and dropped.
        let mut from = [[std::ptr::null::<T>(); 8]; VECTORS];
        for (at, from) in from.as_flattened_mut().iter_mut().enumerate() {
            let column = (first + at).min(strip.columns - 1);
            *from = strip.ptr.wrapping_add(column * strip.stride).cast();
        }
        let mut sums = [[_mm256_setzero_ps(); VECTORS]; M];
        for k in (0..strip.k).step_by(STEPS) {
            let count = (strip.k - k).min(STEPS);
            if count < STEPS {
                // Nothing behind the end may be read, so the last elements come from a place with room behind them.
                for (from, tail) in from.as_flattened_mut().iter_mut().zip(&mut tail) {
                    let to = tail.as_mut_ptr().cast::<T>();
                    // SAFETY: the elements lie in the strip, and none is wider than 32 bits.
                    unsafe { std::ptr::copy_nonoverlapping(*from, to, count) };
                    *from = to;
                }
            }
            // SAFETY: the elements lie in the strip or the tail, the values of `A` in its panel; prefetching never
            // faults.
            unsafe {
                for (from, columns) in from.iter_mut().zip(&mut columns) {
                    for from in from.iter() {
                        let next = from.wrapping_byte_add(16 * strip.stride);
                        _mm_prefetch::<_MM_HINT_T0>(next.cast());
                    }
                    T::read::<ROUND>(from, columns);
                    *from = from.map(|from| from.wrapping_add(STEPS));
                }
                let a = a.cast::<f32>().add(k * M);
                if count == STEPS {
                    // A number of steps that the compiler knows, so that the loop unrolls.
                    update(&mut sums, a, &columns, STEPS);
                } else {
                    update(&mut sums, a, &columns, count);
                }
            }
        }
        // SAFETY: passed on to the caller.
        unsafe { store(&sums, &tile.columns(first, 8 * VECTORS)) };
    }
}

/// The first `count` steps along `k`.
///
/// # Safety
/// `a` holds that many steps; needs AVX2 and FMA.
#[inline(always)]
unsafe fn update<const M: usize, const VECTORS: usize>(
    sums: &mut [[__m256; VECTORS]; M],
    a: *const f32,
    columns: &[[__m256; STEPS]; VECTORS],
    count: usize,
) {
    for step in 0..count {
        for i in 0..M {
            // SAFETY: passed on to the caller.
            let x = unsafe { _mm256_set1_ps(*a.add(step * M + i)) };
            for v in 0..VECTORS {
                // SAFETY: passed on to the caller.
                sums[i][v] = unsafe { _mm256_fmadd_ps(x, columns[v][step], sums[i][v]) };
            }
        }
    }
}
