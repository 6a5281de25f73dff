//! The streaming kernels for AVX-512. Sixteen columns, each contiguous along `k`, are read a cache line at a
//! time, transposed in registers, and multiplied step by step in the order of the blocked kernel, so
//! that the bits are the same.
//!
//! A transpose is 64 shuffles for a kilobyte: faster than any memory delivers it. While one strip of
//! columns is multiplied, the same place in the strip that follows is fetched into the second-level cache.

use super::kernel_avx512::store;
use super::kernels::{StreamKernel, Strip, Tile};
use super::pack::Kind;
use super::pack_avx512::{LoadUnits, transpose};
use half::{bf16, f16};
use std::arch::x86_64::*;

macro_rules! table {
    ($kernel:ident, $type:ty) => {{
        static TABLE: [StreamKernel; 9] = [
            $kernel::<$type, 1>,
            $kernel::<$type, 1>,
            $kernel::<$type, 2>,
            $kernel::<$type, 3>,
            $kernel::<$type, 4>,
            $kernel::<$type, 5>,
            $kernel::<$type, 6>,
            $kernel::<$type, 7>,
            $kernel::<$type, 8>,
        ];
        Some(&TABLE)
    }};
}

/// Kernels with products in f32.
pub(super) fn single(kind: Kind) -> Option<&'static [StreamKernel]> {
    match kind {
        Kind::F32 => table!(kernel_single, f32),
        Kind::BF16 => table!(kernel_halves, bf16),
        Kind::F16 => table!(kernel_single, f16),
    }
}

/// Kernels that round to bf16 before they multiply.
pub(super) fn rounded(kind: Kind) -> Option<&'static [StreamKernel]> {
    match kind {
        Kind::F32 => table!(kernel_rounded, f32),
        Kind::BF16 => table!(kernel_halves, bf16),
        Kind::F16 => table!(kernel_rounded, f16),
    }
}

/// Kernels with products in bf16.
pub(super) fn pairs(kind: Kind) -> Option<&'static [StreamKernel]> {
    match kind {
        Kind::F32 => table!(kernel_pairs, f32),
        Kind::BF16 => table!(kernel_pairs, bf16),
        Kind::F16 => table!(kernel_pairs, f16),
    }
}

/// A register of a column holds 16 elements along `k`, and a value of `A` is one number.
const SINGLE: u8 = 0;
/// It holds 16 pairs in bf16, and so does a value of `A`.
const PAIRS: u8 = 1;
/// It holds 16 pairs in bf16, which are multiplied one after the other as f32, each with a value of `A`: half as many shuffles as
/// widening before the transpose takes.
const HALVES: u8 = 2;

/// The kernel is written once; a machine without BF16 must not run code compiled for it.
macro_rules! kernel {
    ($name:ident, $features:literal, $form:ident, $load:ident) => {
        /// # Safety
        /// See [`StreamKernel`]; needs the features below.
        #[target_feature(enable = $features)]
        unsafe fn $name<T: LoadUnits, const M: usize>(a: *const u32, strip: &Strip, tile: &Tile) {
            let per_load = if $form == SINGLE { 16 } else { 32 };
            let units = if $form == HALVES { 2 } else { 1 };
            let mut sums = [_mm512_setzero_ps(); M];
            let whole = strip.k / per_load;
            // SAFETY: the elements lie in the strip, the values of `A` in its panel.
            unsafe {
                for chunk in 0..whole {
                    let columns = transpose(std::array::from_fn(|i| {
                        let from = strip
                            .ptr
                            .wrapping_add(i.min(strip.columns - 1) * strip.stride)
                            .cast::<T>();
                        let from = from.wrapping_add(chunk * per_load);
                        _mm_prefetch::<_MM_HINT_T1>(from.wrapping_byte_add(strip.ahead).cast());
                        T::$load(from, per_load)
                    }));
                    let a = a.add(chunk * 16 * units * M);
                    for (step, &column) in columns.iter().enumerate() {
                        let a = a.add(step * units * M);
                        update::<$form, M>(&mut sums, a, column, units);
                    }
                }
                let rest = strip.k - whole * per_load;
                if rest > 0 {
                    let columns = transpose(std::array::from_fn(|i| {
                        let from = strip
                            .ptr
                            .wrapping_add(i.min(strip.columns - 1) * strip.stride)
                            .cast::<T>();
                        let from = from.wrapping_add(whole * per_load);
                        T::$load(from, rest)
                    }));
                    let a = a.add(whole * 16 * units * M);
                    for step in 0..rest.div_ceil(per_load / 16) {
                        let left = units.min(rest - step * (per_load / 16));
                        let a = a.add(step * units * M);
                        update::<$form, M>(&mut sums, a, columns[step], left);
                    }
                }
                store::<M, 1>(&sums.map(|sum| [sum]), tile);
            }
        }
    };
}
kernel!(
    kernel_single,
    "avx512f,avx512bw,avx512dq,avx512vl",
    SINGLE,
    load_single
);
kernel!(
    kernel_rounded,
    "avx512f,avx512bw,avx512dq,avx512vl",
    SINGLE,
    load_rounded
);
kernel!(
    kernel_pairs,
    "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16",
    PAIRS,
    load_pairs
);
kernel!(
    kernel_halves,
    "avx512f,avx512bw,avx512dq,avx512vl",
    HALVES,
    load_as_they_are
);

/// One step along `k` for every row, or the first `units` of the two in a register of [`HALVES`].
///
/// # Safety
/// `a` holds `M` values for each unit; needs AVX-512, with BF16 for pairs.
#[inline(always)]
unsafe fn update<const FORM: u8, const M: usize>(
    sums: &mut [__m512; M],
    a: *const u32,
    column: __m512,
    units: usize,
) {
    // SAFETY: passed on to the caller.
    unsafe {
        let value = |i: usize| _mm512_set1_epi32(a.add(i).cast::<i32>().read());
        let bits = _mm512_castps_si512(column);
        let low = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits));
        let high = _mm512_and_si512(bits, _mm512_set1_epi32(0xffff_0000_u32 as i32));
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = match FORM {
                PAIRS => _mm512_dpbf16_ps(*sum, as_pairs(value(i)), as_pairs(bits)),
                SINGLE => _mm512_fmadd_ps(_mm512_castsi512_ps(value(i)), column, *sum),
                _ => {
                    let first = _mm512_fmadd_ps(_mm512_castsi512_ps(value(i)), low, *sum);
                    if units == 1 {
                        first
                    } else {
                        let x = _mm512_castsi512_ps(value(M + i));
                        _mm512_fmadd_ps(x, _mm512_castsi512_ps(high), first)
                    }
                }
            };
        }
    }
}

/// The same bits, as pairs in bf16.
#[inline(always)]
fn as_pairs(x: __m512i) -> __m512bh {
    // SAFETY: 512 bits either way.
    unsafe { std::mem::transmute::<__m512i, __m512bh>(x) }
}
