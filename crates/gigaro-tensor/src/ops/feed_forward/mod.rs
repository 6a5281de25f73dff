//! The part of a transformer's layer that looks at each token alone, with GELU between its two products.

mod cuda;

use super::activation::gelu_tanh;
use super::linear::linear_to;
use super::matmul::cuda::FEW_ROWS;
use super::matmul::{autocast_output, precision};
use crate::autograd::record_fused;
use crate::{DType, Tensor};

/// A weight `(O, I)` and a bias `(O)`.
pub(super) type Layer<'a> = (&'a Tensor, Option<&'a Tensor>);

/// `gelu_tanh(x @ up.t() + up_bias) @ down.t() + down_bias`, the result in `dtype`: what [`linear_to`], [`gelu_tanh`] and [`linear_to`] give one after the
/// other. On a card the library that multiplies takes GELU and its derivative along, so that no pass over the wide middle is needed for them.
///
/// # Shapes
/// `x: (.., C)`, `up: (F, C)`, `down: (C, F)`, biases `(F)` and `(C)` -> `(.., C)`
/// # Panics
/// If shapes do not fit or a tensor is not floating-point.
/// # Reference
/// Vaswani et al. (2017), <https://arxiv.org/abs/1706.03762>, with the activation of GPT-2.
#[must_use]
#[track_caller]
pub fn feed_forward(x: &Tensor, up: Layer<'_>, down: Layer<'_>, dtype: DType) -> Tensor {
    let inputs = [Some(x), Some(up.0), up.1, Some(down.0), down.1];
    let given: Vec<&Tensor> = inputs.into_iter().flatten().collect();
    let Some(gpu) = Tensor::common_gpu("feed_forward", &given) else {
        return composite(x, up, down, dtype);
    };
    let c = x.size(-1);
    if x.numel() <= FEW_ROWS * c {
        return composite(x, up, down, dtype);
    }
    let fits = (up.0.size(1), down.0.size(1)) == (c, up.0.size(0));
    let fit = |(weight, bias): Layer<'_>| bias.is_none_or(|b| b.shape() == &weight.shape()[..1]);
    assert!(
        fits && fit(up) && fit(down),
        "feed_forward: x of shape {}, weights {} and {}",
        x.layout().shape(),
        up.0.layout().shape(),
        down.0.layout().shape()
    );
    x.check_float("feed_forward");
    let compute = precision();
    let rows = x.reshape([x.numel() / c.max(1), c]);
    let shape = [&x.shape()[..x.ndim() - 1], &[down.0.size(0)]].concat();
    let (y, middle) = cuda::forward(gpu, &rows, up, down, compute, dtype);
    let none = Tensor::zeros([0], x.dtype(), x.device());
    let biased = [up.1.is_some(), down.1.is_some()];
    let (up_bias, down_bias) = (up.1.unwrap_or(&none), down.1.unwrap_or(&none));
    let again = move |t: &[Tensor]| {
        let bias = |i: usize, there: bool| there.then(|| &t[i]);
        let (up, down) = ((&t[1], bias(2, biased[0])), (&t[3], bias(4, biased[1])));
        composite(&t[0], up, down, dtype)
    };
    record_fused(
        "feed_forward",
        y,
        &[&rows, up.0, up_bias, down.0, down_bias],
        again,
        move |saved, args| cuda::backward(gpu, saved, &middle, args, compute, biased),
    )
    .reshape(shape)
}

fn composite(x: &Tensor, up: Layer<'_>, down: Layer<'_>, dtype: DType) -> Tensor {
    let inner = linear_to(x, up.0, up.1, autocast_output(x));
    linear_to(&gelu_tanh(&inner), down.0, down.1, dtype)
}
