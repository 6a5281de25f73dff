//! The table of micro-kernels and packers for one instruction set, so that the driver is written once.

use super::Compute;
use super::pack::{Kind, Packer, Source};
use crate::device::cpu::isa::{self, Isa};

/// Updates a tile of `C` with a stretch of `k`: `units` steps over a packed panel of `A` (so many values per
/// step as the tile has rows) and one of `B` ([`Kernels::nr`] values per step).
///
/// # Safety
/// The panels hold that many steps, the tile's pointers are good for its rows and columns, and the machine
/// has the kernel's instructions.
pub(in crate::device::cpu) type MicroKernel =
    unsafe fn(units: usize, a: *const u32, b: *const u32, tile: &Tile);

/// Where a micro-kernel puts its sums.
#[derive(Clone, Copy, Debug)]
pub(in crate::device::cpu) struct Tile {
    /// The first element.
    pub(in crate::device::cpu) c: *mut f32,
    /// From one row to the next; columns are adjacent.
    pub(in crate::device::cpu) ldc: usize,
    /// Columns to write; at most the kernel's width.
    pub(in crate::device::cpu) cols: usize,
    /// Adds to what is there.
    pub(in crate::device::cpu) add: bool,
    /// Values to add to each row at last, or null.
    pub(in crate::device::cpu) row_bias: *const f32,
    /// Values to add to each column at last, or null.
    pub(in crate::device::cpu) col_bias: *const f32,
}

impl Tile {
    /// At most `count` of its columns, from `first` on; none if there are not so many.
    #[inline(always)]
    pub(in crate::device::cpu) fn columns(&self, first: usize, count: usize) -> Self {
        let col_bias = match self.col_bias {
            p if p.is_null() => p,
            p => p.wrapping_add(first),
        };
        Self {
            c: self.c.wrapping_add(first),
            cols: self.cols.saturating_sub(first).min(count),
            col_bias,
            ..*self
        }
    }
}

/// Updates a tile of few rows with a stretch of `k`, reading up to 16 columns of `B` where they lie in memory.
///
/// # Safety
/// As [`MicroKernel`]; the columns of `strip` can be read.
pub(in crate::device::cpu) type StreamKernel = unsafe fn(a: *const u32, strip: &Strip, tile: &Tile);

/// Columns of `B` whose elements along `k` are neighbours in memory, as the rows of a weight.
#[derive(Clone, Copy, Debug)]
pub(in crate::device::cpu) struct Strip {
    /// The first element of the stretch in the first column.
    pub(in crate::device::cpu) ptr: *const u8,
    /// From one column to the next, in bytes.
    pub(in crate::device::cpu) stride: usize,
    /// Columns, at most 16.
    pub(in crate::device::cpu) columns: usize,
    /// Elements of the stretch.
    pub(in crate::device::cpu) k: usize,
    /// From here to the same stretch of the strip that the thread will probably read next, in bytes.
    pub(in crate::device::cpu) ahead: usize,
}

/// What the driver needs to know of an instruction set.
#[derive(Clone, Copy)]
pub(in crate::device::cpu) struct Kernels {
    /// The tile's most rows.
    pub(in crate::device::cpu) mr: usize,
    /// The tile's columns.
    pub(in crate::device::cpu) nr: usize,
    /// Elements along `k` in a 32-bit unit: 1, or 2 in bf16.
    pub(in crate::device::cpu) per_unit: usize,
    /// Units of `k` in a block, as many as the first-level cache keeps of what a tile uses again and again.
    /// Part of what fixes the bits of the result.
    pub(in crate::device::cpu) block_units: usize,
    /// `run[r]` computes tiles of `r` rows; there is none for 0.
    pub(in crate::device::cpu) run: &'static [MicroKernel],
    /// For `B` of a given kind, the kernels that read it in place, if there are any: entry `r` is for `r`
    /// rows.
    pub(in crate::device::cpu) stream: fn(Kind) -> Option<&'static [StreamKernel]>,
    /// Packs panels from sources of a given kind.
    pub(in crate::device::cpu) packer: fn(&Source) -> Packer,
}

impl Kernels {
    /// Units along `k` for so many elements.
    pub(in crate::device::cpu) fn units(&self, k: usize) -> usize {
        k.div_ceil(self.per_unit)
    }

    /// The kernels for the instruction set in force on this thread.
    pub(in crate::device::cpu) fn pick(compute: Compute) -> Self {
        match isa::isa() {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => super::kernel_avx512::kernels(compute, isa::has_bf16()),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => super::kernel_avx2::kernels(compute),
            other => super::kernel_portable::kernels(other, compute),
        }
    }
}
