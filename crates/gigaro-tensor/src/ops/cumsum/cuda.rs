//! Running sums on a card.

use crate::Tensor;
use crate::device::cuda::driver::Kernel;
use crate::device::cuda::launches::{grid_over, suffix};
use crate::device::cuda::{Gpu, Module, arguments, module};
use crate::storage::Buffer;

pub(in crate::ops) static MODULE: Module = module!("cumsum");

/// Sums along `dim` of a contiguous tensor.
pub(super) fn cumsum(gpu: &'static Gpu, x: &Tensor, dim: usize, reverse: bool) -> Tensor {
    let n = x.shape()[dim];
    let inner: usize = x.shape()[dim + 1..].iter().product();
    let lines = x.numel().checked_div(n).unwrap_or(0);
    let out = Buffer::on(gpu, "cumsum", x.numel() * x.dtype().size_bytes());
    let name = format!("cumsum_{}", suffix(x.dtype()));
    let kernel = Kernel {
        module: &MODULE,
        name: &name,
    };
    let sizes = [lines, n, inner].map(|n| n as u64);
    let arguments = arguments![
        out.address(),
        x.address(),
        sizes[0],
        sizes[1],
        sizes[2],
        u32::from(reverse)
    ];
    // SAFETY: the arguments of the kernel, and two blocks of as many elements.
    unsafe { gpu.launch("cumsum", kernel, grid_over(lines), arguments) };
    Tensor::from_buffer(out, x.shape(), x.dtype())
}
