//! The inner loop for AVX2 with FMA: a tile of up to 6 by 16 sums in 12 of the 16 registers.
//!
//! Without a bf16 dot product, bf16 operands are rounded while they are packed and multiplied as f32.

use super::Compute;
use super::kernels::{Kernels, MicroKernel, Tile};
use super::{pack_avx2, stream_avx2};
use std::arch::x86_64::*;

const NR: usize = 16;
/// Steps along `k` that a turn of the loop makes.
const UNROLL: usize = 4;

/// The table for this instruction set.
pub(in crate::device::cpu) fn kernels(compute: Compute) -> Kernels {
    let (packer, stream) = match compute {
        Compute::F32 => (pack_avx2::packer::<false> as _, stream_avx2::single as _),
        Compute::BF16 => (pack_avx2::packer::<true> as _, stream_avx2::rounded as _),
    };
    Kernels {
        mr: 6,
        nr: NR,
        per_unit: 1,
        // A block of a panel of `B` is 16 KB, half of the first-level cache.
        block_units: 256,
        run: &TABLE,
        stream,
        packer,
    }
}

static TABLE: [MicroKernel; 7] = [
    kernel::<1>,
    kernel::<1>,
    kernel::<2>,
    kernel::<3>,
    kernel::<4>,
    kernel::<5>,
    kernel::<6>,
];

/// # Safety
/// See [`MicroKernel`]; needs AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn kernel<const MR: usize>(units: usize, a: *const u32, b: *const u32, tile: &Tile) {
    // SAFETY: passed on to the caller.
    unsafe {
        prefetch_tile::<MR>(tile);
        let (mut a, mut b) = (a.cast::<f32>(), b.cast::<f32>());
        let mut sums = [[_mm256_setzero_ps(); 2]; MR];
        for _ in 0..units / UNROLL {
            for step in 0..UNROLL {
                update(&mut sums, a.add(step * MR), b.add(step * NR));
            }
            a = a.add(UNROLL * MR);
            b = b.add(UNROLL * NR);
        }
        for step in 0..units % UNROLL {
            update(&mut sums, a.add(step * MR), b.add(step * NR));
        }
        store(&sums, tile);
    }
}

/// One step along `k`.
///
/// # Safety
/// `a` holds `MR` values and `b` 16; needs AVX2 and FMA.
#[inline(always)]
unsafe fn update<const MR: usize>(sums: &mut [[__m256; 2]; MR], a: *const f32, b: *const f32) {
    // SAFETY: passed on to the caller.
    unsafe {
        let b0 = _mm256_loadu_ps(b);
        let b1 = _mm256_loadu_ps(b.add(8));
        for (i, sums) in sums.iter_mut().enumerate() {
            let x = _mm256_set1_ps(*a.add(i));
            sums[0] = _mm256_fmadd_ps(x, b0, sums[0]);
            sums[1] = _mm256_fmadd_ps(x, b1, sums[1]);
        }
    }
}

/// Fetches the tile of `C` while the products run, so that the update at the end does not wait.
///
/// # Safety
/// None beyond the instruction set: prefetching never faults.
#[inline(always)]
unsafe fn prefetch_tile<const MR: usize>(tile: &Tile) {
    for i in 0..MR {
        let row = tile.c.wrapping_add(i * tile.ldc).cast::<i8>();
        // SAFETY: prefetching is allowed at any address.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(row);
            _mm_prefetch::<_MM_HINT_T0>(row.wrapping_add(63));
        }
    }
}

/// Whole vectors go to the tile as they are, the ragged edge one element at a time.
///
/// # Safety
/// The tile's pointers are good for `MR` rows and its columns; needs AVX2.
// Inlined by force, so that the sums never leave their registers.
#[inline(always)]
pub(super) unsafe fn store<const MR: usize, const VECTORS: usize>(
    sums: &[[__m256; VECTORS]; MR],
    tile: &Tile,
) {
    // SAFETY: passed on to the caller; vectors are written as such only if all of them lie inside the tile.
    unsafe {
        if tile.cols == 8 * VECTORS {
            return store_whole(*sums, tile);
        }
        for (i, row) in sums.iter().enumerate() {
            // As many numbers as the row of the largest tile.
            let mut numbers = [0.0f32; NR];
            for (v, &x) in row.iter().enumerate() {
                _mm256_storeu_ps(numbers.as_mut_ptr().add(8 * v), x);
            }
            tile.store_row(i, &numbers);
        }
    }
}

/// A tile without a ragged edge. What is added meets the sums in the order of [`Tile::store_row`], each in a
/// loop of its own that unrolls into registers.
///
/// # Safety
/// As [`store`].
#[inline(always)]
unsafe fn store_whole<const MR: usize, const VECTORS: usize>(
    mut sums: [[__m256; VECTORS]; MR],
    tile: &Tile,
) {
    let at = |i: usize, v: usize| tile.c.wrapping_add(i * tile.ldc + 8 * v);
    // SAFETY: passed on to the caller.
    unsafe {
        if tile.add {
            for i in 0..MR {
                for v in 0..VECTORS {
                    sums[i][v] = _mm256_add_ps(_mm256_loadu_ps(at(i, v)), sums[i][v]);
                }
            }
        }
        if !tile.col_bias.is_null() {
            for v in 0..VECTORS {
                let bias = _mm256_loadu_ps(tile.col_bias.add(8 * v));
                for i in 0..MR {
                    sums[i][v] = _mm256_add_ps(sums[i][v], bias);
                }
            }
        }
        if !tile.row_bias.is_null() {
            for i in 0..MR {
                let bias = _mm256_set1_ps(*tile.row_bias.add(i));
                for v in 0..VECTORS {
                    sums[i][v] = _mm256_add_ps(sums[i][v], bias);
                }
            }
        }
        for i in 0..MR {
            for v in 0..VECTORS {
                _mm256_storeu_ps(at(i, v), sums[i][v]);
            }
        }
    }
}
