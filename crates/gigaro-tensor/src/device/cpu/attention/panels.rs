//! Sizes of the blocks of attention, and its operands packed into panels.

use super::kernel::{MR, NR, Table};
use super::rows::RowKernels;
use super::{Dims, View, kernel_avx2, kernel_avx512, rows_avx2, rows_avx512};
use crate::device::cpu::gemm::pack::{Kind, Packer, Piece, Source};
use crate::device::cpu::gemm::split::Split;
use crate::device::cpu::gemm::{self, Compute, Data};
use crate::device::cpu::isa::{self, Isa};
use std::ops::Range;

/// Keys of a block: four tiles of scores.
pub(super) const BLOCK_K: usize = 128;

/// The precision of the products: its kernels and packers.
#[derive(Clone, Copy)]
pub(super) struct Precision {
    pub(super) table: Table,
    pub(super) rows: RowKernels,
    /// Elements in a 32-bit unit: 1, or 2 in bf16.
    pub(super) per_unit: usize,
    packer: fn(&Source) -> Packer,
}

impl Precision {
    pub(super) fn pick(compute: Compute) -> Self {
        if isa::isa() == Isa::Avx2 {
            return Self {
                table: kernel_avx2::single(),
                rows: rows_avx2::single(),
                per_unit: 1,
                packer: gemm::kernel_avx2::kernels(compute).packer,
            };
        }
        let pairs = compute == Compute::BF16 && isa::has_bf16();
        let gemm = gemm::kernel_avx512::kernels(compute, pairs);
        let (table, rows) = if pairs {
            (kernel_avx512::pairs(), rows_avx512::pairs())
        } else {
            (kernel_avx512::single(), rows_avx512::single())
        };
        Self {
            table,
            rows,
            per_unit: gemm.per_unit,
            packer: gemm.packer,
        }
    }

    /// Units for so many elements along the summed dim.
    pub(super) fn units(&self, elements: usize) -> usize {
        elements.div_ceil(self.per_unit)
    }

    /// Packs all of the width of rows `lanes` as one panel of `width` lanes: `[units(d)][width]`.
    ///
    /// # Safety
    /// The rows exist, and `out` has room.
    pub(super) unsafe fn pack_across(
        &self,
        x: &Head,
        lanes: Range<usize>,
        width: usize,
        d: usize,
        out: *mut u32,
    ) {
        let source = Source {
            ptr: x.ptr,
            kind: x.kind,
            lane: x.stride,
            step: 1,
        };
        let piece = Piece {
            lane0: lanes.start,
            lanes: lanes.len(),
            width,
            k0: 0,
            k1: d,
        };
        // SAFETY: passed on to the caller.
        unsafe { (self.packer)(&source)(&source, piece, out) };
    }

    /// Packs rows as panels of [`NR`] columns, `[d / NR][units][NR]`, with zeros up to `units`.
    ///
    /// # Safety
    /// The rows exist, `out` has room, and `units` is enough for the rows.
    pub(super) unsafe fn pack_along(
        &self,
        x: &Head,
        rows: Range<usize>,
        units: usize,
        d: usize,
        out: *mut u32,
    ) {
        let source = Source {
            ptr: x.ptr,
            kind: x.kind,
            lane: 1,
            step: x.stride,
        };
        for panel in 0..d.div_ceil(NR) {
            let lanes = NR.min(d - panel * NR);
            let piece = Piece {
                lane0: panel * NR,
                lanes,
                width: NR,
                k0: rows.start,
                k1: rows.end,
            };
            let filled = self.units(rows.len());
            // SAFETY: passed on to the caller.
            unsafe {
                let out = out.add(panel * units * NR);
                (self.packer)(&source)(&source, piece, out);
                out.add(filled * NR).write_bytes(0, (units - filled) * NR);
            }
        }
    }
}

/// The rows of one head of an operand.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) ptr: *const u8,
    pub(super) kind: Kind,
    /// From one row to the next, in elements.
    pub(super) stride: usize,
}

// SAFETY: only read, while the slice it comes from is borrowed.
unsafe impl Sync for Head {}

impl View<'_> {
    /// The rows of head `h` of batch entry `b`.
    pub(super) fn head(&self, b: usize, h: usize) -> Head {
        let (ptr, kind): (*const u8, _) = match self.data {
            Data::F32(x) => (x.as_ptr().cast(), Kind::F32),
            Data::BF16(x) => (x.as_ptr().cast(), Kind::BF16),
            Data::F16(x) => (x.as_ptr().cast(), Kind::F16),
            Data::F64(_) | Data::I64(_) | Data::I32(_) => unreachable!("checked"),
        };
        let start = (b * self.strides[0] + h * self.strides[1]) * kind.size_bytes();
        Head {
            ptr: ptr.wrapping_add(start),
            kind,
            stride: self.strides[2],
        }
    }
}

impl Head {
    /// Row `t`, of an operand in f32.
    pub(super) fn row(&self, t: usize) -> *const f32 {
        debug_assert_eq!(self.kind, Kind::F32);
        self.ptr.cast::<f32>().wrapping_add(t * self.stride)
    }
}

/// Some queries, cut into tiles of an even number of rows, so that two neighbours make a pair. The last tile may have
/// a row too many, which sees nothing.
#[derive(Clone, Copy)]
pub(super) struct Queries {
    /// The first one.
    pub(super) start: usize,
    /// How many there are.
    pub(super) count: usize,
    pairs: Split,
}

impl Queries {
    pub(super) fn new(range: Range<usize>) -> Self {
        let count = range.len();
        Self {
            start: range.start,
            count,
            pairs: Split::at_most(count.div_ceil(2), MR / 2),
        }
    }

    /// Rows of all tiles.
    pub(super) fn rows(&self) -> usize {
        self.count.next_multiple_of(2)
    }

    pub(super) fn tiles(&self) -> usize {
        self.pairs.parts()
    }

    /// The rows of a tile, counted from the first query.
    pub(super) fn tile(&self, i: usize) -> Range<usize> {
        2 * self.pairs.start(i)..2 * self.pairs.start(i + 1)
    }

    /// How many keys a row sees; none for the row too many.
    pub(super) fn visible(&self, dims: &Dims, causal: bool, row: usize) -> usize {
        if row < self.count {
            dims.visible(causal, self.start + row)
        } else {
            0
        }
    }

    /// How many keys any row up to `end` sees.
    pub(super) fn visible_to(&self, dims: &Dims, causal: bool, end: usize) -> usize {
        end.min(self.count)
            .checked_sub(1)
            .map_or(0, |last| self.visible(dims, causal, last))
    }

    /// Packs the rows as the tiles read them, one panel `[units(d)][height]` after the other.
    ///
    /// # Safety
    /// `x` has these queries, and `out` room for all rows.
    pub(super) unsafe fn pack(&self, p: &Precision, x: &Head, d: usize, out: *mut u32) {
        for i in 0..self.tiles() {
            let rows = self.tile(i);
            let lanes = self.start + rows.start..self.start + rows.end.min(self.count);
            // SAFETY: passed on to the caller.
            unsafe { p.pack_across(x, lanes, rows.len(), d, out.add(rows.start * p.units(d))) };
        }
    }
}

/// Packs keys `range` of a head as panels of [`NR`] lanes, `[keys / NR][units(d)][NR]`.
///
/// # Safety
/// The keys exist, and `out` has room.
pub(super) unsafe fn pack_keys(
    p: &Precision,
    x: &Head,
    range: Range<usize>,
    d: usize,
    out: *mut u32,
) {
    for (i, key) in range.clone().step_by(NR).enumerate() {
        let lanes = key..(key + NR).min(range.end);
        // SAFETY: passed on to the caller.
        unsafe { p.pack_across(x, lanes, NR, d, out.add(i * p.units(d) * NR)) };
    }
}
