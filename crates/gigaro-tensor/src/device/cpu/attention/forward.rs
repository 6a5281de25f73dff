//! The forward pass: a task takes some queries of one head over all keys that they see.

use super::kernel::{LD, NR};
use super::panels::{BLOCK_K, Head, Precision, Queries, pack_keys};
use super::rows::{MaskRow, Running};
use super::{Dims, Rule, Target, View};
use crate::device::cpu::gemm::Compute;
use crate::device::cpu::gemm::kernels::Tile;
use crate::device::cpu::scratch::Scratch;
use crate::device::cpu::threads::{SendPtr, parallel_for};
use std::f32::consts::{LN_2, LOG2_E};
use std::ops::Range;

/// Queries of a task: many for each time that keys are packed, few enough for the cache.
pub(super) const CHUNK: usize = 256;

/// See [`forward`](super::forward); everything is checked.
pub(super) fn run(
    dims: Dims,
    rule: Rule<'_>,
    [q, k, v]: [View<'_>; 3],
    out: Target<'_>,
    lse: &mut [f32],
    compute: Compute,
) {
    let precision = Precision::pick(compute);
    let (strides, base) = (out.strides, out.base);
    let lse = SendPtr::new(lse.as_mut_ptr());
    let chunks = dims.t.div_ceil(CHUNK);
    let group = dims.h / dims.h_kv;
    parallel_for(dims.b * dims.h * chunks, |task| {
        let (b, h, chunk) = (
            task / chunks / dims.h,
            task / chunks % dims.h,
            task % chunks,
        );
        let queries = Queries::new(chunk * CHUNK..((chunk + 1) * CHUNK).min(dims.t));
        let pass = Forward {
            dims: &dims,
            rule: &rule,
            precision,
            at: (b, h),
            queries,
            keys: Keys::Rows {
                k: k.head(b, h / group),
                v: v.head(b, h / group),
            },
        };
        let out = base.get().wrapping_add(b * strides[0] + h * strides[1]);
        let lse = lse.get().wrapping_add((b * dims.h + h) * dims.t);
        // SAFETY: `check` found all rows inside the slices, and these rows are this task's own.
        unsafe { pass.run(&q.head(b, h), out, strides[2], Some(lse)) };
    });
}

/// Where a task finds its keys and values.
pub(super) enum Keys<'a> {
    /// In rows, to be packed block after block.
    Rows { k: Head, v: Head },
    /// Packed, a pointer to the keys and one to the values of each whole block of [`BLOCK_K`].
    Packed(&'a [(*const u32, *const u32)]),
}

/// One task.
pub(super) struct Forward<'a> {
    pub(super) dims: &'a Dims,
    pub(super) rule: &'a Rule<'a>,
    pub(super) precision: Precision,
    /// Batch entry and head.
    pub(super) at: (usize, usize),
    pub(super) queries: Queries,
    pub(super) keys: Keys<'a>,
}

/// The buffers of a task.
struct Buffers {
    /// Queries, tile after tile.
    queries: *mut u32,
    /// Keys of a block, `[key / NR][units(d)][NR]`.
    keys: *const u32,
    /// Values of a block, `[d / NR][value_units][NR]`.
    values: *const u32,
    /// Units of a panel of values: those of the block's keys, or more.
    value_units: usize,
    /// Scores of a tile, `[row][LD]`.
    scores: *mut f32,
    /// Sums of weighted values, `[row][width]`.
    sums: *mut f32,
}

impl Forward<'_> {
    /// The width of a head, rounded up to whole panels.
    fn width(&self) -> usize {
        self.dims.d.next_multiple_of(NR)
    }

    /// # Safety
    /// `out` and `lse` are good for the queries of the head, and the task's own. Packed keys hold all that the queries see.
    pub(super) unsafe fn run(&self, q: &Head, out: *mut f32, stride: usize, lse: Option<*mut f32>) {
        let (p, d, width) = (&self.precision, self.dims.d, self.width());
        let rows = self.queries.rows();
        let packed = usize::from(matches!(self.keys, Keys::Rows { .. }));
        let mut scratch = [
            Scratch::take(rows * p.units(d)),
            Scratch::take(packed * BLOCK_K * p.units(d)),
            Scratch::take(packed * p.units(BLOCK_K) * width),
            Scratch::take(super::kernel::MR * LD),
            Scratch::take(rows * width),
        ];
        scratch[4].floats()[..rows * width].fill(0.0);
        let [queries, keys, values, scores, sums] = scratch.each_mut().map(Scratch::as_mut_ptr);
        let mut buffers = Buffers {
            queries,
            keys,
            values,
            value_units: 0,
            scores: scores.cast(),
            sums: sums.cast(),
        };
        let mut running = [Running::START; CHUNK];
        let end = self.queries.visible_to(self.dims, self.rule.causal, rows);
        // SAFETY: the rows exist, and the buffers were made for them.
        unsafe {
            self.queries.pack(p, q, d, buffers.queries);
            for first in (0..end).step_by(BLOCK_K) {
                let block = first..(first + BLOCK_K).min(end);
                match &self.keys {
                    Keys::Rows { k, v } => {
                        buffers.value_units = p.units(block.len());
                        pack_keys(p, k, block.clone(), d, keys);
                        p.pack_along(v, block.clone(), buffers.value_units, d, values);
                    }
                    Keys::Packed(blocks) => {
                        (buffers.keys, buffers.values) = blocks[first / BLOCK_K];
                        buffers.value_units = p.units(BLOCK_K);
                    }
                }
                for tile in 0..self.queries.tiles() {
                    self.tile(&buffers, self.queries.tile(tile), &block, &mut running);
                }
            }
            for row in 0..self.queries.count {
                let (sum, log) = running[row].finish();
                let at = self.queries.start + row;
                let sums = std::slice::from_raw_parts(buffers.sums.add(row * width), d);
                let out = std::slice::from_raw_parts_mut(out.add(at * stride), d);
                // A query that sees nothing gets zeros.
                let inverse = if sum == 0.0 { 0.0 } else { sum.recip() };
                out.iter_mut()
                    .zip(sums)
                    .for_each(|(o, &x)| *o = x * inverse);
                if let Some(lse) = lse {
                    *lse.add(at) = log * LN_2;
                }
            }
        }
    }

    /// The part of the mask of a row from key `first` on.
    fn mask(&self, row: usize, first: usize) -> Option<MaskRow> {
        mask_row(self.rule, self.at, self.queries.start + row, first)
    }

    /// Some rows over a block of keys: scores, weights, weighted values.
    ///
    /// # Safety
    /// The buffers hold the queries and the block.
    unsafe fn tile(
        &self,
        to: &Buffers,
        rows: Range<usize>,
        block: &Range<usize>,
        running: &mut [Running],
    ) {
        let (p, d, width) = (&self.precision, self.dims.d, self.width());
        let seen = self
            .queries
            .visible_to(self.dims, self.rule.causal, rows.end)
            .min(block.end);
        let Some(keys) = seen.checked_sub(block.start).filter(|&n| n > 0) else {
            return;
        };
        let panels = keys.div_ceil(NR);
        let run = p.table.adjacent[rows.len()];
        // SAFETY: passed on to the caller.
        unsafe {
            for panel in 0..panels {
                let tile = score_tile(to.scores.add(panel * NR));
                let b = to.keys.add(panel * p.units(d) * NR);
                run(
                    p.units(d),
                    to.queries.add(rows.start * p.units(d)),
                    rows.len(),
                    b,
                    &tile,
                );
            }
            let weights = p.rows.weights[panels - 1];
            for row in rows.clone() {
                let visible = self.queries.visible(self.dims, self.rule.causal, row);
                let limit = visible.saturating_sub(block.start).min(keys);
                let scores = to.scores.add((row - rows.start) * LD);
                let mask = self.mask(row, block.start);
                let scale = self.rule.scale * LOG2_E;
                let shrink = weights(scores, scale, mask, limit, &mut running[row]);
                if shrink != 1.0 {
                    let sums = std::slice::from_raw_parts_mut(to.sums.add(row * width), width);
                    sums.iter_mut().for_each(|x| *x *= shrink);
                }
            }
            let a = to.scores.cast::<u32>();
            // Weights in bf16 lie in the first half of a row of scores.
            let run = p.table.wide_rows[rows.len()];
            for panel in 0..width / NR {
                let b = to.values.add(panel * to.value_units * NR);
                let tile = sum_tile(to.sums.add(rows.start * width + panel * NR), width);
                run(p.units(keys), a, 1, b, &tile);
            }
        }
    }
}

/// The part of the mask of query `t` from key `first` on.
pub(super) fn mask_row(
    rule: &Rule<'_>,
    (b, h): (usize, usize),
    t: usize,
    first: usize,
) -> Option<MaskRow> {
    let (data, [sb, sh, st, ss]) = rule.mask?;
    let start = b * sb + h * sh + t * st + first * ss;
    Some(MaskRow {
        ptr: data.as_ptr().wrapping_add(start),
        stride: ss,
    })
}

/// A tile of scores, to be overwritten.
pub(super) fn score_tile(c: *mut f32) -> Tile {
    Tile {
        c,
        ldc: LD,
        cols: NR,
        add: false,
        row_bias: std::ptr::null(),
        col_bias: std::ptr::null(),
    }
}

/// A tile of sums with rows of `width`, to be added to.
pub(super) fn sum_tile(c: *mut f32, width: usize) -> Tile {
    Tile {
        c,
        ldc: width,
        cols: NR,
        add: true,
        row_bias: std::ptr::null(),
        col_bias: std::ptr::null(),
    }
}
