//! Sorting and the largest few.
//!
//! Both find an order of indices and gather by it, so the gradient is gather's.

mod cuda;

use crate::device::cpu::threads::{SendPtr, parallel_for};
use crate::dtype::{Compute, Number, dispatch};
use crate::shape::resolve_dim;
use crate::storage::Buffer;
use crate::{DType, Tensor};
use std::cmp::Ordering;

impl Tensor {
    /// Values and their indices (i64) in order along `dim`. Equal values keep their order; NaN counts
    /// as largest.
    ///
    /// # Panics
    /// If the dim is out of range.
    #[must_use]
    #[track_caller]
    pub fn sort(&self, dim: isize, descending: bool) -> (Self, Self) {
        let d = resolve_dim("sort", dim, self.ndim());
        self.ordered(d, self.shape()[d], descending)
    }

    /// The `k` largest values along `dim`, largest first, and their indices (i64). Of equal values
    /// the first come first.
    ///
    /// # Panics
    /// If the dim is out of range or has fewer than `k` elements.
    #[must_use]
    #[track_caller]
    pub fn topk(&self, k: usize, dim: isize) -> (Self, Self) {
        let d = resolve_dim("topk", dim, self.ndim());
        assert!(
            k <= self.shape()[d],
            "topk: k = {k} of {} elements",
            self.shape()[d]
        );
        self.ordered(d, k, true)
    }

    /// The first `k` along `dim` in the given order.
    fn ordered(&self, d: usize, k: usize, descending: bool) -> (Self, Self) {
        let last = self.ndim() as isize - 1;
        let lines = self.detach().transpose(d as isize, last).contiguous();
        let index = match lines.gpu() {
            Some(gpu) => cuda::order(gpu, &lines, k, descending),
            None => ordered_lines(&lines, k, descending),
        };
        let index = index.transpose(d as isize, last).contiguous();
        (self.gather(d as isize, &index), index)
    }
}

/// The indices of the first `k` of each contiguous line.
fn ordered_lines(lines: &Tensor, k: usize, descending: bool) -> Tensor {
    let n = lines.size(-1);
    let mut shape = lines.shape().to_vec();
    *shape.last_mut().expect("a dim was resolved") = k;
    let mut buffer = Buffer::scratch::<i64>(shape.iter().product());
    let base = SendPtr::new(buffer.as_mut::<i64>().as_mut_ptr());
    dispatch!(lines.dtype(), T => {
        let data = lines.data::<T>();
        let count = data.len().checked_div(n).unwrap_or(0);
        parallel_for(count, |line| {
            let values = &data[line * n..(line + 1) * n];
            // SAFETY: lines of the output do not overlap.
            let out = unsafe { base.slice_mut(line * k, k) };
            order(values, k, descending, out);
        });
    });
    Tensor::from_buffer(buffer, shape, DType::I64)
}

/// Writes the indices of the first `k` values in order.
fn order<T: Number>(values: &[T], k: usize, descending: bool, out: &mut [i64]) {
    let before = |&a: &usize, &b: &usize| {
        let (x, y) = (values[a].load(), values[b].load());
        let by_value = match (x.is_nan(), y.is_nan()) {
            (false, false) => x.partial_cmp(&y).unwrap_or(Ordering::Equal),
            (nx, ny) => nx.cmp(&ny),
        };
        (if descending {
            by_value.reverse()
        } else {
            by_value
        })
        .then(a.cmp(&b))
    };
    let mut index: Vec<usize> = (0..values.len()).collect();
    if k < values.len() && k > 0 {
        index.select_nth_unstable_by(k - 1, before);
        index.truncate(k);
    }
    index.sort_unstable_by(before);
    for (o, i) in out.iter_mut().zip(index) {
        *o = i as i64;
    }
}
