//! The chunked loss on a card: logits, loss, and gradients of one stretch of rows at a time.

use super::cpu::{Options, Parts};
use crate::device::cuda::driver::Kernel;
use crate::device::cuda::launches::grid_of_blocks;
use crate::device::cuda::{Gpu, Module, arguments, module};
use crate::ops::matmul::cuda::{operand, product_into};
use crate::ops::reduce::cuda::computed;
use crate::{DType, Tensor};

pub(in crate::ops) static MODULE: Module = module!("cross_entropy");

const OP: &str = "linear_cross_entropy";

/// Logits that are held at once, in bytes: enough rows for products that fill a card.
const LOGITS_BYTES: usize = 512 << 20;
/// Rows of logits begin at multiples of so many elements, whatever the vocabulary: products read and write 16 bytes at a time then.
const PITCH: usize = 64;

pub(super) fn forward(
    gpu: &'static Gpu,
    x: &Tensor,
    weight: &Tensor,
    targets: &Tensor,
    options: &Options,
    wanted: bool,
) -> Parts {
    let held = computed(x.dtype());
    let ((rows, c), v) = ((x.size(0), x.size(1)), weight.size(0));
    let (to, weight_to) = (x.dtype(), weight.dtype());
    // Once for all chunks: what products are of.
    let [x, weight] = [x, weight].map(|t| operand(t, options.precision));
    let pitch = v.div_ceil(PITCH) * PITCH;
    let most = LOGITS_BYTES / (pitch.max(1) * held.size_bytes());
    let chunk = most.clamp(256, rows.max(256)).min(rows);
    let room = |dtype| Tensor::empty_on(gpu, OP, [chunk, pitch], dtype).narrow(1, 0, v);
    let logits = room(held);
    // Where products are of another type than the logits, their gradient is written in that at once.
    let slopes = if x.dtype() == held {
        logits.clone()
    } else {
        room(x.dtype())
    };
    let ignored = Tensor::full((), options.ignore_index as f64, DType::I64, x.device());
    // Stays on the card: nobody waits for it.
    let counted = targets.ne(&ignored).sum_all().to_dtype(held);
    let losses = Tensor::zeros([rows], held, x.device());
    let dx = wanted.then(|| Tensor::zeros([rows, c], to, x.device()));
    let dw = wanted.then(|| Tensor::zeros([v, c], held, x.device()));
    for first in (0..rows).step_by(chunk.max(1)) {
        let n = chunk.min(rows - first);
        let part = |t: &Tensor| t.narrow(0, first, n);
        let [logits, slopes] = [&logits, &slopes].map(|t| t.narrow(0, 0, n));
        let x = part(&x);
        let into = |to: &Tensor, a: &Tensor, b: &Tensor, add: bool| {
            product_into(gpu, OP, to, [a, b], options.precision, add);
        };
        into(&logits, &x, &weight.t(), false);
        let slopes_wanted = wanted.then_some(&slopes);
        let rows = [&part(&losses), &part(targets), &counted];
        softmax_rows(gpu, &logits, slopes_wanted, rows, options);
        if let (Some(dx), Some(dw)) = (&dx, &dw) {
            into(&part(dx), &slopes, &weight, false);
            into(dw, &slopes.t(), &x, true);
        }
    }
    let loss = losses.sum_all() / counted;
    let grads = dx.zip(dw).map(|(dx, dw)| (dx, dw.to_dtype(weight_to)));
    Parts { loss, grads }
}

/// Writes each row's own loss, and the gradient of the mean loss with respect to it. Logits and slopes lie alike.
fn softmax_rows(
    gpu: &'static Gpu,
    logits: &Tensor,
    slopes: Option<&Tensor>,
    [losses, targets, counted]: [&Tensor; 3],
    options: &Options,
) {
    let (rows, n) = (logits.size(0), logits.size(1));
    let pitch = logits.layout().strides()[0];
    let (op, fault) = gpu.index_check(OP);
    let to = slopes.unwrap_or(logits).dtype();
    let name = format!("cross_entropy_{}_{}", logits.dtype().name(), to.name());
    let kernel = Kernel {
        module: &MODULE,
        name: &name,
    };
    let grid = grid_of_blocks(rows);
    let cap = options.soft_cap.unwrap_or(0.0);
    let arguments = arguments![
        logits.address(),
        slopes.map_or(0, Tensor::address_to_write),
        losses.address_to_write(),
        targets.address(),
        counted.address(),
        rows as u64,
        n as u64,
        pitch as u64,
        options.ignore_index,
        cap,
        op,
        fault
    ];
    // SAFETY: the arguments of the kernel; logits, slopes and losses are this op's own, and targets are checked.
    unsafe { gpu.launch(OP, kernel, grid, arguments) };
}
