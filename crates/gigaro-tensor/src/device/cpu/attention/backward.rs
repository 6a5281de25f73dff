//! The backward pass: a task takes one head of keys and values with all query heads that share it, so the gradients
//! of keys and values are sums in a fixed order that no other task writes to.
//!
//! For a block of queries and a block of keys, with `P` the weights and `S` the scores,
//! `dV += P^T dO`, `dP = dO V^T`, `dS = P (dP - delta)`, `dQ += dS K` and `dK += dS^T Q`, where `delta` is
//! the sum of `dO O` over the head.

use super::forward::{mask_row, score_tile, sum_tile};
use super::kernel::{LD, MR, NR};
use super::panels::{BLOCK_K, Head, Precision, Queries, pack_keys};
use super::rows::Query;
use super::rows_avx512::{PairTargets, gradients_pairs};
use super::{Dims, Rule, Saved, Target};
use crate::device::cpu::gemm::Compute;
use crate::device::cpu::gemm::split::Split;
use crate::device::cpu::scratch::Scratch;
use crate::device::cpu::threads::{SendPtr, parallel_for};
use std::f32::consts::LOG2_E;
use std::ops::Range;

/// Queries of a block.
const BLOCK_Q: usize = 112;

/// See [`backward`](super::backward); everything is checked.
pub(super) fn run(
    dims: Dims,
    rule: Rule<'_>,
    saved: Saved<'_>,
    to: [Target<'_>; 3],
    compute: Compute,
) {
    let precision = Precision::pick(compute);
    let [dq, dk, dv] = to.map(|t| (t.base, t.strides));
    let at = |(base, strides): (SendPtr<f32>, [usize; 3]), b: usize, h: usize| Rows {
        ptr: base.get().wrapping_add(b * strides[0] + h * strides[1]),
        stride: strides[2],
    };
    let group = dims.h / dims.h_kv;
    parallel_for(dims.b * dims.h_kv, |task| {
        let (b, kv) = (task / dims.h_kv, task % dims.h_kv);
        let pass = Backward {
            dims: &dims,
            rule: &rule,
            precision,
        };
        let mut memory = Memory::new(&pass);
        let to = memory.buffers();
        // SAFETY: `check` found all rows inside the slices, these gradients are this task's own, and the buffers were
        // made for these dims.
        unsafe {
            pass.pack(&to, &saved.k.head(b, kv), &saved.v.head(b, kv));
            for h in kv * group..(kv + 1) * group {
                let head = QueryHead {
                    at: (b, h),
                    q: saved.q.head(b, h),
                    grad: saved.grad.head(b, h),
                    out: saved.out.head(b, h),
                    lse: &saved.lse[(b * dims.h + h) * dims.t..][..dims.t],
                };
                let blocks = Split::at_most(dims.t, BLOCK_Q);
                for i in 0..blocks.parts() {
                    let queries = Queries::new(blocks.start(i)..blocks.start(i + 1));
                    pass.queries(&to, &head, &queries);
                    at(dq, b, h).write(
                        queries.start..queries.start + queries.count,
                        to.dq,
                        pass.width(),
                        dims.d,
                    );
                }
            }
            at(dk, b, kv).write(0..dims.s, to.dk, pass.width(), dims.d);
            at(dv, b, kv).write(0..dims.s, to.dv, pass.width(), dims.d);
        }
    });
}

/// The rows of one head of a result.
struct Rows {
    ptr: *mut f32,
    stride: usize,
}

impl Rows {
    /// Writes rows from a buffer with rows of `width`.
    ///
    /// # Safety
    /// The rows are good to write, and the buffer holds them.
    unsafe fn write(&self, rows: Range<usize>, from: *const f32, width: usize, d: usize) {
        for (i, row) in rows.enumerate() {
            // SAFETY: passed on to the caller.
            unsafe {
                std::ptr::copy_nonoverlapping(
                    from.add(i * width),
                    self.ptr.add(row * self.stride),
                    d,
                )
            };
        }
    }
}

struct Backward<'a> {
    dims: &'a Dims,
    rule: &'a Rule<'a>,
    precision: Precision,
}

/// One head of queries and what belongs to it.
struct QueryHead<'a> {
    at: (usize, usize),
    q: Head,
    grad: Head,
    out: Head,
    lse: &'a [f32],
}

/// Working memory of a task, most of it proportional to the number of keys.
struct Memory([Scratch; 15]);

/// The addresses in a [`Memory`]. "Across" is packed with rows as lanes, "along" with rows as steps.
struct Buffers {
    k_across: *mut u32,
    v_across: *mut u32,
    k_along: *mut u32,
    q_across: *mut u32,
    q_along: *mut u32,
    grad_across: *mut u32,
    grad_along: *mut u32,
    /// Products and then weights of a block, `[query][LD]`; in bf16 of a tile.
    scores: *mut f32,
    /// Their gradients, likewise.
    score_grads: *mut f32,
    /// In bf16: weights of a block as pairs of queries, `[query / 2][LD]`.
    weight_pairs: *mut f32,
    /// In bf16: gradients of scores as pairs of queries, `[query / 2][LD]`.
    grad_pairs: *mut f32,
    /// In bf16: gradients of scores as pairs of keys, `[query][LD / 2]`.
    grad_rows: *mut f32,
    dq: *mut f32,
    dk: *mut f32,
    dv: *mut f32,
}

impl Memory {
    fn new(pass: &Backward<'_>) -> Self {
        let (p, d, width) = (&pass.precision, pass.dims.d, pass.width());
        let keys = pass.dims.s.next_multiple_of(BLOCK_K);
        let queries = BLOCK_Q.min(pass.dims.t).next_multiple_of(2);
        let (across, along) = (p.units(d), p.units(keys) * width);
        let rows = if p.per_unit == 1 { queries } else { MR };
        let pairs = if p.per_unit == 1 { 0 } else { queries / 2 * LD };
        let mut this = Self(
            [
                keys * across,
                keys * across,
                along,
                queries * across,
                p.units(queries) * width,
                queries * across,
                p.units(queries) * width,
                rows * LD,
                rows * LD,
                pairs,
                pairs,
                pairs,
                queries * width,
                keys * width,
                keys * width,
            ]
            .map(Scratch::take),
        );
        for sums in &mut this.0[13..] {
            sums.floats()[..keys * width].fill(0.0);
        }
        this
    }

    fn buffers(&mut self) -> Buffers {
        let at = self.0.each_mut().map(Scratch::as_mut_ptr);
        Buffers {
            k_across: at[0],
            v_across: at[1],
            k_along: at[2],
            q_across: at[3],
            q_along: at[4],
            grad_across: at[5],
            grad_along: at[6],
            scores: at[7].cast(),
            score_grads: at[8].cast(),
            weight_pairs: at[9].cast(),
            grad_pairs: at[10].cast(),
            grad_rows: at[11].cast(),
            dq: at[12].cast(),
            dk: at[13].cast(),
            dv: at[14].cast(),
        }
    }
}

impl Backward<'_> {
    /// The width of a head, rounded up to whole panels.
    fn width(&self) -> usize {
        self.dims.d.next_multiple_of(NR)
    }

    /// Packs keys and values.
    ///
    /// # Safety
    /// They have the rows of `dims`.
    unsafe fn pack(&self, to: &Buffers, k: &Head, v: &Head) {
        let (p, Dims { s, d, .. }) = (&self.precision, *self.dims);
        // SAFETY: passed on to the caller.
        unsafe {
            pack_keys(p, k, 0..s, d, to.k_across);
            pack_keys(p, v, 0..s, d, to.v_across);
            p.pack_along(k, 0..s, p.units(s), d, to.k_along);
        }
    }

    /// A block of queries over all keys: their own gradient is complete, those of keys and values are added to.
    ///
    /// # Safety
    /// The head has these queries.
    unsafe fn queries(&self, to: &Buffers, head: &QueryHead<'_>, queries: &Queries) {
        let (p, d, width) = (&self.precision, self.dims.d, self.width());
        let rows = queries.rows();
        let mut known = [Query {
            lse: 0.0,
            delta: 0.0,
            mask: None,
            limit: 0,
        }; BLOCK_Q];
        // SAFETY: passed on to the caller.
        unsafe {
            let range = queries.start..queries.start + queries.count;
            queries.pack(p, &head.q, d, to.q_across);
            queries.pack(p, &head.grad, d, to.grad_across);
            p.pack_along(&head.q, range.clone(), p.units(rows), d, to.q_along);
            p.pack_along(&head.grad, range.clone(), p.units(rows), d, to.grad_along);
            std::slice::from_raw_parts_mut(to.dq, rows * width).fill(0.0);
            for (known, t) in known.iter_mut().zip(range) {
                let lse = head.lse[t] * LOG2_E;
                // A query that sees nothing has no weights whatever the reference.
                known.lse = if lse == f32::NEG_INFINITY { 0.0 } else { lse };
                known.delta = dot(head.out.row(t), head.grad.row(t), d);
            }
            let end = queries.visible_to(self.dims, self.rule.causal, rows);
            for first in (0..end).step_by(BLOCK_K) {
                let block = first..(first + BLOCK_K).min(end);
                for (row, known) in known.iter_mut().enumerate().take(rows) {
                    let visible = queries.visible(self.dims, self.rule.causal, row);
                    known.limit = visible.saturating_sub(first).min(block.len());
                    known.mask = mask_row(self.rule, head.at, queries.start + row, first);
                }
                for tile in 0..queries.tiles() {
                    self.tile(to, queries.tile(tile), &block, &known);
                }
                self.keys(to, rows, &block, &known);
            }
        }
    }

    /// Some rows over a block of keys: weights, gradients of the scores, and what they give to the queries.
    ///
    /// # Safety
    /// The buffers hold the queries and the block.
    unsafe fn tile(&self, to: &Buffers, rows: Range<usize>, block: &Range<usize>, known: &[Query]) {
        let (p, d, width) = (&self.precision, self.dims.d, self.width());
        let (start, height) = (rows.start, rows.len());
        let keys = known[rows.clone()]
            .iter()
            .map(|q| q.limit)
            .max()
            .unwrap_or(0);
        if keys == 0 {
            return;
        }
        let (panels, depth) = (keys.div_ceil(NR), p.units(d));
        // In f32 the scores of the whole block are kept, in bf16 those of the tile.
        let at = if p.per_unit == 1 { start * LD } else { 0 };
        // SAFETY: passed on to the caller.
        unsafe {
            let (scores, grads) = (to.scores.add(at), to.score_grads.add(at));
            let run = p.table.adjacent[height];
            for panel in 0..panels {
                let b = (block.start / NR + panel) * depth * NR;
                let (q, grad) = (
                    to.q_across.add(start * depth),
                    to.grad_across.add(start * depth),
                );
                run(
                    depth,
                    q,
                    height,
                    to.k_across.add(b),
                    &score_tile(scores.add(panel * NR)),
                );
                run(
                    depth,
                    grad,
                    height,
                    to.v_across.add(b),
                    &score_tile(grads.add(panel * NR)),
                );
            }
            if p.per_unit == 1 {
                self.rows_single(scores, grads, panels, &known[rows]);
            } else {
                self.rows_pairs(to, start, panels, &known[rows]);
            }
            let a: *const u32 = if p.per_unit == 1 {
                grads.cast()
            } else {
                to.grad_rows.add(start * LD / 2).cast()
            };
            for panel in 0..width / NR {
                let b = to
                    .k_along
                    .add((panel * p.units(self.dims.s) + block.start / p.per_unit) * NR);
                let tile = sum_tile(to.dq.add(start * width + panel * NR), width);
                p.table.rows[height](p.units(keys), a, 1, b, &tile);
            }
        }
    }

    /// Products of a tile to weights and gradients of scores, in f32; zeros up to the end of the block.
    ///
    /// # Safety
    /// The buffers hold the tile.
    unsafe fn rows_single(
        &self,
        scores: *mut f32,
        grads: *mut f32,
        panels: usize,
        known: &[Query],
    ) {
        let scales = (self.rule.scale, self.rule.scale * LOG2_E);
        let gradients = self.precision.rows.gradients[panels - 1];
        for (i, query) in known.iter().enumerate() {
            // SAFETY: passed on to the caller.
            unsafe {
                let (row, grad) = (scores.add(i * LD), grads.add(i * LD));
                gradients(row, grad, scales, query);
                row.add(panels * NR).write_bytes(0, BLOCK_K - panels * NR);
                grad.add(panels * NR).write_bytes(0, BLOCK_K - panels * NR);
            }
        }
    }

    /// The same in bf16, two rows at a time.
    ///
    /// # Safety
    /// The buffers hold the tile.
    unsafe fn rows_pairs(&self, to: &Buffers, start: usize, panels: usize, known: &[Query]) {
        let scales = (self.rule.scale, self.rule.scale * LOG2_E);
        let (pairs, _) = known.as_chunks::<2>();
        for (i, queries) in pairs.iter().enumerate() {
            // SAFETY: passed on to the caller.
            unsafe {
                let (row, grad) = (to.scores.add(2 * i * LD), to.score_grads.add(2 * i * LD));
                let pair = (start / 2 + i) * LD;
                let to = PairTargets {
                    weights: to.weight_pairs.add(pair),
                    columns: to.grad_pairs.add(pair),
                    rows: to.grad_rows.add(pair),
                };
                match panels {
                    1 => gradients_pairs::<2>(row, grad, scales, queries, to),
                    2 => gradients_pairs::<4>(row, grad, scales, queries, to),
                    3 => gradients_pairs::<6>(row, grad, scales, queries, to),
                    _ => gradients_pairs::<8>(row, grad, scales, queries, to),
                }
                to.weights
                    .add(panels * NR)
                    .write_bytes(0, BLOCK_K - panels * NR);
                to.columns
                    .add(panels * NR)
                    .write_bytes(0, BLOCK_K - panels * NR);
            }
        }
    }

    /// What a block of queries gives to a block of keys and values.
    ///
    /// # Safety
    /// The buffers hold weights and gradients of scores from the first query on that sees a key.
    unsafe fn keys(&self, to: &Buffers, rows: usize, block: &Range<usize>, known: &[Query]) {
        let (p, width) = (&self.precision, self.width());
        let (weights, grads): (*const u32, *const u32) = if p.per_unit == 1 {
            (to.scores.cast(), to.score_grads.cast())
        } else {
            (to.weight_pairs.cast(), to.grad_pairs.cast())
        };
        let tiles = Split::at_most(block.len(), MR);
        for i in 0..tiles.parts() {
            let (key, height) = (tiles.start(i), tiles.len(i));
            // Queries before the first one that sees the first key of the tile have no part in it.
            let Some(first) = known[..rows].iter().position(|q| q.limit > key) else {
                continue;
            };
            let first = first / p.per_unit;
            let steps = p.units(rows) - first;
            let run = p.table.adjacent[height];
            for panel in 0..width / NR {
                let b = (panel * p.units(rows) + first) * NR;
                let at = (block.start + key) * width + panel * NR;
                // SAFETY: passed on to the caller.
                unsafe {
                    let a = first * LD + key;
                    run(
                        steps,
                        weights.add(a),
                        LD,
                        to.grad_along.add(b),
                        &sum_tile(to.dv.add(at), width),
                    );
                    run(
                        steps,
                        grads.add(a),
                        LD,
                        to.q_along.add(b),
                        &sum_tile(to.dk.add(at), width),
                    );
                }
            }
        }
    }
}

/// The product of two rows, in lanes.
///
/// # Safety
/// Both have `d` elements.
unsafe fn dot(x: *const f32, y: *const f32, d: usize) -> f32 {
    // SAFETY: passed on to the caller.
    let (x, y) = unsafe {
        (
            std::slice::from_raw_parts(x, d),
            std::slice::from_raw_parts(y, d),
        )
    };
    let mut lanes = [0.0f32; 16];
    let (xs, x_rest) = x.as_chunks::<16>();
    let (ys, y_rest) = y.as_chunks::<16>();
    for (x, y) in xs.iter().zip(ys) {
        for i in 0..16 {
            lanes[i] += x[i] * y[i];
        }
    }
    let rest = x_rest.iter().zip(y_rest).map(|(x, y)| x * y);
    lanes.into_iter().chain(rest).sum()
}
