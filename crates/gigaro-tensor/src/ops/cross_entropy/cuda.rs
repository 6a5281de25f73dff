//! The chunked loss on a card: logits, loss, and gradients of one stretch of rows at a time.

use super::cpu::{Options, Parts};
use crate::device::cuda::driver::Kernel;
use crate::device::cuda::launches::grid_of_blocks;
use crate::device::cuda::{Gpu, Module, arguments, module};
use crate::ops::matmul::cuda::add_product;
use crate::ops::matmul::product;
use crate::{DType, Tensor};

pub(in crate::ops) static MODULE: Module = module!("cross_entropy");

/// Logits that are held at once, in bytes: enough rows for products that fill a card.
const LOGITS_BYTES: usize = 512 << 20;

pub(super) fn forward(
    gpu: &'static Gpu,
    x: &Tensor,
    weight: &Tensor,
    targets: &Tensor,
    options: &Options,
    wanted: bool,
) -> Parts {
    const OP: &str = "linear_cross_entropy";
    let (x, weight) = (x.detach(), weight.detach());
    let held = if x.dtype() == DType::F64 {
        DType::F64
    } else {
        DType::F32
    };
    let ((rows, c), v) = ((x.size(0), x.size(1)), weight.size(0));
    let chunk = (LOGITS_BYTES / (v.max(1) * held.size_bytes())).clamp(256, rows.max(256));
    let ignored = Tensor::full((), options.ignore_index as f64, DType::I64, x.device());
    // Stays on the card: nobody waits for it.
    let counted = targets.ne(&ignored).sum_all().to_dtype(held);
    let losses = Tensor::zeros([rows], held, x.device());
    let dx = wanted.then(|| Tensor::zeros([rows, c], x.dtype(), x.device()));
    let dw = wanted.then(|| Tensor::zeros([v, c], held, x.device()));
    for first in (0..rows).step_by(chunk) {
        let n = chunk.min(rows - first);
        let part = |t: &Tensor| t.narrow(0, first, n);
        let logits = product(OP, &part(&x), &weight.t(), options.precision, held);
        softmax_rows(
            gpu,
            &logits,
            &part(&losses),
            &part(targets),
            &counted,
            options,
        );
        if let (Some(dx), Some(dw)) = (&dx, &dw) {
            part(dx).copy_(&product(OP, &logits, &weight, options.precision, x.dtype()));
            let operands = [&logits.t(), &part(&x)];
            add_product(gpu, OP, dw, operands, options.precision);
        }
    }
    let loss = losses.sum_all() / counted;
    let grads = dx.zip(dw).map(|(dx, dw)| (dx, dw.to_dtype(weight.dtype())));
    Parts { loss, grads }
}

/// Replaces each row of logits by the gradient of the mean loss with respect to it, and writes the row's own loss.
fn softmax_rows(
    gpu: &'static Gpu,
    logits: &Tensor,
    losses: &Tensor,
    targets: &Tensor,
    counted: &Tensor,
    options: &Options,
) {
    let (rows, n) = (logits.size(0), logits.size(1));
    let (op, fault) = gpu.index_check("linear_cross_entropy");
    let name = format!("cross_entropy_{}", logits.dtype().name());
    let kernel = Kernel {
        module: &MODULE,
        name: &name,
    };
    let grid = grid_of_blocks(rows);
    let (to, loss, from) = (logits.address(), losses.address(), targets.address());
    let cap = options.soft_cap.unwrap_or(0.0);
    let arguments = arguments![
        to,
        loss,
        from,
        counted.address(),
        rows as u64,
        n as u64,
        options.ignore_index,
        cap,
        op,
        fault
    ];
    // SAFETY: the arguments of the kernel; logits and losses are this op's own, and targets are checked.
    unsafe { gpu.launch("linear_cross_entropy", kernel, grid, arguments) };
}
