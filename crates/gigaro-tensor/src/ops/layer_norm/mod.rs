//! Layer normalisation.

mod cpu;
pub(in crate::ops) mod cuda;

use crate::Tensor;
use crate::autograd::record_fused;

/// Layer normalisation over the last dim, with affine weights.
///
/// `y = (x - E[x]) / sqrt(Var[x] + eps) * weight + bias`; statistics in f32.
///
/// # Shapes
/// `x: (.., C)`, `weight: (C)`, `bias: (C)` -> `(.., C)`
/// # Panics
/// If the last dim of `x` is not `C`, or the tensors are not floating-point.
/// # Reference
/// Ba, Kiros, Hinton (2016), <https://arxiv.org/abs/1607.06450>
#[must_use]
#[track_caller]
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, eps: f64) -> Tensor {
    x.check_float("layer_norm");
    check_affine("layer_norm", x, weight);
    if let Some(bias) = bias {
        check_affine("layer_norm", x, bias);
    }
    let (x, weight) = (x.contiguous(), weight.to_dtype(x.dtype()).contiguous());
    let zeros = || weight.detach().zeros_like();
    let bias = bias.map_or_else(zeros, |b| b.to_dtype(x.dtype()).contiguous());
    record_fused(
        "layer_norm",
        match Tensor::common_gpu("layer_norm", &[&x, &weight, &bias]) {
            Some(gpu) => cuda::forward(gpu, &x, &weight, &bias, eps),
            None => cpu::forward(&x, &weight, &bias, eps),
        },
        &[&x, &weight, &bias],
        move |t| {
            let centred = &t[0] - t[0].mean_keepdim(-1_isize);
            let variance = centred.square().mean_keepdim(-1_isize);
            centred * (variance + eps).rsqrt() * &t[1] + &t[2]
        },
        move |saved, args| match saved[0].gpu() {
            Some(gpu) => cuda::backward(gpu, &saved[0], &saved[1], args.grad, eps),
            None => cpu::backward(&saved[0], &saved[1], args.grad, eps),
        },
    )
}

/// # Panics
/// If `weight` is not a vector as long as the last dim of `x`.
#[track_caller]
pub(super) fn check_affine(op: &str, x: &Tensor, weight: &Tensor) {
    assert!(
        x.ndim() > 0 && weight.shape() == &x.shape()[x.ndim() - 1..],
        "{op}: weights of shape {} for the last dim of shape {}",
        weight.layout().shape(),
        x.layout().shape()
    );
}
