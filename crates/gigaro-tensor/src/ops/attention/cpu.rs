//! Tiled attention: scores exist for one block of queries and keys at a time.
//!
//! Each task takes one key/value head of one batch element with the query heads that share it, so
//! that the gradients of keys and values are sums in a fixed order and nothing is shared between
//! tasks. Keys (and, backwards, values) are transposed once per task; every product then reads
//! rows. The softmax is computed online (Milakov, Gimelshein 2018): a running maximum and sum per query,
//! with what was accumulated rescaled when the maximum grows.

use super::tile::{Left, Right, Scalar, product};
use crate::device::cpu::attention::Dims;
use crate::device::cpu::isa::{Isa, Vectorize, isa};
use crate::device::cpu::threads::{SendPtr, parallel_for};

/// Queries of one block.
const BLOCK_Q: usize = 64;
/// Keys of one block.
const BLOCK_K: usize = 64;

/// How scores are scaled and hidden.
#[derive(Clone, Copy)]
pub(super) struct Rule<'a> {
    pub(super) scale: f64,
    pub(super) causal: bool,
    /// Added to the scores: elements and strides over (B, H, T, S).
    pub(super) mask: Option<(&'a [f32], [usize; 4])>,
}

/// An operand: element `(b, h, t, d)` is `data[b * strides[0] + h * strides[1] + t * strides[2] + d]`.
#[derive(Clone, Copy)]
pub(super) struct View<'a, T> {
    pub(super) data: &'a [T],
    pub(super) strides: [usize; 3],
}

impl<'a, T: Copy> View<'a, T> {
    /// The rows of one head, `strides[2]` apart.
    fn head(&self, b: usize, h: usize) -> Right<'a, T> {
        Right {
            data: &self.data[b * self.strides[0] + h * self.strides[1]..],
            rs: self.strides[2],
        }
    }
}

/// A result, addressed like a [`View`].
#[derive(Clone, Copy)]
pub(super) struct Target<T> {
    pub(super) base: SendPtr<T>,
    /// Elements from `base` on.
    pub(super) len: usize,
    pub(super) strides: [usize; 3],
}

impl<T> Target<T> {
    /// Row `t` of head `h`.
    ///
    /// # Safety
    /// The row must lie in the buffer and be written by nobody else meanwhile.
    unsafe fn row<'a>(self, b: usize, h: usize, t: usize, d: usize) -> &'a mut [T] {
        let start = b * self.strides[0] + h * self.strides[1] + t * self.strides[2];
        // SAFETY: passed on to the caller.
        unsafe { self.base.slice_mut(start, d) }
    }
}

impl<'a, T: Copy> Right<'a, T> {
    fn rows_from(self, row: usize) -> Self {
        Right {
            data: &self.data[row * self.rs..],
            ..self
        }
    }
    fn as_left(self) -> Left<'a, T> {
        Left {
            data: self.data,
            rs: self.rs,
            cs: 1,
        }
    }
}

/// `(d, s)` from rows of `d`.
fn transposed<T: Scalar>(x: Right<'_, T>, s: usize, d: usize, out: &mut [T]) {
    for (j, row) in x.data.chunks(x.rs.max(1)).take(s).enumerate() {
        for (i, &v) in row[..d].iter().enumerate() {
            out[i * s + j] = v;
        }
    }
}

/// Hides what query rows `from..from + rows` may not see of keys `first..first + keys`, and scales.
#[inline(always)]
fn finish_scores<T: Scalar>(
    dims: &Dims,
    rule: &Rule<'_>,
    at: (usize, usize),
    (from, rows): (usize, usize),
    (first, keys): (usize, usize),
    scores: &mut [T],
) {
    let scale = T::from_f64(rule.scale);
    for i in 0..rows {
        let line = &mut scores[i * BLOCK_K..][..keys];
        for x in line.iter_mut() {
            *x = *x * scale;
        }
        if let Some((mask, st)) = rule.mask {
            let start = at.0 * st[0] + at.1 * st[1] + (from + i) * st[2];
            for (j, x) in line.iter_mut().enumerate() {
                *x = *x + T::from_f64(f64::from(mask[start + (first + j) * st[3]]));
            }
        }
        let visible = dims
            .visible(rule.causal, from + i)
            .saturating_sub(first)
            .min(keys);
        line[visible..].fill(T::NEG_INFINITY);
    }
}

/// Output and, for the backward pass, the logarithm of each query's sum of exponentials `(B, H, T)`.
pub(super) fn forward<T: Scalar + Send + Sync>(
    dims: Dims,
    rule: Rule<'_>,
    [q, k, v]: [View<'_, T>; 3],
    out: Target<T>,
    lse: SendPtr<T>,
) {
    let isa = isa();
    parallel_for(dims.b * dims.h_kv, |task| {
        let (b, kv) = (task / dims.h_kv, task % dims.h_kv);
        let mut keys = vec![T::ZERO; dims.s * dims.d];
        let mut work = vec![T::ZERO; BLOCK_Q * (BLOCK_K + dims.d)];
        transposed(k.head(b, kv), dims.s, dims.d, &mut keys);
        let group = dims.h / dims.h_kv;
        for h in kv * group..(kv + 1) * group {
            for from in (0..dims.t).step_by(BLOCK_Q) {
                let block = ForwardBlock {
                    dims: &dims,
                    rule: &rule,
                    at: (b, h),
                    from,
                    keys: &keys,
                };
                let (q, v) = (q.head(b, h), v.head(b, kv));
                let (out, work) = ((out, lse), &mut work[..]);
                if isa == Isa::Portable {
                    block.run::<false>(q, v, work, out);
                } else {
                    isa.vectorize(ForwardCall {
                        block,
                        q,
                        v,
                        work,
                        out,
                    });
                }
            }
        }
    });
}

/// The arguments of [`ForwardBlock::run`]. A type instead of a closure, because only an
/// `#[inline(always)]` method is sure to be compiled for the instruction set.
struct ForwardCall<'a, T> {
    block: ForwardBlock<'a, T>,
    q: Right<'a, T>,
    v: Right<'a, T>,
    work: &'a mut [T],
    out: (Target<T>, SendPtr<T>),
}

impl<T: Scalar> Vectorize for ForwardCall<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        self.block.run::<true>(self.q, self.v, self.work, self.out);
    }
}

struct ForwardBlock<'a, T> {
    dims: &'a Dims,
    rule: &'a Rule<'a>,
    at: (usize, usize),
    from: usize,
    keys: &'a [T],
}

impl<T: Scalar> ForwardBlock<'_, T> {
    #[inline(always)]
    fn run<const FMA: bool>(
        &self,
        q: Right<'_, T>,
        v: Right<'_, T>,
        work: &mut [T],
        (out, lse): (Target<T>, SendPtr<T>),
    ) {
        let Dims { h, t, s, d, .. } = *self.dims;
        let rows = BLOCK_Q.min(t - self.from);
        let (scores, sums) = work.split_at_mut(BLOCK_Q * BLOCK_K);
        sums[..rows * d].fill(T::ZERO);
        let mut top = [T::NEG_INFINITY; BLOCK_Q];
        let mut total = [T::ZERO; BLOCK_Q];
        let end = self.dims.visible(self.rule.causal, self.from + rows - 1);
        for first in (0..end).step_by(BLOCK_K) {
            let n = BLOCK_K.min(s - first);
            let keys = Right {
                data: &self.keys[first..],
                rs: s,
            };
            product::<T, FMA>(
                [rows, n, d],
                q.rows_from(self.from).as_left(),
                keys,
                scores,
                BLOCK_K,
                false,
            );
            finish_scores(
                self.dims,
                self.rule,
                self.at,
                (self.from, rows),
                (first, n),
                scores,
            );
            for i in 0..rows {
                let line = &mut scores[i * BLOCK_K..][..n];
                let shift = online_softmax(line, &mut top[i], &mut total[i]);
                if shift != T::ONE {
                    sums[i * d..][..d].iter_mut().for_each(|x| *x = *x * shift);
                }
            }
            let weights = Left {
                data: scores,
                rs: BLOCK_K,
                cs: 1,
            };
            product::<T, FMA>([rows, d, n], weights, v.rows_from(first), sums, d, true);
        }
        let (b, head) = self.at;
        for i in 0..rows {
            // A query that may look at nothing gets zeros.
            let inverse = if total[i] == T::ZERO {
                T::ZERO
            } else {
                T::ONE / total[i]
            };
            // SAFETY: this task alone writes these heads' rows.
            let (row, l) = unsafe {
                (
                    out.row(b, head, self.from + i, d),
                    &mut lse.slice_mut((b * h + head) * t + self.from + i, 1)[0],
                )
            };
            for (o, &x) in row.iter_mut().zip(&sums[i * d..][..d]) {
                *o = x * inverse;
            }
            *l = top[i] + total[i].ln();
        }
    }
}

/// Turns scores into weights relative to the running maximum; gives the factor by which what was
/// accumulated so far must shrink.
#[inline(always)]
fn online_softmax<T: Scalar>(line: &mut [T], top: &mut T, total: &mut T) -> T {
    let mut lanes = [*top; 16];
    let (groups, rest) = line.as_chunks::<16>();
    for g in groups {
        for k in 0..16 {
            lanes[k] = if g[k] > lanes[k] { g[k] } else { lanes[k] };
        }
    }
    let peak = rest
        .iter()
        .chain(&lanes)
        .fold(*top, |a, &b| if b > a { b } else { a });
    if peak == T::NEG_INFINITY {
        line.fill(T::ZERO);
        return T::ONE;
    }
    let shift = (*top - peak).exp();
    for x in line.iter_mut() {
        *x = (*x - peak).exp();
    }
    let mut lanes = [T::ZERO; 16];
    let (groups, rest) = line.as_chunks::<16>();
    for g in groups {
        for k in 0..16 {
            lanes[k] = lanes[k] + g[k];
        }
    }
    // A weight's lane depends on its key alone, so that hidden keys behind a query's own change no bit.
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = *lane + x;
    }
    *total = lanes.iter().fold(*total * shift, |a, &b| a + b);
    *top = peak;
    shift
}

/// What the backward pass reads.
#[derive(Clone, Copy)]
pub(super) struct Saved<'a, T> {
    pub(super) q: View<'a, T>,
    pub(super) k: View<'a, T>,
    pub(super) v: View<'a, T>,
    pub(super) out: View<'a, T>,
    pub(super) grad: View<'a, T>,
    pub(super) lse: &'a [T],
}

/// Gradients of queries, keys and values.
pub(super) fn backward<T: Scalar + Send + Sync>(
    dims: Dims,
    rule: Rule<'_>,
    saved: Saved<'_, T>,
    [dq, dk, dv]: [Target<T>; 3],
) {
    let Dims { h_kv, s, d, .. } = dims;
    let isa = isa();
    parallel_for(dims.b * h_kv, |task| {
        let (b, kv) = (task / h_kv, task % h_kv);
        let mut transposes = vec![T::ZERO; 2 * s * d];
        let mut sums = vec![T::ZERO; 2 * s * d];
        let mut work = vec![T::ZERO; BLOCK_Q * (2 * BLOCK_K + d)];
        let (keys, values) = transposes.split_at_mut(s * d);
        transposed(saved.k.head(b, kv), s, d, keys);
        transposed(saved.v.head(b, kv), s, d, values);
        let group = dims.h / h_kv;
        for h in kv * group..(kv + 1) * group {
            for from in (0..dims.t).step_by(BLOCK_Q) {
                let block = BackwardBlock {
                    dims: &dims,
                    rule: &rule,
                    at: (b, h),
                    kv,
                    from,
                    keys,
                    values,
                };
                let (dk, dv) = sums.split_at_mut(s * d);
                let (saved, work) = (&saved, &mut work[..]);
                if isa == Isa::Portable {
                    block.run::<false>(saved, work, [dk, dv], dq);
                } else {
                    isa.vectorize(BackwardCall {
                        block,
                        saved,
                        work,
                        sums: [dk, dv],
                        dq,
                    });
                }
            }
        }
        for j in 0..s {
            // SAFETY: this task alone writes this key head's rows.
            unsafe {
                dk.row(b, kv, j, d).copy_from_slice(&sums[j * d..][..d]);
                dv.row(b, kv, j, d)
                    .copy_from_slice(&sums[(s + j) * d..][..d]);
            }
        }
    });
}

/// The arguments of [`BackwardBlock::run`]; see [`ForwardCall`].
struct BackwardCall<'a, T> {
    block: BackwardBlock<'a, T>,
    saved: &'a Saved<'a, T>,
    work: &'a mut [T],
    sums: [&'a mut [T]; 2],
    dq: Target<T>,
}

impl<T: Scalar> Vectorize for BackwardCall<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        self.block
            .run::<true>(self.saved, self.work, self.sums, self.dq);
    }
}

struct BackwardBlock<'a, T> {
    dims: &'a Dims,
    rule: &'a Rule<'a>,
    at: (usize, usize),
    kv: usize,
    from: usize,
    keys: &'a [T],
    values: &'a [T],
}

impl<T: Scalar> BackwardBlock<'_, T> {
    /// `P = exp(scores - lse)`, `dP = dO V^T`, `dS = P (dP - sum(dO O)) scale`; then `dV += P^T dO`,
    /// `dK += dS^T Q`, `dQ += dS K`.
    #[inline(always)]
    fn run<const FMA: bool>(
        &self,
        saved: &Saved<'_, T>,
        work: &mut [T],
        [dk, dv]: [&mut [T]; 2],
        dq: Target<T>,
    ) {
        let Dims { h, t, s, d, .. } = *self.dims;
        let (b, head) = self.at;
        let rows = BLOCK_Q.min(t - self.from);
        let (p, work) = work.split_at_mut(BLOCK_Q * BLOCK_K);
        let (ds, dq_sums) = work.split_at_mut(BLOCK_Q * BLOCK_K);
        let q = saved.q.head(b, head).rows_from(self.from);
        let k = saved.k.head(b, self.kv);
        let grad = saved.grad.head(b, head).rows_from(self.from);
        let out = saved.out.head(b, head).rows_from(self.from);
        let lse = &saved.lse[(b * h + head) * t + self.from..][..rows];
        let mut delta = [T::ZERO; BLOCK_Q];
        for (i, delta) in delta[..rows].iter_mut().enumerate() {
            let (g, o) = (&grad.data[i * grad.rs..][..d], &out.data[i * out.rs..][..d]);
            *delta = g.iter().zip(o).fold(T::ZERO, |sum, (&g, &o)| sum + g * o);
        }
        dq_sums[..rows * d].fill(T::ZERO);
        let scale = T::from_f64(self.rule.scale);
        let end = self.dims.visible(self.rule.causal, self.from + rows - 1);
        for first in (0..end).step_by(BLOCK_K) {
            let n = BLOCK_K.min(s - first);
            let keys = Right {
                data: &self.keys[first..],
                rs: s,
            };
            let values = Right {
                data: &self.values[first..],
                rs: s,
            };
            product::<T, FMA>([rows, n, d], q.as_left(), keys, p, BLOCK_K, false);
            finish_scores(
                self.dims,
                self.rule,
                self.at,
                (self.from, rows),
                (first, n),
                p,
            );
            product::<T, FMA>([rows, n, d], grad.as_left(), values, ds, BLOCK_K, false);
            for i in 0..rows {
                let (p, ds) = (&mut p[i * BLOCK_K..][..n], &mut ds[i * BLOCK_K..][..n]);
                let (lse, delta) = (lse[i], delta[i]);
                for (p, ds) in p.iter_mut().zip(ds) {
                    *p = if lse == T::NEG_INFINITY {
                        T::ZERO
                    } else {
                        (*p - lse).exp()
                    };
                    *ds = *p * (*ds - delta) * scale;
                }
            }
            let across = |x| Left {
                data: x,
                rs: 1,
                cs: BLOCK_K,
            };
            product::<T, FMA>(
                [n, d, rows],
                across(&*p),
                grad,
                &mut dv[first * d..],
                d,
                true,
            );
            product::<T, FMA>([n, d, rows], across(&*ds), q, &mut dk[first * d..], d, true);
            let along = Left {
                data: &*ds,
                rs: BLOCK_K,
                cs: 1,
            };
            product::<T, FMA>([rows, d, n], along, k.rows_from(first), dq_sums, d, true);
        }
        for i in 0..rows {
            // SAFETY: this task alone writes these heads' rows.
            unsafe { dq.row(b, head, self.from + i, d) }.copy_from_slice(&dq_sums[i * d..][..d]);
        }
    }
}
