//! One tile of `C`: the micro-kernels run over its panels and all of `k`, and the sums find their way
//! into `C`.

use super::driver::Product;
use super::kernels::Tile;
use super::pack::{Kind, Widen};
use super::panels::{PackedColumns, PackedRows};
use crate::device::cpu::scratch::Scratch;
use half::{bf16, f16};
use std::ops::Range;

/// Panels of rows and of columns that make up a tile of `C`.
pub(super) struct Region {
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

/// Where a tile finds its columns of `B`.
pub(super) enum Columns {
    Packed(PackedColumns),
    /// In the matrix; one block of one panel at a time is packed to this buffer.
    Unpacked(*mut u32),
}

/// The element at `index`, or null where there is no bias or it is not wanted.
fn offset(bias: *const f32, index: usize, wanted: bool) -> *const f32 {
    if wanted && !bias.is_null() {
        bias.wrapping_add(index)
    } else {
        std::ptr::null()
    }
}

impl Product {
    /// Computes a tile of `C` through all of `k`.
    pub(super) fn compute(&self, region: &Region, a: &PackedRows, b: &Columns) {
        let nr = self.kernels.nr;
        let (row0, column0) = (a.rows.start(region.rows.start), region.columns.start * nr);
        let row_count = a.rows.start(region.rows.end) - row0;
        let direct = self.is_direct();
        let mut sums = Scratch::take(if direct {
            0
        } else {
            row_count * region.columns.len() * nr
        });
        let (c, ldc) = if direct {
            (
                self.c
                    .ptr
                    .cast::<f32>()
                    .wrapping_add(row0 * self.rs + column0),
                self.rs,
            )
        } else {
            (sums.as_mut_ptr().cast::<f32>(), region.columns.len() * nr)
        };
        let blocks = self.blocks();
        for block in 0..blocks.parts() {
            let units = blocks.start(block)..blocks.start(block + 1);
            let biased = direct && block + 1 == blocks.parts();
            for panel in region.columns.clone() {
                let b = self.columns_panel(b, panel, &units);
                let (column, cols) = (panel * nr, nr.min(self.n - panel * nr));
                for rows in region.rows.clone() {
                    let (row, height) = (a.rows.start(rows), a.rows.len(rows));
                    if self.symmetric && row + height <= column {
                        continue;
                    }
                    let tile = Tile {
                        c: c.wrapping_add((row - row0) * ldc + column - column0),
                        ldc,
                        cols,
                        add: block > 0 || (direct && self.accumulate),
                        row_bias: offset(self.row_bias, row, biased),
                        col_bias: offset(self.col_bias, column, biased),
                    };
                    // SAFETY: the panels are packed, and the tile lies in `C`, where it is this task's own,
                    // or in the buffer.
                    unsafe {
                        self.kernels.run[height](units.len(), a.panel(rows, units.start), b, &tile)
                    };
                }
            }
        }
        if !direct {
            let columns = column0..(region.columns.end * nr).min(self.n);
            self.write(
                row0..row0 + row_count,
                columns,
                &sums.floats()[..row_count * ldc],
                ldc,
            );
        }
    }

    /// The packed units `units` of a panel of columns.
    fn columns_panel(&self, b: &Columns, panel: usize, units: &Range<usize>) -> *const u32 {
        match b {
            Columns::Packed(b) => b.panel(panel, units.start, self.kernels.nr),
            &Columns::Unpacked(buffer) => {
                // SAFETY: the columns exist, and the buffer has room for a block.
                unsafe { (self.pack_b)(&self.b, self.columns_piece(panel, units), buffer) };
                buffer
            }
        }
    }

    /// Writes finished sums to a `C` that the micro-kernels cannot write to.
    fn write(&self, rows: Range<usize>, columns: Range<usize>, sums: &[f32], ld: usize) {
        match self.c.kind {
            Kind::F32 => self.write_as::<f32>(rows, columns, sums, ld),
            Kind::BF16 => self.write_as::<bf16>(rows, columns, sums, ld),
            Kind::F16 => self.write_as::<f16>(rows, columns, sums, ld),
        }
    }

    fn write_as<T: Narrow>(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        sums: &[f32],
        ld: usize,
    ) {
        let c = self.c.ptr.cast::<T>();
        let one = |i: usize, j: usize| {
            let mut x = sums[(i - rows.start) * ld + j - columns.start];
            // SAFETY: the element and the biases exist, and the element is this task's own.
            unsafe {
                let at = c.add(i * self.rs + j * self.cs);
                if self.accumulate {
                    x += (*at).widen();
                }
                if !self.col_bias.is_null() {
                    x += *self.col_bias.add(j);
                }
                if !self.row_bias.is_null() {
                    x += *self.row_bias.add(i);
                }
                *at = T::narrow(x);
            }
        };
        if self.cs <= self.rs {
            rows.clone()
                .for_each(|i| columns.clone().for_each(|j| one(i, j)));
        } else {
            columns
                .clone()
                .for_each(|j| rows.clone().for_each(|i| one(i, j)));
        }
    }
}

/// An element type that a sum is rounded to.
trait Narrow: Widen {
    fn narrow(x: f32) -> Self;
}
impl Narrow for f32 {
    fn narrow(x: f32) -> Self {
        x
    }
}
impl Narrow for bf16 {
    fn narrow(x: f32) -> Self {
        bf16::from_f32(x)
    }
}
impl Narrow for f16 {
    fn narrow(x: f32) -> Self {
        f16::from_f32(x)
    }
}
