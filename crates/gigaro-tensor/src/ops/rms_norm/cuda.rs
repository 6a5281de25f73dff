//! RMS normalisation on a card.

use crate::Tensor;
use crate::device::cuda::launches::{grid_of_rows, grid_of_stretches, launch_rows};
use crate::device::cuda::{Gpu, Module, arguments, module};
use crate::ops::reduce::cuda::computed;
use crate::storage::Buffer;

pub(in crate::ops) static MODULE: Module = module!("rms_norm");

pub(super) fn forward(gpu: &'static Gpu, x: &Tensor, weight: &Tensor, eps: f64) -> Tensor {
    let n = x.size(-1);
    let rows = x.numel() / n.max(1);
    let out = Buffer::on(gpu, "rms_norm", x.numel() * x.dtype().size_bytes());
    let addresses = [out.address(), x.address(), weight.address()];
    let name = format!("rms_norm_{}", x.dtype().name());
    let grid = grid_of_rows(rows, n);
    // SAFETY: the arguments of the kernel, and blocks of `rows` times `n` and of `n` elements.
    unsafe {
        launch_rows(
            gpu,
            &MODULE,
            "rms_norm",
            &name,
            grid,
            &addresses,
            [rows, n],
            arguments![eps],
        )
    };
    Tensor::from_buffer(out, x.shape(), x.dtype())
}

/// Gradients of input and weight.
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
    let dx = Buffer::on(gpu, "rms_norm", x.numel() * x.dtype().size_bytes());
    let kept = Buffer::on(gpu, "rms_norm", rows * wide.size_bytes());
    let addresses = [
        dx.address(),
        kept.address(),
        x.address(),
        weight.address(),
        grad.address(),
    ];
    let name = format!("rms_norm_backward_{}", x.dtype().name());
    let grid = grid_of_rows(rows, n);
    // SAFETY: the arguments of the kernel, and blocks of the sizes above.
    unsafe {
        launch_rows(
            gpu,
            &MODULE,
            "rms_norm",
            &name,
            grid,
            &addresses,
            [rows, n],
            arguments![eps],
        )
    };
    let (grid, stretches, stretch) = grid_of_stretches(rows, n);
    let sums = Buffer::on(gpu, "rms_norm", stretches * n * wide.size_bytes());
    let addresses = [sums.address(), kept.address(), x.address(), grad.address()];
    let name = format!("rms_norm_weights_{}", x.dtype().name());
    let extra = arguments![stretch as u64];
    // SAFETY: as above.
    unsafe {
        launch_rows(
            gpu,
            &MODULE,
            "rms_norm",
            &name,
            grid,
            &addresses,
            [rows, n],
            extra,
        )
    };
    let dw = Tensor::from_buffer(sums, [stretches, n], wide).sum(0_isize);
    vec![
        Some(Tensor::from_buffer(dx, x.shape(), x.dtype())),
        Some(dw),
    ]
}
