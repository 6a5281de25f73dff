//! Functions of one element on a card.

use crate::Tensor;
use crate::device::cuda::launches::pointwise_named;
use crate::device::cuda::{Gpu, Module, arguments, module};

pub(in crate::ops) static MODULE: Module = module!("unary");

#[track_caller]
pub(super) fn unary(gpu: &'static Gpu, op: &str, x: &Tensor) -> Tensor {
    x.check_float(op);
    pointwise_named(gpu, op, &MODULE, x.layout().shape(), [x], x.dtype(), &[])
}

#[track_caller]
pub(super) fn pow(gpu: &'static Gpu, x: &Tensor, exponent: f64) -> Tensor {
    x.check_float("pow");
    let shape = x.layout().shape();
    pointwise_named(
        gpu,
        "pow",
        &MODULE,
        shape,
        [x],
        x.dtype(),
        arguments![exponent],
    )
}
