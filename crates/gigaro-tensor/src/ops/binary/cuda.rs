//! Arithmetic of two tensors on a card.

use crate::device::cuda::driver::Kernel;
use crate::device::cuda::launches::{grid_over_fours, pointwise, pointwise_named, suffix};
use crate::device::cuda::{Gpu, Module, Walk, arguments, module};
use crate::shape::Rows;
use crate::{Shape, Tensor};

pub(in crate::ops) static MODULE: Module = module!("binary");

pub(super) fn binary(gpu: &'static Gpu, op: &str, shape: &Shape, a: &Tensor, b: &Tensor) -> Tensor {
    pointwise_named(gpu, op, &MODULE, shape, [a, b], a.dtype(), &[])
}

/// `a + b` in f32, of f32 and bf16.
pub(super) fn add_narrow(gpu: &'static Gpu, shape: &Shape, a: &Tensor, b: &Tensor) -> Tensor {
    let kernel = Kernel {
        module: &MODULE,
        name: "add_f32_bf16",
    };
    pointwise(gpu, "add", kernel, shape, [a, b], a.dtype(), &[])
}

/// Changes `target` by `copy_`, `add_` or `mul_`; `source` has its dtype and broadcasts to its shape.
pub(crate) fn in_place(gpu: &'static Gpu, op: &str, target: &Tensor, source: &Tensor) {
    let shape = target.layout().shape();
    let walk = Walk::new(&Rows::new(shape, [target.layout(), source.layout()]));
    let name = format!("{op}_{}", suffix(target.dtype()));
    let kernel = Kernel {
        module: &MODULE,
        name: &name,
    };
    let (to, from) = (target.address_to_write(), source.address());
    let n = shape.numel() as u64;
    // SAFETY: the arguments of kernels that change in place; the walk stays within the views.
    unsafe {
        gpu.launch(
            op,
            kernel,
            grid_over_fours(shape.numel()),
            arguments![to, n, walk, from],
        )
    };
}
