//! Softmax on a card.

use crate::Tensor;
use crate::device::cuda::launches::{grid_of_rows, launch_rows};
use crate::device::cuda::{Gpu, Module, module};
use crate::storage::Buffer;

pub(in crate::ops) static MODULE: Module = module!("softmax");

/// The forward kernel over contiguous rows.
pub(super) fn normalised(gpu: &'static Gpu, op: &str, x: &Tensor) -> Tensor {
    run(gpu, op, op, &[x])
}

/// The backward kernel, of the output and a contiguous gradient.
pub(super) fn gradient(gpu: &'static Gpu, op: &str, y: &Tensor, grad: &Tensor) -> Tensor {
    run(gpu, op, &format!("{op}_backward"), &[y, grad])
}

fn run(gpu: &'static Gpu, op: &str, kernel: &str, inputs: &[&Tensor]) -> Tensor {
    let (x, n) = (inputs[0], inputs[0].size(-1));
    let rows = x.numel() / n.max(1);
    let out = Buffer::on(gpu, op, x.numel() * x.dtype().size_bytes());
    let mut addresses = vec![out.address()];
    addresses.extend(inputs.iter().map(|t| t.address()));
    let name = format!("{kernel}_{}", x.dtype().name());
    // SAFETY: the arguments of the kernel, and blocks of as many elements each.
    unsafe {
        launch_rows(
            gpu,
            &MODULE,
            op,
            &name,
            grid_of_rows(rows, n),
            &addresses,
            [rows, n],
            &[],
        )
    };
    Tensor::from_buffer(out, x.shape(), x.dtype())
}
