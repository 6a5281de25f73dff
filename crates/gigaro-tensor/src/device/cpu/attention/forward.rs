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
const CHUNK: usize = 256;

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
            k: k.head(b, h / group),
            v: v.head(b, h / group),
        };
        let out = base.get().wrapping_add(b * strides[0] + h * strides[1]);
        let lse = lse.get().wrapping_add((b * dims.h + h) * dims.t);
        // SAFETY: `check` found all rows inside the slices, and these rows are this task's own.
        unsafe { pass.run(&q.head(b, h), out, strides[2], lse) };
    });
}

/// One task.
struct Forward<'a> {
    dims: &'a Dims,
    rule: &'a Rule<'a>,
    precision: Precision,
    /// Batch entry and head.
    at: (usize, usize),
    queries: Queries,
    k: Head,
    v: Head,
}

/// The buffers of a task.
struct Buffers {
    /// Queries, tile after tile.
    queries: *mut u32,
    /// Keys of a block, `[key / NR][units(d)][NR]`.
    keys: *mut u32,
    /// Values of a block, `[d / NR][units(keys)][NR]`.
    values: *mut u32,
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
    /// `out` and `lse` are good for the queries of the head, and the task's own.
    unsafe fn run(&self, q: &Head, out: *mut f32, stride: usize, lse: *mut f32) {
        let (p, d, width) = (&self.precision, self.dims.d, self.width());
        let rows = self.queries.rows();
        let mut scratch = [
            Scratch::take(rows * p.units(d)),
            Scratch::take(BLOCK_K * p.units(d)),
            Scratch::take(p.units(BLOCK_K) * width),
            Scratch::take(super::kernel::MR * LD),
            Scratch::take(rows * width),
        ];
        scratch[4].floats()[..rows * width].fill(0.0);
        let [queries, keys, values, scores, sums] = scratch.each_mut().map(Scratch::as_mut_ptr);
        let buffers = Buffers {
            queries,
            keys,
            values,
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
                pack_keys(p, &self.k, block.clone(), d, buffers.keys);
                p.pack_along(
                    &self.v,
                    block.clone(),
                    p.units(block.len()),
                    d,
                    buffers.values,
                );
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
                *lse.add(at) = log * LN_2;
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
                let b = to.values.add(panel * p.units(block.len()) * NR);
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
