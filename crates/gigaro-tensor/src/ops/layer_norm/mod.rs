//! Layer normalisation.

mod cpu;
pub(in crate::ops) mod cuda;

use crate::autograd::record_fused;
use crate::ops::reduce::cuda::computed;
use crate::{DType, Tensor};

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
    layer_norm_to(x, weight, bias, eps, x.dtype())
}

/// [`layer_norm`] with its result in `dtype`, such as [`autocast_output`](crate::functional::autocast_output) says.
///
/// # Shapes
/// As [`layer_norm`].
/// # Panics
/// As [`layer_norm`].
#[must_use]
#[track_caller]
pub fn layer_norm_to(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    eps: f64,
    dtype: DType,
) -> Tensor {
    x.check_float("layer_norm");
    check_affine("layer_norm", x, weight);
    if let Some(bias) = bias {
        check_affine("layer_norm", x, bias);
    }
    let (to, after) = dtypes(x, dtype);
    let (x, weight) = (x.contiguous(), affine(x, weight));
    let zeros = || weight.detach().zeros_like();
    let bias = bias.map_or_else(zeros, |b| affine(&x, b));
    record_fused(
        "layer_norm",
        match Tensor::common_gpu("layer_norm", &[&x, &weight, &bias]) {
            Some(gpu) => cuda::forward(gpu, &x, &weight, &bias, eps, to),
            None => cpu::forward(&x, &weight, &bias, eps),
        },
        &[&x, &weight, &bias],
        move |t| {
            let centred = &t[0] - t[0].mean_keepdim(-1_isize);
            let variance = centred.square().mean_keepdim(-1_isize);
            (centred * (variance + eps).rsqrt() * &t[1] + &t[2]).to_dtype(to)
        },
        move |saved, args| match saved[0].gpu() {
            Some(gpu) => cuda::backward(gpu, &saved[0], &saved[1], args.grad, eps),
            None => cpu::backward(&saved[0], &saved[1], args.grad, eps),
        },
    )
    .to_dtype(after)
}

/// What a kernel is to write for a result in `dtype`, and what that is converted to: a card writes bf16 from f32 at once.
pub(super) fn dtypes(x: &Tensor, dtype: DType) -> (DType, DType) {
    let at_once = x.gpu().is_some() && (x.dtype(), dtype) == (DType::F32, DType::BF16);
    (if at_once { dtype } else { x.dtype() }, dtype)
}

/// A vector of weights as the kernels for `x` take it: in its dtype, on a card in what it is computed in.
pub(super) fn affine(x: &Tensor, weight: &Tensor) -> Tensor {
    let dtype = match x.gpu() {
        Some(_) => computed(x.dtype()),
        None => x.dtype(),
    };
    weight.to_dtype(dtype).contiguous()
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
