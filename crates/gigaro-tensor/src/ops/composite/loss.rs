//! Losses as compositions; `ops/cross_entropy` holds the fused one for language models.

use crate::ops::softmax::log_softmax;
use crate::{DType, Tensor};

/// Mean negative log-likelihood of `targets` under `log_probs`, leaving out rows whose target is
/// `ignore_index`.
///
/// # Shapes
/// `log_probs: (N, V)`, `targets: (N)` of i64 -> scalar
/// # Panics
/// If shapes do not fit or a target is neither `ignore_index` nor below `V`.
#[must_use]
#[track_caller]
pub fn nll_loss(log_probs: &Tensor, targets: &Tensor, ignore_index: i64) -> Tensor {
    assert!(
        log_probs.ndim() == 2 && targets.shape() == &log_probs.shape()[..1],
        "nll_loss: targets of shape {} for log-probabilities of shape {}",
        targets.layout().shape(),
        log_probs.layout().shape()
    );
    let ignored = targets.eq(&Tensor::full(
        (),
        ignore_index as f64,
        DType::I64,
        targets.device(),
    ));
    let safe = targets.to_dtype(DType::I64).masked_fill(&ignored, 0.0);
    let picked = log_probs
        .gather(1, &safe.unsqueeze(1))
        .squeeze(1)
        .masked_fill(&ignored, 0.0);
    let counted = targets.numel() as f64 - ignored.sum_all().item();
    picked.sum_all() * (-1.0 / counted)
}

/// Mean cross-entropy of `logits` against `targets`, leaving out rows whose target is
/// `ignore_index`; NaN if all are.
///
/// # Shapes
/// `logits: (N, V)`, `targets: (N)` of i64 -> scalar
/// # Panics
/// If shapes do not fit or a target is neither `ignore_index` nor below `V`.
#[must_use]
#[track_caller]
pub fn cross_entropy(logits: &Tensor, targets: &Tensor, ignore_index: i64) -> Tensor {
    nll_loss(&log_softmax(logits, -1), targets, ignore_index)
}

/// `cap tanh(logits / cap)`, which stays within `cap` of 0; without a cap the logits themselves.
///
/// # Panics
/// If the tensor is not floating-point.
#[must_use]
#[track_caller]
pub fn soft_capped(logits: Tensor, soft_cap: Option<f64>) -> Tensor {
    match soft_cap {
        None => logits,
        Some(cap) => (logits * (1.0 / cap)).tanh() * cap,
    }
}

/// Mean squared error.
///
/// # Shapes
/// `input` and `target` broadcast -> scalar
/// # Panics
/// If the shapes do not broadcast.
#[must_use]
#[track_caller]
pub fn mse_loss(input: &Tensor, target: &Tensor) -> Tensor {
    (input - target).square().mean_all()
}
