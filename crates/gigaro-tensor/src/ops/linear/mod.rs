//! The linear layer as one op: product, bias and their gradients without intermediate copies.

use super::matmul::{cuda, precision, product, product_with_bias};
use crate::autograd::{Saved, is_grad_enabled, record};
use crate::device::cpu::gemm::Compute;
use crate::device::cpu::quantized::QuantizedMatrix;
use crate::storage::Buffer;
use crate::{DType, Tensor};

/// `x @ weight.t() + bias`.
///
/// Inside [`autocast`](crate::autocast) the product computes in bf16 with f32 sums, straight from
/// f32 weights. The result has the dtype of `x`.
///
/// # Shapes
/// `x: (.., I)`, `weight: (O, I)`, `bias: (O)` -> `(.., O)`
/// # Panics
/// If shapes do not fit or a tensor is not floating-point.
#[must_use]
#[track_caller]
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    linear_to(x, weight, bias, x.dtype())
}

/// [`linear`] with its result in `dtype`, such as [`autocast_output`](crate::functional::autocast_output) says.
///
/// # Shapes
/// As [`linear`].
/// # Panics
/// As [`linear`].
#[must_use]
#[track_caller]
pub fn linear_to(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, dtype: DType) -> Tensor {
    x.check_float("linear");
    let fits = weight.ndim() == 2 && x.ndim() > 0 && x.size(-1) == weight.size(1);
    assert!(
        fits && bias.is_none_or(|b| b.shape() == &weight.shape()[..1]),
        "linear: x of shape {}, weight {}, bias {:?}",
        x.layout().shape(),
        weight.layout().shape(),
        bias.map(Tensor::shape)
    );
    let (i, o) = (weight.size(1), weight.size(0));
    let rows: usize = x.shape()[..x.ndim() - 1].iter().product();
    let shape = [&x.shape()[..x.ndim() - 1], &[o]].concat();
    recorded(&x.reshape([rows, i]), weight, bias, precision(), dtype).reshape(shape)
}

/// `x @ weight.t() + bias` with weights of small integers: a step of decoding reads a quarter of the bytes that f32 takes, or less.
///
/// A row of the result depends on the same row of `x` alone, to the last bit.
///
/// # Shapes
/// `x: (.., I)`, `weight: (O, I)`, `bias: (O)` -> `(.., O)` in f32
/// # Panics
/// If shapes do not fit, or `x` or `bias` wants a gradient: rounded weights have no backward.
#[must_use]
#[track_caller]
pub fn linear_quantized(x: &Tensor, weight: &QuantizedMatrix, bias: Option<&Tensor>) -> Tensor {
    let (i, o) = (weight.inputs(), weight.outputs());
    assert!(
        !is_grad_enabled() || !(x.requires_grad() || bias.is_some_and(Tensor::requires_grad)),
        "linear_quantized: rounded weights have no backward; compute inside no_grad"
    );
    assert!(
        x.ndim() > 0 && x.size(-1) == i && bias.is_none_or(|b| *b.shape() == [o]),
        "linear_quantized: x of shape {}, weight ({o}, {i}), bias {:?}",
        x.layout().shape(),
        bias.map(Tensor::shape)
    );
    let shape = [&x.shape()[..x.ndim() - 1], &[o]].concat();
    let rows: usize = shape[..shape.len() - 1].iter().product();
    let single = |t: &Tensor| t.detach().to_dtype(DType::F32).contiguous();
    let (x, bias) = (single(x), bias.map(single));
    let mut y = Buffer::scratch::<f32>(rows * o);
    let bias = bias.as_ref().map(|b| b.data::<f32>());
    weight.multiply(
        rows,
        &x.data::<f32>()[..rows * i],
        bias.as_deref().map(|b| &b[..o]),
        &mut y.as_mut::<f32>()[..rows * o],
    );
    Tensor::from_buffer(y, shape, DType::F32)
}

fn recorded(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    compute: Compute,
    dtype: DType,
) -> Tensor {
    // What a card multiplies by, kept for the way back: converting it again would take another pass over it.
    // A few rows are multiplied by it as it is.
    let factor = match weight.gpu() {
        Some(_) if x.size(0) > cuda::FEW_ROWS => cuda::operand(weight, compute),
        _ => weight.detach(),
    };
    let result = product_with_bias("linear", x, &factor.t(), bias, compute, dtype);
    let none = Tensor::zeros([0], weight.dtype(), weight.device());
    let has_bias = bias.is_some();
    record(
        "linear",
        result,
        &[x, weight, bias.unwrap_or(&none)],
        false,
        || {
            let bias_dtype = bias.map_or(dtype, Tensor::dtype);
            let (x, weight) = (Saved::new(x), Saved::new(weight));
            Box::new(move |args| {
                let (x, weight): (&Tensor, &Tensor) = (&x, &weight);
                let [needs_x, needs_weight, needs_bias] = [0, 1, 2].map(|i| args.needs[i]);
                let of_bias = |g: &Tensor| {
                    (has_bias && needs_bias).then(|| g.sum(0_isize).to_dtype(bias_dtype))
                };
                // Second derivatives need these products recorded; the first ones do not.
                if is_grad_enabled() {
                    let g = &args.grad.to_dtype(x.dtype());
                    let as_x = |t: &Tensor| t.to_dtype(x.dtype());
                    return vec![
                        needs_x.then(|| g.matmul(&as_x(weight))),
                        needs_weight.then(|| as_x(g).t().matmul(x).to_dtype(weight.dtype())),
                        of_bias(g),
                    ];
                }
                if let Some(gpu) = args.grad.gpu() {
                    let g = cuda::operand(args.grad, compute);
                    let dx = needs_x.then(|| product("linear", &g, &factor, compute, x.dtype()));
                    if !(needs_weight && has_bias && needs_bias) {
                        let dw = || product("linear", &g.t(), x, compute, weight.dtype());
                        return vec![dx, needs_weight.then(dw), of_bias(args.grad)];
                    }
                    let operands = [&g.t(), x];
                    let (dw, db) = cuda::product_and_row_sums(gpu, "linear", operands, compute);
                    let (dw, db) = (dw.to_dtype(weight.dtype()), db.to_dtype(bias_dtype));
                    return vec![dx, Some(dw), Some(db)];
                }
                let g = args.grad;
                vec![
                    needs_x.then(|| product("linear", g, &factor, compute, x.dtype())),
                    needs_weight.then(|| product("linear", &g.t(), x, compute, weight.dtype())),
                    of_bias(g),
                ]
            })
        },
    )
}
