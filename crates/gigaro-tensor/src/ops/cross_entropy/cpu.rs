//! The chunked kernel: logits, loss, and gradients of one stretch of rows at a time.

use crate::device::cpu::gemm::{Compute as Precision, Data, DataMut, Gemm, Operand, Output, gemm};
use crate::device::cpu::isa::isa;
use crate::device::cpu::scratch::Scratch;
use crate::device::cpu::threads::SendPtr;
use crate::dtype::{Compute, Number, Real};
use crate::ops::matmul::{data_mut, with_data};
use crate::ops::row_math::{for_each_row, max1, sum1};
use crate::storage::Buffer;
use crate::{DType, Tensor};

/// Loss and, if wanted, its gradients with respect to `x` and `weight`.
pub(super) struct Parts {
    pub(super) loss: Tensor,
    pub(super) grads: Option<(Tensor, Tensor)>,
}

/// What the loss is of.
pub(super) struct Options {
    pub(super) ignore_index: i64,
    pub(super) soft_cap: Option<f64>,
    pub(super) precision: Precision,
}

/// Logits that are held at once, in bytes: a few chunks share the last level of cache with the
/// weights, and packing the weights once per chunk stays cheap.
const LOGITS_BYTES: usize = 16 << 20;
/// Rows below which a chunk would make the products thin.
const MIN_ROWS: usize = 256;

pub(super) fn forward(
    x: &Tensor,
    weight: &Tensor,
    targets: &Tensor,
    options: &Options,
    wanted: bool,
) -> Parts {
    if x.dtype() == DType::F64 {
        run::<f64>(x, weight, targets, options, wanted)
    } else {
        run::<f32>(x, weight, targets, options, wanted)
    }
}

/// `T` is what logits, loss and the weight's gradient are held in.
fn run<T: Number<Compute = T> + Real + crate::Element<Raw = T>>(
    x: &Tensor,
    weight: &Tensor,
    targets: &Tensor,
    options: &Options,
    wanted: bool,
) -> Parts {
    let precision = options.precision;
    let ((rows, c), v) = ((x.size(0), x.size(1)), weight.size(0));
    let dtype = <T as crate::Element>::DTYPE;
    let chunk = (LOGITS_BYTES / (v.max(1) * size_of::<T>()))
        .max(MIN_ROWS)
        .min(rows.max(1));
    let targets = targets.data::<i64>();
    let counted = targets
        .iter()
        .filter(|&&t| t != options.ignore_index)
        .count();
    let scale = 1.0 / counted as f64;
    let mut logits = Buffer::scratch::<T>(chunk * v);
    let mut losses = Buffer::scratch::<T>(rows);
    let mut dx = wanted.then(|| Buffer::scratch::<u8>(rows * c * x.dtype().size_bytes()));
    let mut dw = wanted.then(|| Buffer::zeros::<T>(v * c));
    let (w_rs, w_cs) = (weight.layout().strides()[0], weight.layout().strides()[1]);
    for first in (0..rows).step_by(chunk) {
        let n = chunk.min(rows - first);
        let x_chunk = x.detach().narrow(0, first, n);
        with_data!("linear_cross_entropy", x_chunk, x_data => with_data!("linear_cross_entropy", weight, w_data => {
            let x_operand = Operand { data: x_data, rs: c, cs: 1 };
            gemm(Gemm {
                m: n, n: v, k: c,
                a: x_operand,
                b: Operand { data: w_data, rs: w_cs, cs: w_rs },
                c: Output { data: data_mut("linear_cross_entropy", &mut logits, dtype), rs: v, cs: 1 },
                compute: precision, accumulate: false, bias: None,
            });
            let loss = &mut losses.as_mut::<T>()[first..first + n];
            softmax_rows(&mut logits.as_mut::<T>()[..n * v], &targets[first..first + n], options, scale, loss);
            if let (Some(dx), Some(dw)) = (&mut dx, &mut dw) {
                let from = first * c * x.dtype().size_bytes();
                let dx = &mut dx.as_mut::<u8>()[from..from + n * c * x.dtype().size_bytes()];
                let dlogits = || as_data(logits.as_slice::<T>());
                gemm(Gemm {
                    m: n, n: c, k: v,
                    a: Operand { data: dlogits(), rs: v, cs: 1 },
                    b: Operand { data: w_data, rs: w_rs, cs: w_cs },
                    c: Output { data: bytes_as(dx, x.dtype()), rs: c, cs: 1 },
                    compute: precision, accumulate: false, bias: None,
                });
                gemm(Gemm {
                    m: v, n: c, k: n,
                    a: Operand { data: dlogits(), rs: 1, cs: v },
                    b: x_operand,
                    c: Output { data: data_mut("linear_cross_entropy", dw, dtype), rs: c, cs: 1 },
                    compute: precision, accumulate: true, bias: None,
                });
            }
        }));
    }
    let total = Tensor::from_buffer(losses, [rows], dtype).sum_all() * scale;
    let grads = dx.zip(dw).map(|(dx, dw)| {
        (
            Tensor::from_buffer(dx, [rows, c], x.dtype()),
            Tensor::from_buffer(dw, [v, c], dtype).to_dtype(weight.dtype()),
        )
    });
    Parts { loss: total, grads }
}

fn as_data<T: Number>(x: &[T]) -> Data<'_> {
    if size_of::<T>() == 8 {
        Data::F64(bytemuck::cast_slice(x))
    } else {
        Data::F32(bytemuck::cast_slice(x))
    }
}

fn bytes_as(x: &mut [u8], dtype: DType) -> DataMut<'_> {
    match dtype {
        DType::F64 => DataMut::F64(bytemuck::cast_slice_mut(x)),
        DType::BF16 => DataMut::BF16(bytemuck::cast_slice_mut(x)),
        DType::F16 => DataMut::F16(bytemuck::cast_slice_mut(x)),
        _ => DataMut::F32(bytemuck::cast_slice_mut(x)),
    }
}

/// Replaces each row of logits by the gradient of the mean loss with respect to it, and writes the
/// row's own loss; ignored rows give zeros.
fn softmax_rows<T: Number<Compute = T> + Real>(
    logits: &mut [T],
    targets: &[i64],
    options: &Options,
    scale: f64,
    losses: &mut [T],
) {
    let v = logits.len() / targets.len().max(1);
    let (base, loss_base, isa) = (
        SendPtr::new(logits.as_mut_ptr()),
        SendPtr::new(losses.as_mut_ptr()),
        isa(),
    );
    let scale = <T as Compute>::from_f64(scale);
    for_each_row(targets.len(), v, |row| {
        // SAFETY: each row is touched by one piece only.
        let (x, loss) = unsafe {
            (
                base.slice_mut(row * v, v),
                &mut loss_base.slice_mut(row, 1)[0],
            )
        };
        let target = targets[row];
        if target == options.ignore_index {
            x.fill(T::ZERO);
            *loss = T::ZERO;
            return;
        }
        let target = target as usize;
        *loss = match options.soft_cap {
            None => isa.vectorize(
                #[inline(always)]
                || softmax_row(x, target, scale),
            ),
            Some(cap) => {
                let cap = <T as Compute>::from_f64(cap);
                let mut scratch = Scratch::take(size_of_val(x) / 4);
                let bent: &mut [T] = bytemuck::cast_slice_mut(scratch.floats());
                let bent = &mut bent[..x.len()];
                isa.vectorize(
                    #[inline(always)]
                    || capped_softmax_row(x, bent, target, scale, cap),
                )
            }
        };
    });
}

/// The loss of a row of logits, which become `scale` times its gradient.
#[inline(always)]
fn softmax_row<T: Number<Compute = T> + Real>(x: &mut [T], target: usize, scale: T) -> T {
    let top = max1(x, <T as Real>::NEG_INFINITY);
    let picked = x[target];
    for value in x.iter_mut() {
        *value = (*value - top).exp();
    }
    let sum = sum1(x, |e| e);
    let factor = scale / sum;
    for value in x.iter_mut() {
        *value = *value * factor;
    }
    x[target] = x[target] - scale;
    sum.ln() + top - picked
}

/// The same of logits that pass through `cap tanh(x / cap)`, whose values `bent` keeps over `cap`.
#[inline(always)]
fn capped_softmax_row<T: Number<Compute = T> + Real>(
    x: &mut [T],
    bent: &mut [T],
    target: usize,
    scale: T,
    cap: T,
) -> T {
    let inverse = T::ONE / cap;
    for (b, &x) in bent.iter_mut().zip(x.iter()) {
        *b = (x * inverse).tanh();
    }
    let top = max1(bent, <T as Real>::NEG_INFINITY);
    for (x, &b) in x.iter_mut().zip(bent.iter()) {
        *x = ((b - top) * cap).exp();
    }
    let sum = sum1(x, |e| e);
    let factor = scale / sum;
    let slope = |b: T| T::ONE - b * b;
    for (x, &b) in x.iter_mut().zip(bent.iter()) {
        *x = *x * factor * slope(b);
    }
    let picked = bent[target];
    x[target] = x[target] - scale * slope(picked);
    sum.ln() + (top - picked) * cap
}
