//! Running sums.

mod cuda;

use crate::Tensor;
use crate::autograd::record;
use crate::device::cpu::threads::{SendPtr, parallel_for};
use crate::dtype::{Compute, Number, dispatch};
use crate::shape::resolve_dim;
use crate::storage::Buffer;

impl Tensor {
    /// Sum of all elements up to and including each one, along `dim`.
    ///
    /// # Panics
    /// If the dim is out of range.
    #[must_use]
    #[track_caller]
    pub fn cumsum(&self, dim: isize) -> Self {
        let dim = resolve_dim("cumsum", dim, self.ndim());
        self.cumsum_directed(dim, false)
    }

    /// From the first element on, or from the last one backwards; each is the other's gradient.
    fn cumsum_directed(&self, dim: usize, reverse: bool) -> Self {
        let x = self.contiguous();
        let n = x.shape()[dim];
        let inner: usize = x.shape()[dim + 1..].iter().product();
        let result = if let Some(gpu) = x.gpu() {
            cuda::cumsum(gpu, &x, dim, reverse)
        } else {
            dispatch!(x.dtype(), T => {
                let data = x.data::<T>();
                let mut buffer = Buffer::scratch::<T>(data.len());
                let base = SendPtr::new(buffer.as_mut::<T>().as_mut_ptr());
                let lines = data.len().checked_div(n).unwrap_or(0);
                parallel_for(lines, |line| {
                    let start = line / inner * n * inner + line % inner;
                    (0..n).fold(Compute::ZERO, |before, i| {
                        let at = start + inner * if reverse { n - 1 - i } else { i };
                        let sum = before + Number::load(data[at]);
                        // SAFETY: lines have no element in common.
                        unsafe { base.slice_mut(at, 1)[0] = <T as Number>::store(sum) };
                        sum
                    });
                });
                Self::from_buffer(buffer, x.shape(), x.dtype())
            })
        };
        record("cumsum", result, &[self], false, || {
            Box::new(move |args| vec![Some(args.grad.cumsum_directed(dim, !reverse))])
        })
    }
}
