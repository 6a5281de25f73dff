//! The packed operands of a product: which panel lies where, and in what order they are filled.

use super::driver::Product;
use super::pack::{Piece, Source};
use super::split::Split;
use std::ops::Range;

/// Panels that are packed by one task, where the elements along `k` are neighbours in memory.
const PACK_PANELS: usize = 4;
/// Lanes that are packed by one task where lanes are neighbours in memory: of each step some cache lines in a row, so
/// that a page is not opened for a few bytes.
const PACK_LANES: usize = 128;
/// Steps along `k` that are packed for all panels of a task before the next ones, where lanes are neighbours in
/// memory: each step is then on a page of its own, and powers of two fall on few places of the cache.
pub(super) const PACK_STEPS: usize = 8;

/// Panels of `A`, each `[units][its height]`.
#[derive(Clone, Copy)]
pub(super) struct PackedRows {
    pub(super) ptr: *mut u32,
    pub(super) rows: Split,
    /// The first panel in the buffer.
    pub(super) first: usize,
    pub(super) units: usize,
}

/// Panels of `B`, each `[units][nr]`.
#[derive(Clone, Copy)]
pub(super) struct PackedColumns {
    pub(super) ptr: *mut u32,
    /// The first panel in the buffer.
    pub(super) first: usize,
    pub(super) units: usize,
}

// SAFETY: each panel is written by one task of a parallel loop and read in later loops.
unsafe impl Sync for PackedRows {}
// SAFETY: as above.
unsafe impl Sync for PackedColumns {}

impl PackedRows {
    pub(super) fn panel(&self, panel: usize, unit: usize) -> *mut u32 {
        let row = self.rows.start(panel) - self.rows.start(self.first);
        self.ptr
            .wrapping_add(row * self.units + unit * self.rows.len(panel))
    }
}

impl PackedColumns {
    pub(super) fn panel(&self, panel: usize, unit: usize, nr: usize) -> *mut u32 {
        self.ptr
            .wrapping_add(((panel - self.first) * self.units + unit) * nr)
    }
}

impl Product {
    /// Packs panels of `A`, all of `k`.
    pub(super) fn pack_rows(&self, a: &PackedRows, panels: Range<usize>) {
        for units in pack_steps(&self.a, a.units) {
            for panel in panels.clone() {
                let lanes = a.rows.len(panel);
                let piece = self.piece(a.rows.start(panel), lanes, lanes, &units);
                // SAFETY: the rows exist, and the buffer has room for them at this panel's own place.
                unsafe { (self.pack_a)(&self.a, piece, a.panel(panel, units.start)) };
            }
        }
    }

    /// Packs panels of `B`, all of `k`.
    pub(super) fn pack_columns(&self, b: &PackedColumns, panels: Range<usize>) {
        for units in pack_steps(&self.b, b.units) {
            for panel in panels.clone() {
                let piece = self.columns_piece(panel, &units);
                // SAFETY: the columns exist, and the buffer has room for them at this panel's own place.
                unsafe {
                    (self.pack_b)(&self.b, piece, b.panel(panel, units.start, self.kernels.nr))
                };
            }
        }
    }

    /// The units `units` of a panel of columns.
    pub(super) fn columns_piece(&self, panel: usize, units: &Range<usize>) -> Piece {
        let nr = self.kernels.nr;
        self.piece(panel * nr, nr.min(self.n - panel * nr), nr, units)
    }

    fn piece(&self, lane0: usize, lanes: usize, width: usize, units: &Range<usize>) -> Piece {
        let per_unit = self.kernels.per_unit;
        Piece {
            lane0,
            lanes,
            width,
            k0: units.start * per_unit,
            k1: (units.end * per_unit).min(self.k),
        }
    }
}

/// How many panels of this width are packed together.
pub(super) fn group_size(source: &Source, width: usize) -> usize {
    if source.lane == 1 {
        PACK_LANES.div_ceil(width)
    } else {
        PACK_PANELS
    }
}

/// Group `index` of the panels that are packed together, `size` of them.
pub(super) fn group_of(panels: &Range<usize>, index: usize, size: usize) -> Range<usize> {
    let start = panels.start + index * size;
    start..(start + size).min(panels.end)
}

/// The stretches of `k`, in units, in which a group of panels is packed.
fn pack_steps(source: &Source, units: usize) -> impl Iterator<Item = Range<usize>> {
    let stretch = if source.lane == 1 {
        PACK_STEPS
    } else {
        units.max(1)
    };
    (0..units)
        .step_by(stretch)
        .map(move |start| start..(start + stretch).min(units))
}
