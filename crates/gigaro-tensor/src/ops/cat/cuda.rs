//! Joining tensors on a card.

use crate::Tensor;
use crate::device::cuda::driver::Kernel;
use crate::device::cuda::launches::grid_over;
use crate::device::cuda::{Gpu, Module, Walk, arguments, module};
use crate::shape::Rows;
use crate::storage::Buffer;

pub(in crate::ops) static MODULE: Module = module!("cat");

/// Copies the operands next to each other along `d`.
pub(super) fn joined(
    gpu: &'static Gpu,
    tensors: &[&Tensor],
    d: usize,
    shape: Vec<usize>,
) -> Tensor {
    let (dtype, inner) = (tensors[0].dtype(), shape[d + 1..].iter().product::<usize>());
    let out = Buffer::on(
        gpu,
        "cat",
        shape.iter().product::<usize>() * dtype.size_bytes(),
    );
    let name = format!("cat_{}", dtype.size_bytes());
    let kernel = Kernel {
        module: &MODULE,
        name: &name,
    };
    let (row, mut start) = ((shape[d] * inner) as u64, 0);
    for t in tensors {
        let (n, width) = (t.numel(), t.shape()[d] * inner);
        let walk = Walk::new(&Rows::new(t.layout().shape(), [t.layout()]));
        let arguments = arguments![
            out.address(),
            n as u64,
            walk,
            t.address(),
            width as u64,
            row,
            start
        ];
        // SAFETY: the arguments of the kernel; operands and their places in the rows do not overlap.
        unsafe { gpu.launch("cat", kernel, grid_over(n), arguments) };
        start += width as u64;
    }
    Tensor::from_buffer(out, shape, dtype)
}
