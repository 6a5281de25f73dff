//! Reduction kernels.
//!
//! The reduced dims are moved last. If they end in unit stride, each output sums its own row with
//! sixteen running sums; if the kept dims end in unit stride, a strip of columns is summed row by
//! row. Sums are taken in blocks whose totals are added up, so that rounding errors grow with the
//! block and the number of blocks instead of the length; the blocks depend on the shape only.

use crate::device::cpu::isa::isa;
use crate::device::cpu::threads::{SendPtr, parallel_for};
use crate::dtype::{Compute, Number, dispatch};
use crate::shape::Rows;
use crate::storage::Buffer;
use crate::{Layout, Shape, Tensor};

use super::Reduction;

trait Fold: Copy + Sync + Send + 'static {
    fn start<C: Compute>() -> Option<C>;
    fn join<C: Compute>(a: C, b: C) -> C;
}
#[derive(Clone, Copy)]
struct Sum;
impl Fold for Sum {
    fn start<C: Compute>() -> Option<C> {
        Some(C::ZERO)
    }
    #[inline(always)]
    fn join<C: Compute>(a: C, b: C) -> C {
        a + b
    }
}
#[derive(Clone, Copy)]
struct Max;
impl Fold for Max {
    fn start<C: Compute>() -> Option<C> {
        None
    }
    #[inline(always)]
    fn join<C: Compute>(a: C, b: C) -> C {
        if a > b || a.is_nan() { a } else { b }
    }
}
#[derive(Clone, Copy)]
struct Min;
impl Fold for Min {
    fn start<C: Compute>() -> Option<C> {
        None
    }
    #[inline(always)]
    fn join<C: Compute>(a: C, b: C) -> C {
        if a < b || a.is_nan() { a } else { b }
    }
}

/// Reduces `dims` of `x` to extent 1.
pub(super) fn reduce(x: &Tensor, dims: &[usize], kind: Reduction, kept: Shape) -> Tensor {
    dispatch!(x.dtype(), T => match kind {
        Reduction::Sum => run::<T, Sum>(x, dims, kept),
        Reduction::Max => run::<T, Max>(x, dims, kept),
        Reduction::Min => run::<T, Min>(x, dims, kept),
    })
}

/// Rows (or elements) that one running sum takes before its total is added to the rest.
const BLOCK: usize = 256;
/// Columns that one piece of a column-wise reduction covers.
const STRIP: usize = 256;
/// Elements of a single long reduction that one piece covers.
const PIECE: usize = 1 << 16;

fn run<T: Number, F: Fold>(x: &Tensor, dims: &[usize], kept: Shape) -> Tensor {
    let keep: Vec<usize> = (0..x.ndim()).filter(|d| !dims.contains(d)).collect();
    let (outer, inner) = (x.layout().permute(&keep), x.layout().permute(dims));
    let (n_out, n_in) = (outer.numel(), inner.numel());
    let mut buffer = Buffer::scratch::<T>(n_out);
    let out = buffer.as_mut::<T>();
    if n_in == 0 {
        // Only sums come here; the others have refused.
        out.fill(T::store(T::Compute::ZERO));
    } else if n_out > 0 {
        let data = x.data::<T>();
        let inner_rows = Rows::new(inner.shape(), [&inner]);
        let outer_rows = Rows::new(outer.shape(), [&outer]);
        if outer_rows.strides == [1] && outer_rows.len > 1 && inner_rows.strides != [1] {
            by_columns::<T, F>(&data, &outer_rows, &inner_rows, out);
        } else if n_out == 1 && inner_rows.count == 1 && inner_rows.strides == [1] && n_in > PIECE {
            out[0] = T::store(long::<T, F>(&data[..n_in]));
        } else {
            by_rows::<T, F>(&data, &outer, &inner_rows, out);
        }
    }
    Tensor::from_buffer(buffer, kept, x.dtype())
}

/// Folds a unit-stride slice with sixteen running values per block.
#[inline(always)]
fn fold_slice<T: Number, F: Fold>(x: &[T]) -> T::Compute {
    let mut total: Option<T::Compute> = F::start();
    for block in x.chunks(BLOCK * 16) {
        let mut lanes = [block[0].load(); 16];
        let (groups, rest) = block.as_chunks::<16>();
        if let Some((first, groups)) = groups.split_first() {
            for k in 0..16 {
                lanes[k] = first[k].load();
            }
            for g in groups {
                for k in 0..16 {
                    lanes[k] = F::join(lanes[k], g[k].load());
                }
            }
            for (lane, &v) in lanes.iter_mut().zip(rest) {
                *lane = F::join(*lane, v.load());
            }
            for width in [8, 4, 2, 1] {
                for k in 0..width {
                    lanes[k] = F::join(lanes[k], lanes[k + width]);
                }
            }
        } else {
            for &v in &rest[1..] {
                lanes[0] = F::join(lanes[0], v.load());
            }
        }
        total = Some(total.map_or(lanes[0], |t| F::join(t, lanes[0])));
    }
    total.expect("the slice is not empty")
}

/// One output from one long slice, in parallel pieces.
fn long<T: Number, F: Fold>(x: &[T]) -> T::Compute {
    let pieces = x.len().div_ceil(PIECE);
    let mut partial = vec![T::Compute::ZERO; pieces];
    let (isa, base) = (isa(), SendPtr::new(partial.as_mut_ptr()));
    parallel_for(pieces, |i| {
        let piece = &x[i * PIECE..((i + 1) * PIECE).min(x.len())];
        let value = isa.vectorize(
            #[inline(always)]
            || fold_slice::<T, F>(piece),
        );
        // SAFETY: each piece writes its own element.
        unsafe { base.slice_mut(i, 1)[0] = value };
    });
    partial
        .into_iter()
        .reduce(F::join)
        .expect("at least one piece")
}

/// Each output folds its own elements.
fn by_rows<T: Number, F: Fold>(data: &[T], outer: &Layout, inner: &Rows<1>, out: &mut [T]) {
    let outer = Rows::new(outer.shape(), [outer]);
    let per_task = (16_384 / (inner.len * inner.count)).max(1);
    let (isa, base, n_out) = (isa(), SendPtr::new(out.as_mut_ptr()), out.len());
    parallel_for(n_out.div_ceil(per_task), |task| {
        for o in task * per_task..((task + 1) * per_task).min(n_out) {
            let from = outer.offsets(o / outer.len)[0] + o % outer.len * outer.strides[0];
            let value = isa.vectorize(
                #[inline(always)]
                || {
                    let mut total: Option<T::Compute> = F::start();
                    for row in 0..inner.count {
                        let at = from + inner.offsets(row)[0];
                        let part = match inner.strides[0] {
                            1 => fold_slice::<T, F>(&data[at..at + inner.len]),
                            step => (1..inner.len).fold(data[at].load(), |acc, i| {
                                F::join(acc, data[at + i * step].load())
                            }),
                        };
                        total = Some(total.map_or(part, |t| F::join(t, part)));
                    }
                    total.expect("the reduction is not empty")
                },
            );
            // SAFETY: each output is written by one task.
            unsafe { base.slice_mut(o, 1)[0] = T::store(value) };
        }
    });
}

/// Strips of neighbouring outputs fold whole rows at a time.
fn by_columns<T: Number, F: Fold>(data: &[T], outer: &Rows<1>, inner: &Rows<1>, out: &mut [T]) {
    let strips = outer.len.div_ceil(STRIP);
    let n_in = inner.count * inner.len;
    let (isa, base) = (isa(), SendPtr::new(out.as_mut_ptr()));
    parallel_for(outer.count * strips, |task| {
        let (row, from) = (task / strips, task % strips * STRIP);
        let width = STRIP.min(outer.len - from);
        let start = outer.offsets(row)[0] + from;
        // SAFETY: strips of the output do not overlap.
        let out = unsafe { base.slice_mut(row * outer.len + from, width) };
        isa.vectorize(
            #[inline(always)]
            || {
                let at = |i: usize| {
                    start + inner.offsets(i / inner.len)[0] + i % inner.len * inner.strides[0]
                };
                let mut total = [T::Compute::ZERO; STRIP];
                let mut block = [T::Compute::ZERO; STRIP];
                for first in (0..n_in).step_by(BLOCK) {
                    let line = &data[at(first)..][..width];
                    for (b, v) in block.iter_mut().zip(line) {
                        *b = v.load();
                    }
                    for i in first + 1..(first + BLOCK).min(n_in) {
                        let line = &data[at(i)..][..width];
                        for (b, v) in block[..width].iter_mut().zip(line) {
                            *b = F::join(*b, v.load());
                        }
                    }
                    for (t, b) in total[..width].iter_mut().zip(&block) {
                        *t = if first == 0 { *b } else { F::join(*t, *b) };
                    }
                }
                for (o, t) in out.iter_mut().zip(&total) {
                    *o = T::store(*t);
                }
            },
        );
    });
}
