//! Comparisons and logic on a card.

use crate::device::cuda::launches::pointwise_named;
use crate::device::cuda::{Gpu, Module, module};
use crate::{DType, Shape, Tensor};

pub(in crate::ops) static MODULE: Module = module!("compare");

pub(super) fn compare<const N: usize>(
    gpu: &'static Gpu,
    op: &str,
    shape: &Shape,
    inputs: [&Tensor; N],
) -> Tensor {
    pointwise_named(gpu, op, &MODULE, shape, inputs, DType::Bool, &[])
}
