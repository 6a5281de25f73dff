//! Sorting on a card.

use crate::device::cuda::driver::Kernel;
use crate::device::cuda::launches::{grid_over, suffix};
use crate::device::cuda::{Gpu, Module, arguments, module};
use crate::storage::Buffer;
use crate::{DType, Tensor};

pub(in crate::ops) static MODULE: Module = module!("sort");

/// The indices of the first `k` of each contiguous line, in order.
pub(super) fn order(gpu: &'static Gpu, lines: &Tensor, k: usize, descending: bool) -> Tensor {
    let n = lines.size(-1);
    let mut shape = lines.shape().to_vec();
    *shape.last_mut().expect("a dim was resolved") = k;
    let out = Buffer::on(
        gpu,
        "sort",
        shape.iter().product::<usize>() * DType::I64.size_bytes(),
    );
    let name = format!("order_{}", suffix(lines.dtype()));
    let kernel = Kernel {
        module: &MODULE,
        name: &name,
    };
    let sizes = [lines.numel(), n, k].map(|n| n as u64);
    let descending = u32::from(descending);
    let arguments = arguments![
        out.address(),
        lines.address(),
        sizes[0],
        sizes[1],
        sizes[2],
        descending
    ];
    // SAFETY: the arguments of the kernel; every place below `k` is that of one element.
    unsafe { gpu.launch("sort", kernel, grid_over(lines.numel()), arguments) };
    Tensor::from_buffer(out, shape, DType::I64)
}
