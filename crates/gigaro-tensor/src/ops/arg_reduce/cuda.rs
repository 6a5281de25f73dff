//! Where the largest and smallest values lie, on a card.

use crate::device::cuda::driver::Kernel;
use crate::device::cuda::launches::{grid_of_blocks, suffix};
use crate::device::cuda::{Gpu, Module, Walk, arguments, module};
use crate::shape::Rows;
use crate::storage::Buffer;
use crate::{DType, Tensor};

pub(in crate::ops) static MODULE: Module = module!("arg_reduce");

pub(super) fn arg_reduced(gpu: &'static Gpu, op: &str, x: &Tensor, dim: usize) -> Tensor {
    let kept = x.layout().narrow(dim, 0, 1).remove(dim);
    let (n, step) = (x.shape()[dim] as u64, x.layout().strides()[dim] as i64);
    let outputs = kept.numel();
    let out = Buffer::on(gpu, op, outputs * DType::I64.size_bytes());
    let name = format!("{op}_{}", suffix(x.dtype()));
    let kernel = Kernel {
        module: &MODULE,
        name: &name,
    };
    // The kernel keeps room for as many threads as such a block has.
    let grid = grid_of_blocks(outputs);
    let walk = Walk::new(&Rows::new(kept.shape(), [&kept]));
    // SAFETY: the arguments of the kernel; the walk and the step together cover the view and no more.
    unsafe {
        gpu.launch(
            op,
            kernel,
            grid,
            arguments![out.address(), outputs as u64, walk, x.address(), n, step],
        );
    }
    Tensor::from_buffer(out, kept.shape(), DType::I64)
}
