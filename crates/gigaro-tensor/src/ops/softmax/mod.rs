//! Softmax and its logarithm.

mod cuda;

use super::row_math::{for_each_row, max1, sum1, sum2};
use crate::Tensor;
use crate::autograd::record_fused;
use crate::device::cpu::isa::isa;
use crate::device::cpu::threads::SendPtr;
use crate::dtype::{Number, Real, dispatch_float};
use crate::shape::resolve_dim;
use crate::storage::Buffer;

/// `exp(x) / sum(exp(x))` along `dim`, without overflow; sums in f32 for the half types.
///
/// # Shapes
/// `(..)` -> the same
/// # Panics
/// If the dim is out of range or the tensor is not floating-point.
#[must_use]
#[track_caller]
pub fn softmax(x: &Tensor, dim: isize) -> Tensor {
    along_last("softmax", x, dim, |x| {
        let result = normalised::<false>("softmax", x);
        record_fused(
            "softmax",
            result,
            &[x],
            |x| {
                let shift = x[0].detach().max_keepdim(-1_isize);
                let e = (&x[0] - shift).exp();
                &e / e.sum_keepdim(-1_isize)
            },
            |_, args| vec![Some(gradient::<false>(args.output(), args.grad))],
        )
    })
}

/// `x - log(sum(exp(x)))` along `dim`, without overflow; sums in f32 for the half types.
///
/// # Shapes
/// `(..)` -> the same
/// # Panics
/// If the dim is out of range or the tensor is not floating-point.
#[must_use]
#[track_caller]
pub fn log_softmax(x: &Tensor, dim: isize) -> Tensor {
    along_last("log_softmax", x, dim, |x| {
        let result = normalised::<true>("log_softmax", x);
        record_fused(
            "log_softmax",
            result,
            &[x],
            |x| &x[0] - x[0].logsumexp(-1_isize).unsqueeze(-1),
            |_, args| vec![Some(gradient::<true>(args.output(), args.grad))],
        )
    })
}

/// Brings `dim` to the end, applies `f`, and brings it back.
#[track_caller]
fn along_last(op: &str, x: &Tensor, dim: isize, f: impl Fn(&Tensor) -> Tensor) -> Tensor {
    x.check_float(op);
    let dim = resolve_dim(op, dim, x.ndim()) as isize;
    let last = x.ndim() as isize - 1;
    if dim == last {
        f(&x.contiguous())
    } else {
        f(&x.transpose(dim, last).contiguous()).transpose(dim, last)
    }
}

/// The forward kernel over contiguous rows.
fn normalised<const LOG: bool>(op: &str, x: &Tensor) -> Tensor {
    if let Some(gpu) = x.gpu() {
        return cuda::normalised(gpu, op, x);
    }
    let n = x.size(-1);
    dispatch_float!(op, x.dtype(), T => {
        let data = x.data::<T>();
        let mut buffer = Buffer::scratch::<T>(data.len());
        let base = SendPtr::new(buffer.as_mut::<T>().as_mut_ptr());
        let isa = isa();
        for_each_row(data.len() / n.max(1), n, |row| {
            let x = &data[row * n..(row + 1) * n];
            // SAFETY: rows of the output do not overlap.
            let y = unsafe { base.slice_mut(row * n, n) };
            isa.vectorize(#[inline(always)] || forward_row::<T, LOG>(x, y));
        });
        Tensor::from_buffer(buffer, x.shape(), x.dtype())
    })
}

#[inline(always)]
fn forward_row<T: Number, const LOG: bool>(x: &[T], y: &mut [T])
where
    T::Compute: Real,
{
    let top = max1(x, T::Compute::NEG_INFINITY);
    if LOG {
        let shift = top
            + sum1(
                x,
                #[inline(always)]
                |v| (v - top).exp(),
            )
            .ln();
        for (o, &v) in y.iter_mut().zip(x) {
            *o = T::store(v.load() - shift);
        }
    } else {
        let sum = sum1(
            x,
            #[inline(always)]
            |v| (v - top).exp(),
        );
        for (o, &v) in y.iter_mut().zip(x) {
            *o = T::store((v.load() - top).exp() / sum);
        }
    }
}

/// The backward kernel: `y (g - sum(g y))`, or `g - exp(y) sum(g)` for the logarithm.
fn gradient<const LOG: bool>(y: &Tensor, grad: &Tensor) -> Tensor {
    let n = y.size(-1);
    let grad = grad.contiguous();
    if let Some(gpu) = y.gpu() {
        let op = if LOG { "log_softmax" } else { "softmax" };
        return cuda::gradient(gpu, op, y, &grad);
    }
    dispatch_float!("softmax", y.dtype(), T => {
        let (data, upstream) = (y.data::<T>(), grad.data::<T>());
        let mut buffer = Buffer::scratch::<T>(data.len());
        let base = SendPtr::new(buffer.as_mut::<T>().as_mut_ptr());
        let isa = isa();
        for_each_row(data.len() / n.max(1), n, |row| {
            let range = row * n..(row + 1) * n;
            // SAFETY: rows of the output do not overlap.
            let out = unsafe { base.slice_mut(row * n, n) };
            let (y, g) = (&data[range.clone()], &upstream[range]);
            isa.vectorize(#[inline(always)] || backward_row::<T, LOG>(y, g, out));
        });
        Tensor::from_buffer(buffer, y.shape(), y.dtype())
    })
}

#[inline(always)]
fn backward_row<T: Number, const LOG: bool>(y: &[T], g: &[T], out: &mut [T])
where
    T::Compute: Real,
{
    if LOG {
        let sum = sum1(g, |v| v);
        for ((o, &y), &g) in out.iter_mut().zip(y).zip(g) {
            *o = T::store(g.load() - y.load().exp() * sum);
        }
    } else {
        let sum = sum2(y, g, |y, g| y * g);
        for ((o, &y), &g) in out.iter_mut().zip(y).zip(g) {
            *o = T::store(y.load() * (g.load() - sum));
        }
    }
}
