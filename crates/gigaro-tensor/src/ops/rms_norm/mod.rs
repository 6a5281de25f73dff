//! Root-mean-square normalisation.

mod cpu;
mod cuda;

use super::layer_norm::{affine, check_affine, dtypes};
use crate::autograd::record_fused;
use crate::{DType, Tensor};

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
    rms_norm_to(x, weight, eps, x.dtype())
}

/// [`rms_norm`] with its result in `dtype`, such as [`autocast_output`](crate::functional::autocast_output) says.
///
/// # Shapes
/// As [`rms_norm`].
/// # Panics
/// As [`rms_norm`].
#[must_use]
#[track_caller]
pub fn rms_norm_to(x: &Tensor, weight: Option<&Tensor>, eps: f64, dtype: DType) -> Tensor {
    x.check_float("rms_norm");
    if let Some(weight) = weight {
        check_affine("rms_norm", x, weight);
    }
    let ones = || Tensor::ones([x.size(-1)], x.dtype(), x.device());
    let weight = affine(x, &weight.cloned().unwrap_or_else(ones));
    let (to, after) = dtypes(x, dtype);
    let x = x.contiguous();
    record_fused(
        "rms_norm",
        match Tensor::common_gpu("rms_norm", &[&x, &weight]) {
            Some(gpu) => cuda::forward(gpu, &x, &weight, eps, to),
            None => cpu::forward(&x, &weight, eps),
        },
        &[&x, &weight],
        move |t| {
            (&t[0] * (t[0].square().mean_keepdim(-1_isize) + eps).rsqrt() * &t[1]).to_dtype(to)
        },
        move |saved, args| match saved[0].gpu() {
            Some(gpu) => cuda::backward(gpu, &saved[0], &saved[1], args.grad, eps),
            None => cpu::backward(&saved[0], &saved[1], args.grad, eps),
        },
    )
    .to_dtype(after)
}
