//! The products inside attention: what a micro-kernel is asked for, and the tables of them.
//!
//! They are those of the matrix product, for an `A` that is not packed but lies in a buffer of scores, by rows or by
//! columns. `kernel_avx512.rs` and `kernel_avx2.rs` have the loops.

use super::panels::BLOCK_K;
use crate::device::cpu::gemm::kernels::Tile;

/// Columns of a tile.
pub(super) const NR: usize = 32;
/// The most rows of a tile.
pub(super) const MR: usize = 14;
/// From one row of a buffer of scores to the next, in 32-bit words: a block of keys, and a cache line more, so that
/// rows do not fall on the same place of the cache.
pub(super) const LD: usize = BLOCK_K + 16;

/// Adds `steps` products to a tile: value `i` of step `p` of `A` is `a[i * rows + p * a_step]`, where `rows`
/// depends on the kernel, and `B` has [`NR`] values per step.
///
/// # Safety
/// The operands hold those steps, and the tile's pointers are good for its rows and [`NR`] columns. The machine has
/// the kernel's instructions.
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
pub(super) use table;
