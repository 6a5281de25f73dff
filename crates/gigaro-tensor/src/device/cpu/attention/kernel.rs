//! The micro-kernels of attention: those of the matrix product, for an `A` that is not packed but lies in a
//! buffer of scores, by rows or by columns.

use crate::device::cpu::gemm::kernel_avx512::store;
use crate::device::cpu::gemm::kernels::Tile;
use std::arch::x86_64::*;

/// Columns of a tile.
pub(super) const NR: usize = 32;
/// The most rows of a tile.
pub(super) const MR: usize = 14;
/// From one row of a buffer of scores to the next, in 32-bit words: a block of keys, and a cache line more, so that
/// rows do not fall on the same place of the cache.
pub(super) const LD: usize = super::panels::BLOCK_K + 16;

/// Adds `steps` products to a tile: value `i` of step `p` of `A` is `a[i * rows + p * a_step]`, where `rows`
/// depends on the kernel, and `B` has [`NR`] values per step.
///
/// # Safety
/// The operands hold those steps, and the tile's pointers are good for its rows and columns. The machine has
/// AVX-512, with BF16 for pairs.
pub(super) type Kernel =
    unsafe fn(steps: usize, a: *const u32, a_step: usize, b: *const u32, tile: &Tile);

/// The kernels for one precision; entry `r` is for `r` rows.
#[derive(Clone, Copy)]
pub(super) struct Table {
    /// Rows of `A` are neighbours.
    pub(super) adjacent: &'static [Kernel; MR + 1],
    /// Rows of `A` are rows of weights: [`LD`] elements of this precision apart.
    pub(super) rows: &'static [Kernel; MR + 1],
    /// Rows of `A` are [`LD`] words apart.
    pub(super) wide_rows: &'static [Kernel; MR + 1],
}

macro_rules! table {
    ($kernel:ident, $rows:expr) => {{
        static TABLE: [Kernel; MR + 1] = [
            $kernel::<1, { $rows }>,
            $kernel::<1, { $rows }>,
            $kernel::<2, { $rows }>,
            $kernel::<3, { $rows }>,
            $kernel::<4, { $rows }>,
            $kernel::<5, { $rows }>,
            $kernel::<6, { $rows }>,
            $kernel::<7, { $rows }>,
            $kernel::<8, { $rows }>,
            $kernel::<9, { $rows }>,
            $kernel::<10, { $rows }>,
            $kernel::<11, { $rows }>,
            $kernel::<12, { $rows }>,
            $kernel::<13, { $rows }>,
            $kernel::<14, { $rows }>,
        ];
        &TABLE
    }};
}

/// Units of one f32.
pub(super) fn single() -> Table {
    let rows = table!(kernel_single, LD);
    Table {
        adjacent: table!(kernel_single, 1),
        rows,
        wide_rows: rows,
    }
}

/// Units of a pair in bf16.
pub(super) fn pairs() -> Table {
    Table {
        adjacent: table!(kernel_pairs, 1),
        rows: table!(kernel_pairs, LD / 2),
        wide_rows: table!(kernel_pairs, LD),
    }
}

/// # Safety
/// See [`Kernel`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn kernel_single<const M: usize, const ROWS: usize>(
    steps: usize,
    a: *const u32,
    a_step: usize,
    b: *const u32,
    tile: &Tile,
) {
    let (mut a, mut b) = (a.cast::<f32>(), b.cast::<f32>());
    let mut sums = [[_mm512_setzero_ps(); 2]; M];
    // SAFETY: passed on to the caller.
    unsafe {
        for _ in 0..steps {
            let (b0, b1) = (_mm512_loadu_ps(b), _mm512_loadu_ps(b.add(16)));
            for i in 0..M {
                let x = _mm512_set1_ps(*a.add(i * ROWS));
                sums[i][0] = _mm512_fmadd_ps(x, b0, sums[i][0]);
                sums[i][1] = _mm512_fmadd_ps(x, b1, sums[i][1]);
            }
            a = a.wrapping_add(a_step);
            b = b.wrapping_add(NR);
        }
        store::<M, 2>(&sums, tile);
    }
}

/// # Safety
/// See [`Kernel`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn kernel_pairs<const M: usize, const ROWS: usize>(
    steps: usize,
    a: *const u32,
    a_step: usize,
    b: *const u32,
    tile: &Tile,
) {
    let (mut a, mut b) = (a.cast::<i32>(), b.cast::<i32>());
    let mut sums = [[_mm512_setzero_ps(); 2]; M];
    // SAFETY: passed on to the caller.
    unsafe {
        for _ in 0..steps {
            let b0: __m512bh = std::mem::transmute(_mm512_loadu_epi32(b));
            let b1: __m512bh = std::mem::transmute(_mm512_loadu_epi32(b.add(16)));
            for i in 0..M {
                let x: __m512bh = std::mem::transmute(_mm512_set1_epi32(*a.add(i * ROWS)));
                sums[i][0] = _mm512_dpbf16_ps(sums[i][0], x, b0);
                sums[i][1] = _mm512_dpbf16_ps(sums[i][1], x, b1);
            }
            a = a.wrapping_add(a_step);
            b = b.wrapping_add(NR);
        }
        store::<M, 2>(&sums, tile);
    }
}
