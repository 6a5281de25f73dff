//! Joining tensors, and padding, which is joining with a constant.

mod cuda;

use crate::Tensor;
use crate::autograd::record;
use crate::device::cpu::threads::{SendPtr, parallel_for};
use crate::dtype::dispatch;
use crate::shape::resolve_dim;
use crate::storage::Buffer;

impl Tensor {
    /// Joins tensors along a dim; in all others they must agree.
    ///
    /// # Panics
    /// If there are none, or shapes or dtypes do not fit.
    #[must_use]
    #[track_caller]
    pub fn cat(tensors: &[&Self], dim: isize) -> Self {
        let Some(first) = tensors.first() else {
            panic!("cat: needs at least one tensor")
        };
        let d = resolve_dim("cat", dim, first.ndim());
        let mut shape = first.shape().to_vec();
        shape[d] = 0;
        for t in tensors {
            let same = t.ndim() == first.ndim()
                && t.dtype() == first.dtype()
                && (0..t.ndim()).all(|i| i == d || t.shape()[i] == first.shape()[i]);
            assert!(
                same,
                "cat: {} of shape {} does not join {} of shape {} along dim {d}",
                t.dtype(),
                t.layout().shape(),
                first.dtype(),
                first.layout().shape()
            );
            shape[d] += t.shape()[d];
        }
        let result = match Self::common_gpu("cat", tensors) {
            Some(gpu) => cuda::joined(gpu, tensors, d, shape),
            None => joined(tensors, d, shape),
        };
        record("cat", result, tensors, false, || {
            let sizes: Vec<usize> = tensors.iter().map(|t| t.shape()[d]).collect();
            Box::new(move |args| {
                let mut start = 0;
                let piece = |(&n, &needed): (&usize, &bool)| {
                    start += n;
                    needed.then(|| args.grad.narrow(d as isize, start - n, n))
                };
                sizes.iter().zip(args.needs).map(piece).collect()
            })
        })
    }

    /// Joins tensors of one shape along a new dim.
    ///
    /// # Panics
    /// If there are none, or shapes or dtypes differ.
    #[must_use]
    #[track_caller]
    pub fn stack(tensors: &[&Self], dim: isize) -> Self {
        let parts: Vec<Self> = tensors.iter().map(|t| t.unsqueeze(dim)).collect();
        Self::cat(&parts.iter().collect::<Vec<_>>(), dim)
    }

    /// Zeros before and after along one dim.
    pub(crate) fn pad_dim(&self, dim: usize, before: usize, after: usize) -> Self {
        let zeros = |n: usize| {
            let mut shape = self.shape().to_vec();
            shape[dim] = n;
            Self::zeros(shape, self.dtype(), self.device())
        };
        match (before, after) {
            (0, 0) => self.clone(),
            (0, n) => Self::cat(&[self, &zeros(n)], dim as isize),
            (n, 0) => Self::cat(&[&zeros(n), self], dim as isize),
            (n, m) => Self::cat(&[&zeros(n), self, &zeros(m)], dim as isize),
        }
    }

    /// Adds `value` around a tensor: `padding` holds how many before and after, for the last dim first,
    /// as in PyTorch.
    ///
    /// # Panics
    /// If `padding` names more dims than there are.
    #[must_use]
    #[track_caller]
    pub fn pad(&self, padding: &[(usize, usize)], value: f64) -> Self {
        assert!(
            padding.len() <= self.ndim(),
            "pad: {padding:?} for shape {}",
            self.layout().shape()
        );
        let mut out = self.clone();
        for (i, &(before, after)) in padding.iter().enumerate() {
            let d = self.ndim() - 1 - i;
            let constant = |n: usize| {
                let mut shape = out.shape().to_vec();
                shape[d] = n;
                Self::full(shape, value, self.dtype(), self.device())
            };
            out = Self::cat(&[&constant(before), &out, &constant(after)], d as isize);
        }
        out
    }
}

/// Copies the operands next to each other.
fn joined(tensors: &[&Tensor], d: usize, shape: Vec<usize>) -> Tensor {
    let inner: usize = shape[d + 1..].iter().product();
    let outer: usize = shape[..d].iter().product();
    let row = shape[d] * inner;
    dispatch!(tensors[0].dtype(), T => {
        let mut buffer = Buffer::scratch::<T>(outer * row);
        let base = SendPtr::new(buffer.as_mut::<T>().as_mut_ptr());
        let mut start = 0;
        for t in tensors {
            let t = t.contiguous();
            let data = t.data::<T>();
            let width = t.shape()[d] * inner;
            // Many short rows make one piece.
            let per_task = (16_384 / width.max(1)).max(1);
            parallel_for(outer.div_ceil(per_task), |task| {
                for o in task * per_task..((task + 1) * per_task).min(outer) {
                    // SAFETY: each operand and row has its own place in the output.
                    let target = unsafe { base.slice_mut(o * row + start, width) };
                    target.copy_from_slice(&data[o * width..(o + 1) * width]);
                }
            });
            start += width;
        }
        Tensor::from_buffer(buffer, shape, tensors[0].dtype())
    })
}
