//! Rotary position embedding.

mod cuda;

use crate::autograd::{is_grad_enabled, record};
use crate::device::cpu::isa::isa;
use crate::device::cpu::threads::SendPtr;
use crate::dtype::{Compute, Number, dispatch_float};
use crate::ops::row_math::for_each_row;
use crate::storage::Buffer;
use crate::{DType, Tensor};

/// Rotates pairs of channels by an angle that grows with the position. Channel `i` pairs with
/// `i + D/2`, as Llama's checkpoints have it.
///
/// # Shapes
/// `x: (B, T, H, D)`, `cos`, `sin`: `(T, D/2)` in f32 -> `(B, T, H, D)`
/// # Panics
/// If shapes do not fit, `x` is not floating-point, or a table wants a gradient.
/// # Reference
/// Su et al. (2021), <https://arxiv.org/abs/2104.09864>
#[must_use]
#[track_caller]
pub fn rotary_embedding(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Tensor {
    x.check_float("rotary_embedding");
    let fits = x.ndim() == 4
        && x.shape()[3].is_multiple_of(2)
        && cos.shape() == [x.shape()[1], x.shape()[3] / 2];
    assert!(
        fits && cos.shape() == sin.shape(),
        "rotary_embedding: x of shape {} with tables of shape {} and {}",
        x.layout().shape(),
        cos.layout().shape(),
        sin.layout().shape()
    );
    assert!(
        !(is_grad_enabled() && (cos.requires_grad() || sin.requires_grad())),
        "rotary_embedding: the tables are constants and get no gradient; detach them"
    );
    let table = |t: &Tensor| {
        t.detach()
            .to_device(x.device())
            .to_dtype(DType::F32)
            .contiguous()
    };
    rotated(x, &table(cos), &table(sin), false)
}

/// The tables for positions `start..start + len`: cosines and sines of
/// `position * theta^(-2i/D)`, each `(len, D/2)` in f32.
#[must_use]
pub fn rotary_tables(start: usize, len: usize, head_dim: usize, theta: f64) -> (Tensor, Tensor) {
    let half = head_dim / 2;
    let angle = |i: usize| {
        let frequency = theta.powf(-2.0 * (i % half) as f64 / head_dim as f64);
        (start + i / half) as f64 * frequency
    };
    let table = |f: fn(f64) -> f64| {
        let values: Vec<f32> = (0..len * half).map(|i| f(angle(i)) as f32).collect();
        Tensor::from_vec(values, [len, half])
    };
    (table(f64::cos), table(f64::sin))
}

/// The rotation, or with `inverse` the one back, which is its gradient.
fn rotated(x: &Tensor, cos: &Tensor, sin: &Tensor, inverse: bool) -> Tensor {
    let sign = if inverse { -1.0 } else { 1.0 };
    let source = x.contiguous();
    let result = match Tensor::common_gpu("rotary_embedding", &[x, cos, sin]) {
        Some(gpu) => cuda::rotated(gpu, &source, cos, sin, sign),
        None => on_cpu(&source, cos, sin, sign),
    };
    record("rotary_embedding", result, &[x], false, || {
        let (cos, sin) = (cos.clone(), sin.clone());
        Box::new(move |args| vec![Some(rotated(args.grad, &cos, &sin, !inverse))])
    })
}

/// The rotation of a contiguous tensor, with `sign` -1 the one back.
fn on_cpu(x: &Tensor, cos: &Tensor, sin: &Tensor, sign: f32) -> Tensor {
    let [_, t, h, d] = x.shape().try_into().expect("checked to have four dims");
    let half = d / 2;
    dispatch_float!("rotary_embedding", x.dtype(), T => {
        type C = <T as Number>::Compute;
        let (data, cos, sin) = (x.data::<T>(), cos.data::<f32>(), sin.data::<f32>());
        let mut buffer = Buffer::scratch::<T>(data.len());
        let base = SendPtr::new(buffer.as_mut::<T>().as_mut_ptr());
        let isa = isa();
        for_each_row(data.len() / d.max(1), d, |row| {
            let at = row / h % t * half;
            let (cos, sin) = (&cos[at..at + half], &sin[at..at + half]);
            let (x1, x2) = data[row * d..(row + 1) * d].split_at(half);
            // SAFETY: rows of the output do not overlap.
            let (y1, y2) = unsafe { base.slice_mut(row * d, d) }.split_at_mut(half);
            isa.vectorize(
                #[inline(always)]
                || {
                    for i in 0..half {
                        let c = C::from_f64(f64::from(cos[i]));
                        let s = C::from_f64(f64::from(sin[i] * sign));
                        let (a, b): (C, C) = (Number::load(x1[i]), Number::load(x2[i]));
                        y1[i] = Number::store(a * c - b * s);
                        y2[i] = Number::store(b * c + a * s);
                    }
                },
            );
        });
        Tensor::from_buffer(buffer, x.shape(), x.dtype())
    })
}
