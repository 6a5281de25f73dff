//! Activation functions on a card.

use crate::Tensor;
use crate::device::cuda::launches::pointwise_named;
use crate::device::cuda::{Gpu, Module, module};

pub(in crate::ops) static MODULE: Module = module!("activation");

pub(in crate::ops) fn forward(gpu: &'static Gpu, op: &str, x: &Tensor) -> Tensor {
    pointwise_named(gpu, op, &MODULE, x.layout().shape(), [x], x.dtype(), &[])
}

pub(in crate::ops) fn backward(gpu: &'static Gpu, op: &str, x: &Tensor, grad: &Tensor) -> Tensor {
    let op = format!("{op}_backward");
    pointwise_named(
        gpu,
        &op,
        &MODULE,
        x.layout().shape(),
        [x, grad],
        x.dtype(),
        &[],
    )
}
