//! Dropout on a card.

use crate::Tensor;
use crate::device::cuda::driver::Kernel;
use crate::device::cuda::graph::random_position;
use crate::device::cuda::launches::grid_over;
use crate::device::cuda::{Gpu, Module, arguments, module};
use crate::storage::Buffer;

pub(in crate::ops) static MODULE: Module = module!("dropout");

/// The mask that a key and a counter stand for, on a contiguous tensor.
pub(super) fn masked(
    gpu: &'static Gpu,
    x: &Tensor,
    p: f64,
    threshold: u32,
    seed: u64,
    first: u64,
) -> Tensor {
    let (position, first) = random_position(gpu, seed, first);
    let n = x.numel();
    let out = Buffer::on(gpu, "dropout", n * x.dtype().size_bytes());
    let name = format!("dropout_{}", x.dtype().name());
    let kernel = Kernel {
        module: &MODULE,
        name: &name,
    };
    let scale = 1.0 / (1.0 - p);
    let arguments = arguments![
        out.address(),
        n as u64,
        x.address(),
        scale,
        threshold,
        seed,
        position,
        first
    ];
    // SAFETY: the arguments of the kernel, and two blocks of `n` elements.
    unsafe { gpu.launch("dropout", kernel, grid_over(n.div_ceil(4)), arguments) };
    Tensor::from_buffer(out, x.shape(), x.dtype())
}
