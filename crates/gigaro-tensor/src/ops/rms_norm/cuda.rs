//! RMS normalisation on a card.

use crate::device::cuda::{Gpu, Module, module};
use crate::ops::layer_norm::cuda::Normalisation;
use crate::{DType, Tensor};

pub(in crate::ops) static MODULE: Module = module!("rms_norm");

const RMS_NORM: Normalisation = Normalisation {
    op: "rms_norm",
    module: &MODULE,
    kept: 1,
    sums: 1,
};

pub(super) fn forward(
    gpu: &'static Gpu,
    x: &Tensor,
    weight: &Tensor,
    eps: f64,
    dtype: DType,
) -> Tensor {
    RMS_NORM.forward(gpu, x, &[weight], eps, dtype)
}

/// Gradients of input and weight.
pub(super) fn backward(
    gpu: &'static Gpu,
    x: &Tensor,
    weight: &Tensor,
    grad: &Tensor,
    eps: f64,
) -> Vec<Option<Tensor>> {
    let (dx, sums) = RMS_NORM.backward(gpu, x, weight, grad, eps);
    vec![Some(dx), Some(sums.select(0, 0))]
}
