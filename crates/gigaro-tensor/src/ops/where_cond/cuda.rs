//! Choosing between two tensors on a card.

use crate::device::cuda::driver::Kernel;
use crate::device::cuda::launches::pointwise;
use crate::device::cuda::{Gpu, Module, module};
use crate::{Shape, Tensor};

pub(in crate::ops) static MODULE: Module = module!("where_cond");

pub(super) fn choose(
    gpu: &'static Gpu,
    shape: &Shape,
    condition: &Tensor,
    a: &Tensor,
    b: &Tensor,
) -> Tensor {
    let name = format!("where_{}", a.dtype().size_bytes());
    let kernel = Kernel {
        module: &MODULE,
        name: &name,
    };
    pointwise(
        gpu,
        "where_",
        kernel,
        shape,
        [condition, a, b],
        a.dtype(),
        &[],
    )
}
