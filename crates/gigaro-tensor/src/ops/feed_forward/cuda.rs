//! Both products of the feed-forward part on a card, with what lies between taken along.

use super::Layer;
use crate::autograd::{BackwardArgs, Saved};
use crate::device::cpu::gemm::Compute;
use crate::device::cuda::Gpu;
use crate::device::cuda::driver::Epilogue;
use crate::ops::activation::cuda as activation;
use crate::ops::matmul::cuda::{fused, operand, product_and_row_sums};
use crate::ops::matmul::{product, product_with_bias};
use crate::{DType, Tensor};

const OP: &str = "feed_forward";

/// What the way back needs: `(rows, F)` each, and the weights as they were multiplied.
pub(super) struct Middle {
    /// Before GELU.
    inner: Tensor,
    /// After it.
    activated: Tensor,
    up: Tensor,
    down: Tensor,
}

/// The result, `(rows, C)` in `dtype`, and what the way back needs.
pub(super) fn forward(
    gpu: &'static Gpu,
    x: &Tensor,
    (up, up_bias): Layer<'_>,
    (down, down_bias): Layer<'_>,
    compute: Compute,
    dtype: DType,
) -> (Tensor, Middle) {
    let [x, up, down] = [x, up, down].map(|t| operand(t, compute));
    let inner = Tensor::empty_on(gpu, OP, [x.size(0), up.size(0)], x.dtype());
    let bias = up_bias.map(|b| b.detach().to_dtype(x.dtype()).contiguous());
    let epilogue = Epilogue::Gelu {
        bias: bias.as_ref().map(Tensor::address),
        inner: inner.address_to_write(),
    };
    let (inner, activated) = match fused(gpu, OP, [&x, &up.t()], epilogue, x.dtype()) {
        Some(activated) => (inner, activated),
        None => {
            let inner = product_with_bias(OP, &x, &up.t(), bias.as_ref(), compute, x.dtype());
            let activated = activation::forward(gpu, "gelu_tanh", &inner);
            (inner, activated)
        }
    };
    let y = product_with_bias(OP, &activated, &down.t(), down_bias, compute, dtype);
    let middle = Middle {
        inner,
        activated,
        up,
        down,
    };
    (y, middle)
}

/// Gradients of input, weights and biases, in the order of the inputs.
pub(super) fn backward(
    gpu: &'static Gpu,
    saved: &[Saved],
    middle: &Middle,
    args: BackwardArgs<'_>,
    compute: Compute,
    biased: [bool; 2],
) -> Vec<Option<Tensor>> {
    let [x, up, up_bias, down, down_bias] = [0, 1, 2, 3, 4].map(|i| &*saved[i]);
    let grad = operand(args.grad, compute);
    let (d_down, d_down_bias) = layer_gradients(
        gpu,
        [&grad, &middle.activated],
        compute,
        biased[1] && args.needs[4],
    );
    let inner = &middle.inner;
    let epilogue = Epilogue::GeluGradient {
        inner: inner.address(),
    };
    let d_inner = fused(gpu, OP, [&grad, &middle.down], epilogue, inner.dtype());
    let d_inner = d_inner.unwrap_or_else(|| {
        let d_activated = product(OP, &grad, &middle.down, compute, inner.dtype());
        activation::backward(gpu, "gelu_tanh", inner, &d_activated)
    });
    let of_bias = biased[0] && args.needs[2];
    let (d_up, d_up_bias) = layer_gradients(gpu, [&d_inner, x], compute, of_bias);
    let dx = args.needs[0].then(|| product(OP, &d_inner, &middle.up, compute, x.dtype()));
    let like = |grad: Tensor, t: &Tensor| grad.to_dtype(t.dtype());
    vec![
        dx,
        args.needs[1].then(|| like(d_up, up)),
        d_up_bias.map(|grad| like(grad, up_bias)),
        args.needs[3].then(|| like(d_down, down)),
        d_down_bias.map(|grad| like(grad, down_bias)),
    ]
}

/// Gradients of a weight and, if it is wanted, of a bias, from that of what they gave and from what they were given.
fn layer_gradients(
    gpu: &'static Gpu,
    [grad, input]: [&Tensor; 2],
    compute: Compute,
    of_bias: bool,
) -> (Tensor, Option<Tensor>) {
    if of_bias {
        let (weight, bias) = product_and_row_sums(gpu, OP, [&grad.t(), input], compute);
        return (weight, Some(bias));
    }
    let wide = crate::ops::reduce::cuda::computed(grad.dtype());
    (product(OP, &grad.t(), input, compute, wide), None)
}
