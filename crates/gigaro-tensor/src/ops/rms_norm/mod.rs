//! Root-mean-square normalisation.

mod cpu;
mod cuda;

use super::layer_norm::check_affine;
use crate::Tensor;
use crate::autograd::record_fused;

/// RMS normalisation over the last dim: `y = x / sqrt(mean(x^2) + eps) * weight`; statistics in f32.
/// Without a weight, only the scale is normalised (as in QK-norm).
///
/// # Shapes
/// `x: (.., C)`, `weight: (C)` -> `(.., C)`
/// # Panics
/// If the last dim of `x` is not `C`, or the tensors are not floating-point.
/// # Reference
/// Zhang, Sennrich (2019), <https://arxiv.org/abs/1910.07467>
#[must_use]
#[track_caller]
pub fn rms_norm(x: &Tensor, weight: Option<&Tensor>, eps: f64) -> Tensor {
    x.check_float("rms_norm");
    if let Some(weight) = weight {
        check_affine("rms_norm", x, weight);
    }
    let ones = || Tensor::ones([x.size(-1)], x.dtype(), x.device());
    let weight = weight.map_or_else(ones, |w| w.to_dtype(x.dtype()).contiguous());
    let x = x.contiguous();
    record_fused(
        "rms_norm",
        match Tensor::common_gpu("rms_norm", &[&x, &weight]) {
            Some(gpu) => cuda::forward(gpu, &x, &weight, eps),
            None => cpu::forward(&x, &weight, eps),
        },
        &[&x, &weight],
        move |t| &t[0] * (t[0].square().mean_keepdim(-1_isize) + eps).rsqrt() * &t[1],
        move |saved, args| match saved[0].gpu() {
            Some(gpu) => cuda::backward(gpu, &saved[0], &saved[1], args.grad, eps),
            None => cpu::backward(&saved[0], &saved[1], args.grad, eps),
        },
    )
}
