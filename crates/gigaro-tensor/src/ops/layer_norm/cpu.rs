//! Kernels of layer normalisation. The statistics are computed again in the backward pass: the row
//! is in the cache anyway, and nothing needs to be kept.

use crate::Tensor;
use crate::device::cpu::isa::isa;
use crate::device::cpu::threads::{SendPtr, parallel_for};
use crate::dtype::{Compute, Number, Real, dispatch_float};
use crate::ops::row_math::{for_each_row, sum1, sum2, sum3};
use crate::storage::Buffer;

/// Mean and reciprocal standard deviation of a row.
#[inline(always)]
fn statistics<T: Number>(x: &[T], eps: f64) -> (T::Compute, T::Compute)
where
    T::Compute: Real,
{
    let scale = T::Compute::from_f64(1.0 / x.len() as f64);
    let mean = sum1(x, |v| v) * scale;
    let variance = sum1(x, |v| (v - mean) * (v - mean)) * scale;
    (
        mean,
        T::Compute::ONE / (variance + T::Compute::from_f64(eps)).sqrt(),
    )
}

pub(super) fn forward(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Tensor {
    let n = x.size(-1);
    dispatch_float!("layer_norm", x.dtype(), T => {
        let (x_data, w, b) = (x.data::<T>(), weight.data::<T>(), bias.data::<T>());
        let mut buffer = Buffer::scratch::<T>(x_data.len());
        let base = SendPtr::new(buffer.as_mut::<T>().as_mut_ptr());
        let isa = isa();
        for_each_row(x_data.len() / n.max(1), n, |row| {
            // SAFETY: rows of the output do not overlap.
            let y = unsafe { base.slice_mut(row * n, n) };
            let x = &x_data[row * n..(row + 1) * n];
            isa.vectorize(#[inline(always)] || forward_row::<T>(x, &w, &b, eps, y));
        });
        Tensor::from_buffer(buffer, x.shape(), x.dtype())
    })
}

#[inline(always)]
fn forward_row<T: Number>(x: &[T], w: &[T], b: &[T], eps: f64, y: &mut [T])
where
    T::Compute: Real,
{
    let (mean, rstd) = statistics(x, eps);
    for (((y, &x), &w), &b) in y.iter_mut().zip(x).zip(w).zip(b) {
        *y = T::store((x.load() - mean) * rstd * w.load() + b.load());
    }
}

/// Rows whose contributions to the weights' gradients are summed before they join the rest.
const BLOCK: usize = 64;

/// Gradients of input, weight and bias.
pub(super) fn backward(
    x: &Tensor,
    weight: &Tensor,
    grad: &Tensor,
    eps: f64,
) -> Vec<Option<Tensor>> {
    let n = x.size(-1);
    let grad = grad.contiguous();
    dispatch_float!("layer_norm", x.dtype(), T => {
        type C = <T as Number>::Compute;
        let (x_data, w, g_data) = (x.data::<T>(), weight.data::<T>(), grad.data::<T>());
        let rows = x_data.len() / n.max(1);
        let blocks = rows.div_ceil(BLOCK);
        let mut dx = Buffer::scratch::<T>(x_data.len());
        let mut partial = Buffer::zeros::<C>(blocks * 2 * n);
        let dx_base = SendPtr::new(dx.as_mut::<T>().as_mut_ptr());
        let partial_base = SendPtr::new(partial.as_mut::<C>().as_mut_ptr());
        let isa = isa();
        parallel_for(blocks, |block| {
            // SAFETY: each block has its own part of the partial sums.
            let (dw, db) = unsafe { partial_base.slice_mut(block * 2 * n, 2 * n) }.split_at_mut(n);
            for row in block * BLOCK..((block + 1) * BLOCK).min(rows) {
                let range = row * n..(row + 1) * n;
                // SAFETY: rows of the output do not overlap.
                let dx = unsafe { dx_base.slice_mut(row * n, n) };
                let (x, g) = (&x_data[range.clone()], &g_data[range]);
                isa.vectorize(#[inline(always)] || backward_row::<T>(x, &w, g, eps, dx, dw, db));
            }
        });
        let sums = Tensor::from_buffer(partial, [blocks, 2, n], <C as crate::Element>::DTYPE).sum(0_isize);
        let dx = Tensor::from_buffer(dx, x.shape(), x.dtype());
        vec![Some(dx), Some(sums.select(0, 0)), Some(sums.select(0, 1))]
    })
}

/// `dx = rstd (g w - mean(g w) - xhat mean(g w xhat))`, `dw += g xhat`, `db += g`.
#[inline(always)]
fn backward_row<T: Number>(
    x: &[T],
    w: &[T],
    g: &[T],
    eps: f64,
    dx: &mut [T],
    dw: &mut [T::Compute],
    db: &mut [T::Compute],
) where
    T::Compute: Real,
{
    let (mean, rstd) = statistics(x, eps);
    let scale = T::Compute::from_f64(1.0 / x.len() as f64);
    let a = sum2(g, w, |g, w| g * w) * scale;
    let b = sum3(g, w, x, |g, w, x| g * w * (x - mean)) * rstd * scale;
    for (((((dx, dw), db), &x), &w), &g) in dx.iter_mut().zip(dw).zip(db).zip(x).zip(w).zip(g) {
        let (g, xhat) = (g.load(), (x.load() - mean) * rstd);
        *dx = T::store((g * w.load() - a - xhat * b) * rstd);
        *dw = *dw + g * xhat;
        *db = *db + g;
    }
}
