//! Where the largest and smallest values lie.

mod cuda;

use crate::device::cpu::threads::{SendPtr, parallel_for};
use crate::dtype::{Compute, Number, dispatch};
use crate::shape::{Rows, resolve_dim};
use crate::storage::Buffer;
use crate::{DType, Tensor};

impl Tensor {
    /// Index of the largest value along `dim`, which disappears; the first of equals, and NaN
    /// counts as largest. i64, no gradient: an index does not move smoothly.
    ///
    /// # Panics
    /// If the dim is out of range or empty.
    #[must_use]
    #[track_caller]
    pub fn argmax(&self, dim: isize) -> Self {
        self.arg_reduced("argmax", dim, true)
    }

    /// Index of the smallest value along `dim`, which disappears; the first of equals, and NaN
    /// counts as smallest. i64, no gradient.
    ///
    /// # Panics
    /// If the dim is out of range or empty.
    #[must_use]
    #[track_caller]
    pub fn argmin(&self, dim: isize) -> Self {
        self.arg_reduced("argmin", dim, false)
    }

    #[track_caller]
    fn arg_reduced(&self, op: &str, dim: isize, largest: bool) -> Self {
        let dim = resolve_dim(op, dim, self.ndim());
        let n = self.shape()[dim];
        assert!(
            n > 0,
            "{op}: nothing to choose from along an empty dim of shape {}",
            self.layout().shape()
        );
        if let Some(gpu) = self.gpu() {
            return cuda::arg_reduced(gpu, op, self, dim);
        }
        let kept = self.layout().narrow(dim, 0, 1).remove(dim);
        let step = self.layout().strides()[dim];
        let rows = Rows::new(kept.shape(), [&kept]);
        let mut buffer = Buffer::scratch::<i64>(kept.numel());
        let base = SendPtr::new(buffer.as_mut::<i64>().as_mut_ptr());
        dispatch!(self.dtype(), T => {
            let data = self.data::<T>();
            let per_task = (16_384 / n).max(1);
            parallel_for(kept.numel().div_ceil(per_task), |task| {
                for o in task * per_task..((task + 1) * per_task).min(kept.numel()) {
                    let from = rows.offsets(o / rows.len)[0] + o % rows.len * rows.strides[0];
                    let at = extreme((0..n).map(|i| Number::load(data[from + i * step])), largest);
                    // SAFETY: each output is written by one task.
                    unsafe { base.slice_mut(o, 1)[0] = at };
                }
            });
        });
        Self::from_buffer(buffer, kept.shape(), DType::I64)
    }
}

/// Index of the extreme value of a sequence that is not empty.
fn extreme<C: Compute>(mut values: impl Iterator<Item = C>, largest: bool) -> i64 {
    let Some(mut best) = values.next() else {
        return 0;
    };
    let mut at = 0;
    for (i, v) in values.enumerate() {
        let better = if largest { v > best } else { v < best };
        if better || (v.is_nan() && !best.is_nan()) {
            if best.is_nan() {
                continue;
            }
            best = v;
            at = i as i64 + 1;
        }
    }
    at
}
