//! Matrix products, batched and broadcast.

mod cpu;
pub(in crate::ops) mod cuda;

pub(super) use cpu::{data_mut, product, product_with_bias, with_data};

use crate::autograd::{Saved, autocast_dtype, record};
use crate::device::cpu::gemm::Compute;
use crate::{DType, Tensor};

/// What products compute in on this thread.
pub(crate) fn precision() -> Compute {
    if autocast_dtype() == Some(DType::BF16) {
        Compute::BF16
    } else {
        Compute::F32
    }
}

/// The dtype in which the inside of a network may keep what it computes from `x`: bf16 on a card where products compute in that, since the next product
/// rounds to it anyway and half the bytes travel; elsewhere that of `x`.
#[must_use]
pub fn autocast_output(x: &Tensor) -> DType {
    let narrow = x.gpu().is_some() && precision() == Compute::BF16;
    match x.dtype() {
        DType::F32 | DType::F16 if narrow => DType::BF16,
        dtype => dtype,
    }
}

impl Tensor {
    /// Matrix product. Vectors count as a row on the left and a column on the right, leading dims
    /// are batches and broadcast. Transposed operands are read as they lie, without a copy.
    ///
    /// Inside [`autocast`](crate::autocast) f32 and f16 operands are rounded to bf16; sums are
    /// always f32 (f64 for f64).
    ///
    /// # Shapes
    /// `(.., M, K) x (.., K, N)` -> `(.., M, N)`; `(K)` on either side drops that dim
    /// # Panics
    /// If shapes or dtypes do not fit.
    #[must_use]
    #[track_caller]
    pub fn matmul(&self, other: &Self) -> Self {
        assert!(
            self.ndim() > 0 && other.ndim() > 0 && self.dtype() == other.dtype(),
            "matmul: {} of shape {} by {} of shape {}",
            self.dtype(),
            self.layout().shape(),
            other.dtype(),
            other.layout().shape()
        );
        if self.ndim() == 1 {
            return self
                .unsqueeze(0)
                .matmul(other)
                .squeeze(if other.ndim() == 1 { 0 } else { -2 });
        }
        if other.ndim() == 1 {
            return self.matmul(&other.unsqueeze(1)).squeeze(-1);
        }
        assert!(
            self.size(-1) == other.size(-2),
            "matmul: inner dims of {} and {} differ",
            self.layout().shape(),
            other.layout().shape()
        );
        if self.ndim() > 2 && other.ndim() == 2 {
            // One tall product instead of a batch of small ones.
            let (m, n) = (self.numel() / self.size(-1).max(1), other.size(-1));
            let shape = [&self.shape()[..self.ndim() - 1], &[n]].concat();
            if self.size(-1) > 0 {
                return recorded(&self.reshape([m, self.size(-1)]), other, precision())
                    .reshape(shape);
            }
        }
        recorded(self, other, precision())
    }
}

/// A product and its gradients, which are products too.
#[track_caller]
fn recorded(a: &Tensor, b: &Tensor, compute: Compute) -> Tensor {
    record(
        "matmul",
        product("matmul", a, b, compute, a.dtype()),
        &[a, b],
        false,
        || {
            let (a, b) = (Saved::new(a), Saved::new(b));
            Box::new(move |args| {
                let g = args.grad;
                vec![
                    args.needs[0].then(|| {
                        recorded(g, &b.transpose(-1, -2), compute).sum_to(a.layout().shape())
                    }),
                    args.needs[1].then(|| {
                        recorded(&a.transpose(-1, -2), g, compute).sum_to(b.layout().shape())
                    }),
                ]
            })
        },
    )
}
