//! Sums along rows, in sixteen running values that vectorise; the order depends on the length only.

use crate::device::cpu::threads::parallel_for;
use crate::dtype::{Compute, Number};

const LANES: usize = 16;

#[inline(always)]
fn tree<C: Compute>(mut lanes: [C; LANES]) -> C {
    for width in [8, 4, 2, 1] {
        for k in 0..width {
            lanes[k] = lanes[k] + lanes[k + width];
        }
    }
    lanes[0]
}

/// Sum of `f(x[i])`.
#[inline(always)]
pub(crate) fn sum1<T: Number>(x: &[T], f: impl Fn(T::Compute) -> T::Compute) -> T::Compute {
    let mut lanes = [T::Compute::ZERO; LANES];
    let (groups, rest) = x.as_chunks::<LANES>();
    for g in groups {
        for k in 0..LANES {
            lanes[k] = lanes[k] + f(g[k].load());
        }
    }
    for (lane, &v) in lanes.iter_mut().zip(rest) {
        *lane = *lane + f(v.load());
    }
    tree(lanes)
}

/// Sum of `f(x[i], y[i])`.
#[inline(always)]
pub(crate) fn sum2<T: Number, U: Number<Compute = T::Compute>>(
    x: &[T],
    y: &[U],
    f: impl Fn(T::Compute, T::Compute) -> T::Compute,
) -> T::Compute {
    let mut lanes = [T::Compute::ZERO; LANES];
    let ((gx, rx), (gy, ry)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (a, b) in gx.iter().zip(gy) {
        for k in 0..LANES {
            lanes[k] = lanes[k] + f(a[k].load(), b[k].load());
        }
    }
    for ((lane, &a), &b) in lanes.iter_mut().zip(rx).zip(ry) {
        *lane = *lane + f(a.load(), b.load());
    }
    tree(lanes)
}

/// Sum of `f(x[i], y[i], z[i])`.
#[inline(always)]
pub(crate) fn sum3<T: Number>(
    x: &[T],
    y: &[T],
    z: &[T],
    f: impl Fn(T::Compute, T::Compute, T::Compute) -> T::Compute,
) -> T::Compute {
    let mut lanes = [T::Compute::ZERO; LANES];
    let ((gx, rx), (gy, ry), (gz, rz)) = (
        x.as_chunks::<LANES>(),
        y.as_chunks::<LANES>(),
        z.as_chunks::<LANES>(),
    );
    for ((a, b), c) in gx.iter().zip(gy).zip(gz) {
        for k in 0..LANES {
            lanes[k] = lanes[k] + f(a[k].load(), b[k].load(), c[k].load());
        }
    }
    for (((lane, &a), &b), &c) in lanes.iter_mut().zip(rx).zip(ry).zip(rz) {
        *lane = *lane + f(a.load(), b.load(), c.load());
    }
    tree(lanes)
}

/// Largest value, `start` if the row is empty; NaN is passed over.
#[inline(always)]
pub(crate) fn max1<T: Number>(x: &[T], start: T::Compute) -> T::Compute {
    let mut lanes = [start; LANES];
    let (groups, rest) = x.as_chunks::<LANES>();
    for g in groups {
        for k in 0..LANES {
            let v = g[k].load();
            lanes[k] = if v > lanes[k] { v } else { lanes[k] };
        }
    }
    for (lane, &v) in lanes.iter_mut().zip(rest) {
        *lane = if v.load() > *lane { v.load() } else { *lane };
    }
    lanes
        .into_iter()
        .fold(start, |a, b| if b > a { b } else { a })
}

/// Calls `f(row)` for every row, several rows to a piece; the pieces depend on the shape only.
pub(crate) fn for_each_row(rows: usize, row_len: usize, f: impl Fn(usize) + Sync) {
    let per_task = (8192 / row_len.max(1)).max(1);
    parallel_for(rows.div_ceil(per_task), |task| {
        for row in task * per_task..((task + 1) * per_task).min(rows) {
            f(row);
        }
    });
}
