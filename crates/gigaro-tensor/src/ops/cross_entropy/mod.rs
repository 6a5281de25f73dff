//! Cross-entropy fused with the projection onto the vocabulary.

mod cpu;
pub(in crate::ops) mod cuda;

use super::composite::loss::{cross_entropy, soft_capped};
use super::linear::linear;
use super::matmul::precision;
use crate::Tensor;
use crate::autograd::{enable_grad, is_grad_enabled, record};
use crate::{DType, autograd};

/// Mean cross-entropy of `linear(x, weight)` against `targets`, without ever holding all logits:
/// rows are taken in chunks, and each chunk's gradients are computed while its logits are at hand.
/// Rows whose target is `ignore_index` do not count; NaN if all are ignored. With a `soft_cap` the logits pass through
/// `cap tanh(logits / cap)` first.
///
/// # Shapes
/// `x: (N, C)`, `weight: (V, C)`, `targets: (N)` of i64 -> scalar in f32 (f64 for f64)
/// # Panics
/// If shapes do not fit or a target is neither `ignore_index` nor below `V`.
/// # Reference
/// The loss of GPT: Radford et al. (2018); chunking as in Hsu et al. (2024), "Liger Kernel",
/// <https://arxiv.org/abs/2410.10989>
#[must_use]
#[track_caller]
pub fn linear_cross_entropy(
    x: &Tensor,
    weight: &Tensor,
    targets: &Tensor,
    ignore_index: i64,
    soft_cap: Option<f64>,
) -> Tensor {
    x.check_float("linear_cross_entropy");
    let fits = x.ndim() == 2 && weight.ndim() == 2 && x.size(1) == weight.size(1);
    assert!(
        fits && targets.shape() == &x.shape()[..1],
        "linear_cross_entropy: x of shape {}, weight {}, targets {}",
        x.layout().shape(),
        weight.layout().shape(),
        targets.layout().shape()
    );
    let targets = targets
        .detach()
        .to_device(x.device())
        .to_dtype(DType::I64)
        .contiguous();
    let options = cpu::Options {
        ignore_index,
        soft_cap,
        precision: precision(),
    };
    let wanted = is_grad_enabled() && (x.requires_grad() || weight.requires_grad());
    let contiguous = x.contiguous();
    let gpu = Tensor::common_gpu("linear_cross_entropy", &[x, weight, &targets]);
    let parts = match gpu {
        Some(gpu) => cuda::forward(gpu, &contiguous, weight, &targets, &options, wanted),
        None => {
            check_targets(&targets, weight.size(0), ignore_index);
            cpu::forward(&contiguous, weight, &targets, &options, wanted)
        }
    };
    record(
        "linear_cross_entropy",
        parts.loss,
        &[x, weight],
        false,
        || {
            let saved = [autograd::Saved::new(x), autograd::Saved::new(weight)];
            let (dx, dw) = parts.grads.expect("computed because they are wanted");
            Box::new(move |args| {
                if is_grad_enabled() {
                    return second_derivative(&saved, &targets, &options, args.grad);
                }
                // The usual gradient of a loss is 1: then there is nothing to do. On a card it costs less to multiply than to ask.
                let untouched = gpu.is_none() && args.grad.item() == 1.0;
                let scaled = |t: &Tensor| match untouched {
                    true => t.clone(),
                    false => (t * args.grad).to_dtype(t.dtype()),
                };
                vec![
                    args.needs[0].then(|| scaled(&dx)),
                    args.needs[1].then(|| scaled(&dw)),
                ]
            })
        },
    )
}

/// Gradients that can be differentiated again: those of the composite.
fn second_derivative(
    saved: &[autograd::Saved; 2],
    targets: &Tensor,
    options: &cpu::Options,
    grad: &Tensor,
) -> Vec<Option<Tensor>> {
    let inputs = [(*saved[0]).clone(), (*saved[1]).clone()];
    let (targets, ignore_index, cap) = (targets.clone(), options.ignore_index, options.soft_cap);
    autograd::vjp(&inputs, grad, |t| {
        enable_grad(|| {
            let logits = soft_capped(linear(&t[0], &t[1], None), cap);
            cross_entropy(&logits, &targets, ignore_index)
        })
    })
}

/// # Panics
/// If a target is neither `ignore_index` nor a class.
#[track_caller]
fn check_targets(targets: &Tensor, classes: usize, ignore_index: i64) {
    for &t in targets.data::<i64>().iter() {
        assert!(
            t == ignore_index || (t >= 0 && (t as usize) < classes),
            "linear_cross_entropy: target {t} is not below {classes} (and ignore_index is {ignore_index})"
        );
    }
}
