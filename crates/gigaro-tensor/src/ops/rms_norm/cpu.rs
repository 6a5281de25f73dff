//! Kernels of RMS normalisation; the scale is computed again in the backward pass.

use crate::Tensor;
use crate::device::cpu::isa::isa;
use crate::device::cpu::threads::{SendPtr, parallel_for};
use crate::dtype::{Compute, Number, Real, dispatch_float};
use crate::ops::row_math::{for_each_row, sum1, sum3};
use crate::storage::Buffer;

/// Reciprocal root mean square of a row.
#[inline(always)]
fn scale_of<T: Number>(x: &[T], eps: f64) -> T::Compute
where
    T::Compute: Real,
{
    let mean = sum1(x, |v| v * v) * T::Compute::from_f64(1.0 / x.len() as f64);
    T::Compute::ONE / (mean + T::Compute::from_f64(eps)).sqrt()
}

pub(super) fn forward(x: &Tensor, weight: &Tensor, eps: f64) -> Tensor {
    let n = x.size(-1);
    dispatch_float!("rms_norm", x.dtype(), T => {
        let (x_data, w) = (x.data::<T>(), weight.data::<T>());
        let mut buffer = Buffer::scratch::<T>(x_data.len());
        let base = SendPtr::new(buffer.as_mut::<T>().as_mut_ptr());
        let isa = isa();
        for_each_row(x_data.len() / n.max(1), n, |row| {
            // SAFETY: rows of the output do not overlap.
            let y = unsafe { base.slice_mut(row * n, n) };
            let x = &x_data[row * n..(row + 1) * n];
            isa.vectorize(
                #[inline(always)]
                || {
                    let scale = scale_of(x, eps);
                    for ((y, &x), &w) in y.iter_mut().zip(x).zip(w.iter()) {
                        *y = <T as Number>::store(Number::load(x) * scale * Number::load(w));
                    }
                },
            );
        });
        Tensor::from_buffer(buffer, x.shape(), x.dtype())
    })
}

/// Rows whose contributions to the weight's gradient are summed before they join the rest.
const BLOCK: usize = 64;

/// Gradients of input and weight.
pub(super) fn backward(
    x: &Tensor,
    weight: &Tensor,
    grad: &Tensor,
    eps: f64,
) -> Vec<Option<Tensor>> {
    let n = x.size(-1);
    let grad = grad.contiguous();
    dispatch_float!("rms_norm", x.dtype(), T => {
        type C = <T as Number>::Compute;
        let (x_data, w, g_data) = (x.data::<T>(), weight.data::<T>(), grad.data::<T>());
        let rows = x_data.len() / n.max(1);
        let blocks = rows.div_ceil(BLOCK);
        let mut dx = Buffer::scratch::<T>(x_data.len());
        let mut partial = Buffer::zeros::<C>(blocks * n);
        let dx_base = SendPtr::new(dx.as_mut::<T>().as_mut_ptr());
        let partial_base = SendPtr::new(partial.as_mut::<C>().as_mut_ptr());
        let isa = isa();
        parallel_for(blocks, |block| {
            // SAFETY: each block has its own part of the partial sums.
            let dw = unsafe { partial_base.slice_mut(block * n, n) };
            for row in block * BLOCK..((block + 1) * BLOCK).min(rows) {
                let range = row * n..(row + 1) * n;
                // SAFETY: rows of the output do not overlap.
                let dx = unsafe { dx_base.slice_mut(row * n, n) };
                let (x, g) = (&x_data[range.clone()], &g_data[range]);
                isa.vectorize(#[inline(always)] || backward_row::<T>(x, &w, g, eps, dx, dw));
            }
        });
        let dw = Tensor::from_buffer(partial, [blocks, n], <C as crate::Element>::DTYPE).sum(0_isize);
        vec![Some(Tensor::from_buffer(dx, x.shape(), x.dtype())), Some(dw)]
    })
}

/// `dx = r (g w - xhat mean(g w xhat))`, `dw += g xhat`, with `xhat = r x`.
#[inline(always)]
fn backward_row<T: Number>(x: &[T], w: &[T], g: &[T], eps: f64, dx: &mut [T], dw: &mut [T::Compute])
where
    T::Compute: Real,
{
    let scale = scale_of(x, eps);
    let mean = T::Compute::from_f64(1.0 / x.len() as f64);
    let b = sum3(g, w, x, |g, w, x| g * w * x) * scale * mean;
    for ((((dx, dw), &x), &w), &g) in dx.iter_mut().zip(dw).zip(x).zip(w).zip(g) {
        let (g, xhat) = (g.load(), x.load() * scale);
        *dx = T::store((g * w.load() - xhat * b) * scale);
        *dw = *dw + g * xhat;
    }
}
