//! Layer normalisation on a card.

use crate::Tensor;
use crate::device::cuda::launches::{grid_of_rows, grid_of_stretches, launch_rows};
use crate::device::cuda::{Gpu, Module, arguments, module};
use crate::ops::reduce::cuda::computed;
use crate::storage::Buffer;

pub(in crate::ops) static MODULE: Module = module!("layer_norm");

pub(super) fn forward(
    gpu: &'static Gpu,
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
) -> Tensor {
    let n = x.size(-1);
    let rows = x.numel() / n.max(1);
    let out = Buffer::on(gpu, "layer_norm", x.numel() * x.dtype().size_bytes());
    let addresses = [out.address(), x.address(), weight.address(), bias.address()];
    let name = format!("layer_norm_{}", x.dtype().name());
    let grid = grid_of_rows(rows, n);
    // SAFETY: the arguments of the kernel, and blocks of `rows` times `n` and of `n` elements.
    unsafe {
        launch_rows(
            gpu,
            &MODULE,
            "layer_norm",
            &name,
            grid,
            &addresses,
            [rows, n],
            arguments![eps],
        )
    };
    Tensor::from_buffer(out, x.shape(), x.dtype())
}

/// Gradients of input, weight and bias.
pub(super) fn backward(
    gpu: &'static Gpu,
    x: &Tensor,
    weight: &Tensor,
    grad: &Tensor,
    eps: f64,
) -> Vec<Option<Tensor>> {
    let (n, grad) = (x.size(-1), grad.contiguous());
    let rows = x.numel() / n.max(1);
    let wide = computed(x.dtype());
    let dx = Buffer::on(gpu, "layer_norm", x.numel() * x.dtype().size_bytes());
    let kept = Buffer::on(gpu, "layer_norm", 2 * rows * wide.size_bytes());
    let addresses = [
        dx.address(),
        kept.address(),
        x.address(),
        weight.address(),
        grad.address(),
    ];
    let name = format!("layer_norm_backward_{}", x.dtype().name());
    let grid = grid_of_rows(rows, n);
    // SAFETY: the arguments of the kernel, and blocks of the sizes above.
    unsafe {
        launch_rows(
            gpu,
            &MODULE,
            "layer_norm",
            &name,
            grid,
            &addresses,
            [rows, n],
            arguments![eps],
        )
    };
    let (grid, stretches, stretch) = grid_of_stretches(rows, n);
    let sums = Buffer::on(gpu, "layer_norm", stretches * 2 * n * wide.size_bytes());
    let addresses = [sums.address(), kept.address(), x.address(), grad.address()];
    let name = format!("layer_norm_weights_{}", x.dtype().name());
    let extra = arguments![stretch as u64];
    // SAFETY: as above.
    unsafe {
        launch_rows(
            gpu,
            &MODULE,
            "layer_norm",
            &name,
            grid,
            &addresses,
            [rows, n],
            extra,
        )
    };
    let sums = Tensor::from_buffer(sums, [stretches, 2, n], wide).sum(0_isize);
    let dx = Tensor::from_buffer(dx, x.shape(), x.dtype());
    vec![Some(dx), Some(sums.select(0, 0)), Some(sums.select(0, 1))]
}
