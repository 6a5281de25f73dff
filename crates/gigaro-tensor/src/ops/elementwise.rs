//! The loops that all elementwise kernels share: one, two or three strided operands in, one
//! contiguous result out, vectorised for the machine at hand.
//!
//! The closures are generic over nothing but the compute type, so that the compiler sees straight
//! lines of arithmetic; unit-stride and broadcast operands get loops of their own.

use bytemuck::Pod;

use crate::device::cpu::isa::isa;
use crate::device::cpu::threads::SendPtr;
use crate::dtype::Number;
use crate::shape::Rows;
use crate::storage::Buffer;
use crate::{DType, Shape, Tensor};

/// `out[i] = f(x[i])`.
pub(crate) fn map<S: Pod + Send + Sync, T: Pod + Send + Sync>(
    x: &Tensor,
    dtype: DType,
    f: impl Fn(S) -> T + Copy + Sync,
) -> Tensor {
    let shape = x.layout().shape();
    let rows = Rows::new(shape, [x.layout()]);
    let data = x.data::<S>();
    let mut out = Buffer::scratch::<T>(shape.numel());
    let base = SendPtr::new(out.as_mut::<T>().as_mut_ptr());
    let (isa, [step]) = (isa(), rows.strides);
    rows.for_each_run(|at, [from], n| {
        // SAFETY: runs cover disjoint ranges of the output, all inside it.
        let out = unsafe { base.slice_mut(at, n) };
        isa.vectorize(
            #[inline(always)]
            || {
                if step == 1 {
                    for (o, &x) in out.iter_mut().zip(&data[from..from + n]) {
                        *o = f(x);
                    }
                } else {
                    for (i, o) in out.iter_mut().enumerate() {
                        *o = f(data[from + i * step]);
                    }
                }
            },
        );
    });
    Tensor::from_buffer(out, shape, dtype)
}

/// `out[i] = f(a[i], b[i])` over the shape that both were checked to broadcast to.
pub(crate) fn zip<A: Pod + Send + Sync, B: Pod + Send + Sync, T: Pod + Send + Sync>(
    shape: &Shape,
    a: &Tensor,
    b: &Tensor,
    dtype: DType,
    f: impl Fn(A, B) -> T + Copy + Sync,
) -> Tensor {
    let rows = Rows::new(shape, [a.layout(), b.layout()]);
    let (x, y) = (a.data::<A>(), b.data::<B>());
    let mut out = Buffer::scratch::<T>(shape.numel());
    let base = SendPtr::new(out.as_mut::<T>().as_mut_ptr());
    let (isa, [sx, sy]) = (isa(), rows.strides);
    rows.for_each_run(|at, [fx, fy], n| {
        // SAFETY: runs cover disjoint ranges of the output, all inside it.
        let out = unsafe { base.slice_mut(at, n) };
        isa.vectorize(
            #[inline(always)]
            || match (sx, sy) {
                (1, 1) => {
                    for ((o, &x), &y) in out.iter_mut().zip(&x[fx..fx + n]).zip(&y[fy..fy + n]) {
                        *o = f(x, y);
                    }
                }
                (1, 0) => {
                    let y = y[fy];
                    for (o, &x) in out.iter_mut().zip(&x[fx..fx + n]) {
                        *o = f(x, y);
                    }
                }
                (0, 1) => {
                    let x = x[fx];
                    for (o, &y) in out.iter_mut().zip(&y[fy..fy + n]) {
                        *o = f(x, y);
                    }
                }
                _ => {
                    for (i, o) in out.iter_mut().enumerate() {
                        *o = f(x[fx + i * sx], y[fy + i * sy]);
                    }
                }
            },
        );
    });
    Tensor::from_buffer(out, shape, dtype)
}

/// `out[i] = c[i] ? a[i] : b[i]` over the shape that all three were checked to broadcast to.
pub(crate) fn choose<T: Pod + Send + Sync>(
    shape: &Shape,
    c: &Tensor,
    a: &Tensor,
    b: &Tensor,
) -> Tensor {
    let rows = Rows::new(shape, [c.layout(), a.layout(), b.layout()]);
    let (cond, x, y) = (c.data::<u8>(), a.data::<T>(), b.data::<T>());
    let mut out = Buffer::scratch::<T>(shape.numel());
    let base = SendPtr::new(out.as_mut::<T>().as_mut_ptr());
    let [sc, sx, sy] = rows.strides;
    rows.for_each_run(|at, [fc, fx, fy], n| {
        // SAFETY: runs cover disjoint ranges of the output, all inside it.
        let out = unsafe { base.slice_mut(at, n) };
        for (i, o) in out.iter_mut().enumerate() {
            *o = if cond[fc + i * sc] != 0 {
                x[fx + i * sx]
            } else {
                y[fy + i * sy]
            };
        }
    });
    Tensor::from_buffer(out, shape, a.dtype())
}

/// The elements of `x` in row-major order in a buffer of their own.
pub(crate) fn copied<T: Number>(x: &Tensor) -> Tensor {
    map::<T, T>(x, x.dtype(), |v| v)
}
