//! Products with a handful of rows, as in decoding: each weight is used so few times that packing it would
//! cost more than using it, so it is read once, from where it lies, and the speed of memory is the limit.

use super::driver::{Product, for_each};
use super::kernels::{Strip, Tile};
use super::pack::Kind;
use super::panels::PackedRows;
use super::split::Split;
use crate::device::cpu::scratch::Scratch;

/// Columns that a kernel takes at a time.
const COLUMNS: usize = 16;
/// Strips of columns in a task.
const TASK_STRIPS: usize = 4;

impl Product {
    /// Runs the product in this way, if it is of the kind and the instruction set has the kernels.
    pub(super) fn run_stream(&self, parallel: bool) -> bool {
        let fits = self.b.step == 1 && self.c.kind == Kind::F32 && self.is_direct() && self.k > 0;
        let Some(&kernel) = (self.kernels.stream)(self.b.kind)
            .filter(|_| fits)
            .and_then(|x| x.get(self.m))
        else {
            return false;
        };
        let units = self.kernels.units(self.k);
        let mut packed = Scratch::take(self.m * units);
        let rows = Split::into_parts(self.m, 1);
        let a = PackedRows {
            ptr: packed.as_mut_ptr(),
            rows,
            first: 0,
            units,
        };
        self.pack_rows(&a, 0..1);
        let (blocks, size) = (self.blocks(), self.b.kind.size_bytes());
        let strips = self.n.div_ceil(COLUMNS);
        for_each(parallel, strips.div_ceil(TASK_STRIPS), |task| {
            for strip in task * TASK_STRIPS..((task + 1) * TASK_STRIPS).min(strips) {
                let column = strip * COLUMNS;
                let cols = COLUMNS.min(self.n - column);
                for block in 0..blocks.parts() {
                    let (start, end) = (blocks.start(block), blocks.start(block + 1));
                    let k0 = start * self.kernels.per_unit;
                    let bias = |p: *const f32, at: usize| {
                        let wanted = block + 1 == blocks.parts() && !p.is_null();
                        if wanted {
                            p.wrapping_add(at)
                        } else {
                            std::ptr::null()
                        }
                    };
                    let tile = Tile {
                        c: self.c.ptr.cast::<f32>().wrapping_add(column),
                        ldc: self.rs,
                        cols,
                        add: block > 0 || self.accumulate,
                        row_bias: bias(self.row_bias, 0),
                        col_bias: bias(self.col_bias, column),
                    };
                    let strip = Strip {
                        ptr: self.b.ptr.wrapping_add((column * self.b.lane + k0) * size),
                        stride: self.b.lane * size,
                        columns: cols,
                        k: (end * self.kernels.per_unit).min(self.k) - k0,
                    };
                    // SAFETY: the rows are packed, the columns exist, and the tile is this task's own.
                    unsafe { kernel(a.panel(0, start), &strip, &tile) };
                }
            }
        });
        true
    }
}
