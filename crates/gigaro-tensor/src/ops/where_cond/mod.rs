//! Choosing between two tensors by a third.

mod cuda;

use super::binary::broadcast;
use crate::autograd::record;
use crate::dtype::dispatch;
use crate::ops::elementwise::choose;
use crate::{DType, Tensor};

impl Tensor {
    /// `a` where `condition` is true, `b` elsewhere, with broadcasting.
    ///
    /// # Panics
    /// If `condition` is not bool or the shapes do not broadcast.
    #[must_use]
    #[track_caller]
    pub fn where_(condition: &Self, a: &Self, b: &Self) -> Self {
        assert!(
            condition.dtype() == DType::Bool,
            "where_: condition must be bool, got {}",
            condition.dtype()
        );
        let dtype = a.dtype().promote(b.dtype());
        let (a, b) = (a.to_dtype(dtype), b.to_dtype(dtype));
        let values = broadcast("where_", &a, &b);
        let Some(shape) = values.broadcast(condition.layout().shape()) else {
            panic!(
                "where_: condition of shape {} does not broadcast with {values}",
                condition.layout().shape()
            )
        };
        let result = match Self::common_gpu("where_", &[condition, &a, &b]) {
            Some(gpu) => cuda::choose(gpu, &shape, condition, &a, &b),
            None => dispatch!(dtype, T => choose::<T>(&shape, condition, &a, &b)),
        };
        record("where_", result, &[&a, &b], false, || {
            let (sa, sb) = (a.layout().shape().clone(), b.layout().shape().clone());
            let condition = condition.detach();
            Box::new(move |args| {
                let g = args.grad;
                let zero = Self::zeros((), g.dtype(), g.device());
                vec![
                    args.needs[0].then(|| Self::where_(&condition, g, &zero).sum_to(&sa)),
                    args.needs[1].then(|| Self::where_(&condition, &zero, g).sum_to(&sb)),
                ]
            })
        })
    }

    /// `value` where `mask` is true, `self` elsewhere.
    ///
    /// # Panics
    /// If `mask` is not bool or does not broadcast.
    #[must_use]
    #[track_caller]
    pub fn masked_fill(&self, mask: &Self, value: f64) -> Self {
        Self::where_(
            mask,
            &Self::full((), value, self.dtype(), self.device()),
            self,
        )
    }
}
