//! Products with a handful of rows, as in decoding: each weight is used so few times that packing it would
//! cost more than using it, so it is read once, from where it lies, and the speed of memory is the limit.

use super::driver::{Product, for_each};
use super::kernels::{Strip, Tile};
use super::pack::Kind;
use super::panels::PackedRows;
use super::split::Split;
use crate::device::cpu::scratch::Scratch;
use crate::device::cpu::threads::num_threads;

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
        let others = if parallel { num_threads() - 1 } else { 0 };
        for_each(parallel, strips.div_ceil(TASK_STRIPS), |task| {
            let last = ((task + 1) * TASK_STRIPS).min(strips) - 1;
            for strip in task * TASK_STRIPS..=last {
                // The tasks between this one and the thread's next one are the others'.
                let skipped = if strip == last {
                    others * TASK_STRIPS
                } else {
                    0
                };
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
                        ahead: (1 + skipped) * COLUMNS * self.b.lane * size,
                    };
                    // SAFETY: the rows are packed, the columns exist, and the tile is this task's own.
                    unsafe { kernel(a.panel(0, start), &strip, &tile) };
                }
            }
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use crate::device::cpu::gemm::{Compute, Data, DataMut, Gemm, Operand, Output, gemm};
    use crate::device::cpu::isa::on_every_path;
    use half::{bf16, f16};

    /// `A W^T + bias` for the first `m` rows of `A`.
    fn rows(
        m: usize,
        a: &[f32],
        w: Data<'_>,
        bias: &[f32],
        k: usize,
        compute: Compute,
    ) -> Vec<f32> {
        let n = bias.len();
        let mut c = vec![0.5f32; m * n];
        gemm(Gemm {
            m,
            n,
            k,
            a: Operand {
                data: Data::F32(a),
                rs: k,
                cs: 1,
            },
            b: Operand {
                data: w,
                rs: 1,
                cs: k,
            },
            c: Output {
                data: DataMut::F32(&mut c),
                rs: n,
                cs: 1,
            },
            compute,
            accumulate: true,
            bias: Some(Data::F32(bias)),
        });
        c
    }

    /// Up to eight rows stream the weight, more rows pack it.
    fn check() {
        for (n, k) in [(1, 5), (7, 16), (16, 31), (33, 300), (50, 1030), (24, 512)] {
            let noise = |n: usize, seed: usize| {
                let next =
                    |i: usize| ((i * 7919 + seed + i * i % 613) % 1009) as f32 / 1009.0 - 0.5;
                (0..n).map(next).collect::<Vec<f32>>()
            };
            let (a, w, bias) = (noise(70 * k, 1), noise(n * k, 2), noise(n, 3));
            let wb: Vec<bf16> = w.iter().map(|&x| bf16::from_f32(x)).collect();
            let wh: Vec<f16> = w.iter().map(|&x| f16::from_f32(x)).collect();
            for w in [Data::F32(&w), Data::BF16(&wb), Data::F16(&wh)] {
                for compute in [Compute::F32, Compute::BF16] {
                    let blocked = rows(70, &a, w, &bias, k, compute);
                    for m in 1..=9 {
                        let streamed = rows(m, &a, w, &bias, k, compute);
                        let same = streamed == blocked[..m * n];
                        assert!(same, "{m} rows of ({n}, {k}), {} in {compute:?}", w.kind());
                    }
                }
            }
        }
    }

    #[test]
    fn streamed_rows_have_the_bits_of_packed_ones() {
        on_every_path(check);
    }
}
