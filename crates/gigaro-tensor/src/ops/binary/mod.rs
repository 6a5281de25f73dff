//! Arithmetic of two tensors, with broadcasting and promotion as in PyTorch.

pub(crate) mod cuda;

use crate::autograd::{Saved, record};
use crate::dtype::{Compute, Number, dispatch};
use crate::ops::elementwise::zip;
use crate::{DType, Shape, Tensor};

/// A kernel of two elements.
trait Binary: Copy + Send + Sync + 'static {
    fn apply<C: Compute>(x: C, y: C) -> C;
}

macro_rules! binary {
    ($($kernel_type:ident = |$x:ident, $y:ident| $kernel:expr;)*) => {$(
        #[derive(Clone, Copy)]
        struct $kernel_type;
        impl Binary for $kernel_type {
            #[inline(always)]
            fn apply<C: Compute>($x: C, $y: C) -> C { $kernel }
        }
    )*};
}
binary! {
    Add = |x, y| x + y;
    Sub = |x, y| x - y;
    Mul = |x, y| x * y;
    Div = |x, y| x.quotient(y);
    Maximum = |x, y| if x > y || x.is_nan() { x } else { y };
    Minimum = |x, y| if x < y || x.is_nan() { x } else { y };
}

/// The common shape of two operands.
///
/// # Panics
/// If they do not broadcast.
#[track_caller]
pub(crate) fn broadcast(op: &str, a: &Tensor, b: &Tensor) -> Shape {
    match a.layout().shape().broadcast(b.layout().shape()) {
        Some(shape) => shape,
        None => panic!(
            "{op}: shapes {} and {} do not broadcast",
            a.layout().shape(),
            b.layout().shape()
        ),
    }
}

#[track_caller]
fn run<O: Binary>(op: &str, a: &Tensor, b: &Tensor) -> Tensor {
    #[inline(always)]
    fn two<O: Binary, T: Number>(x: T, y: T) -> T {
        T::store(O::apply(x.load(), y.load()))
    }
    let shape = broadcast(op, a, b);
    assert!(
        a.dtype() != DType::Bool,
        "{op}: has no meaning for bool tensors; use logical_and, logical_or, or to_dtype"
    );
    if let Some(gpu) = Tensor::common_gpu(op, &[a, b]) {
        return cuda::binary(gpu, op, &shape, a, b);
    }
    dispatch!(a.dtype(), T => zip::<T, T, T>(&shape, a, b, a.dtype(), two::<O, T>))
}

impl Tensor {
    /// Both operands in the dtype they promote to.
    fn promoted(&self, other: &Self) -> (Self, Self) {
        let dtype = self.dtype().promote(other.dtype());
        let (mut a, mut b) = (self.to_dtype(dtype), other.to_dtype(dtype));
        // A single number goes where the other operand is.
        if b.ndim() == 0 {
            b = b.to_device(a.device());
        } else if a.ndim() == 0 {
            a = a.to_device(b.device());
        }
        (a, b)
    }

    /// Sums over the dims that broadcasting to this tensor's shape from `shape` added or repeated:
    /// the gradient of broadcasting.
    pub(crate) fn sum_to(&self, shape: &Shape) -> Self {
        let extra = self.ndim() - shape.len();
        let dims: Vec<isize> = (0..self.ndim())
            .filter(|&d| d < extra || (shape[d - extra] == 1 && self.shape()[d] != 1))
            .map(|d| d as isize)
            .collect();
        if dims.is_empty() {
            return self.clone();
        }
        self.sum_keepdim(&dims[..]).reshape(shape.clone())
    }

    /// `self + other`.
    ///
    /// # Panics
    /// If the shapes do not broadcast or both are bool.
    #[must_use]
    #[track_caller]
    pub fn add(&self, other: &Self) -> Self {
        // On a card one kernel reads both as they are.
        let narrow = (self.dtype(), other.dtype()) == (DType::F32, DType::BF16);
        let gpu = self
            .gpu()
            .filter(|_| narrow && other.device() == self.device());
        let (a, b) = match gpu {
            Some(_) => (self.clone(), other.clone()),
            None => self.promoted(other),
        };
        let sum = match gpu {
            Some(gpu) => cuda::add_narrow(gpu, &broadcast("add", &a, &b), &a, &b),
            None => run::<Add>("add", &a, &b),
        };
        record("add", sum, &[&a, &b], false, || {
            let (sa, sb) = (a.layout().shape().clone(), b.layout().shape().clone());
            let dtype = b.dtype();
            Box::new(move |args| {
                vec![
                    args.needs[0].then(|| args.grad.sum_to(&sa)),
                    args.needs[1].then(|| args.grad.sum_to(&sb).to_dtype(dtype)),
                ]
            })
        })
    }

    /// `self - other`.
    ///
    /// # Panics
    /// If the shapes do not broadcast or both are bool.
    #[must_use]
    #[track_caller]
    pub fn sub(&self, other: &Self) -> Self {
        let (a, b) = self.promoted(other);
        record("sub", run::<Sub>("sub", &a, &b), &[&a, &b], false, || {
            let (sa, sb) = (a.layout().shape().clone(), b.layout().shape().clone());
            Box::new(move |args| {
                vec![
                    args.needs[0].then(|| args.grad.sum_to(&sa)),
                    args.needs[1].then(|| -args.grad.sum_to(&sb)),
                ]
            })
        })
    }

    /// `self * other`, elementwise.
    ///
    /// # Panics
    /// If the shapes do not broadcast or both are bool.
    #[must_use]
    #[track_caller]
    pub fn mul(&self, other: &Self) -> Self {
        let (a, b) = self.promoted(other);
        record("mul", run::<Mul>("mul", &a, &b), &[&a, &b], false, || {
            let (x, y) = (Saved::new(&a), Saved::new(&b));
            Box::new(move |args| {
                vec![
                    args.needs[0].then(|| (args.grad * &*y).sum_to(x.layout().shape())),
                    args.needs[1].then(|| (args.grad * &*x).sum_to(y.layout().shape())),
                ]
            })
        })
    }

    /// `self / other`, elementwise. Integers truncate; an integer divided by zero gives zero.
    ///
    /// # Panics
    /// If the shapes do not broadcast or both are bool.
    #[must_use]
    #[track_caller]
    pub fn div(&self, other: &Self) -> Self {
        let (a, b) = self.promoted(other);
        record("div", run::<Div>("div", &a, &b), &[&a, &b], false, || {
            let (x, y) = (Saved::new(&a), Saved::new(&b));
            Box::new(move |args| {
                vec![
                    args.needs[0].then(|| (args.grad / &*y).sum_to(x.layout().shape())),
                    args.needs[1]
                        .then(|| (-(args.grad * &*x) / y.square()).sum_to(y.layout().shape())),
                ]
            })
        })
    }

    /// The larger of two, elementwise; NaN if either is. Where both are equal each gets half the
    /// gradient.
    ///
    /// # Panics
    /// If the shapes do not broadcast or both are bool.
    #[must_use]
    #[track_caller]
    pub fn maximum(&self, other: &Self) -> Self {
        let (a, b) = self.promoted(other);
        let result = run::<Maximum>("maximum", &a, &b);
        record("maximum", result, &[&a, &b], false, || {
            extremum_backward(&a, &b, |x, y| x.gt(y))
        })
    }

    /// The smaller of two, elementwise; NaN if either is. Where both are equal each gets half the
    /// gradient.
    ///
    /// # Panics
    /// If the shapes do not broadcast or both are bool.
    #[must_use]
    #[track_caller]
    pub fn minimum(&self, other: &Self) -> Self {
        let (a, b) = self.promoted(other);
        let result = run::<Minimum>("minimum", &a, &b);
        record("minimum", result, &[&a, &b], false, || {
            extremum_backward(&a, &b, |x, y| x.lt(y))
        })
    }
}

/// Gradient to the winner, half to each in a tie.
fn extremum_backward(
    a: &Tensor,
    b: &Tensor,
    wins: impl Fn(&Tensor, &Tensor) -> Tensor + Send + Sync + 'static,
) -> crate::autograd::BackwardFn {
    let (x, y) = (Saved::new(a), Saved::new(b));
    Box::new(move |args| {
        let (x, y) = (x.detach(), y.detach());
        let dtype = args.grad.dtype();
        let share =
            |u: &Tensor, v: &Tensor| wins(u, v).to_dtype(dtype) + u.eq(v).to_dtype(dtype) * 0.5;
        vec![
            args.needs[0].then(|| (args.grad * share(&x, &y)).sum_to(x.layout().shape())),
            args.needs[1].then(|| (args.grad * share(&y, &x)).sum_to(y.layout().shape())),
        ]
    })
}

macro_rules! operator {
    ($($trait:ident $method:ident),*) => {$(
        impl std::ops::$trait<&Tensor> for &Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, rhs: &Tensor) -> Tensor { Tensor::$method(self, rhs) }
        }
        impl std::ops::$trait<Tensor> for &Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, rhs: Tensor) -> Tensor { Tensor::$method(self, &rhs) }
        }
        impl std::ops::$trait<&Tensor> for Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, rhs: &Tensor) -> Tensor { Tensor::$method(&self, rhs) }
        }
        impl std::ops::$trait<Tensor> for Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, rhs: Tensor) -> Tensor { Tensor::$method(&self, &rhs) }
        }
        impl std::ops::$trait<f64> for &Tensor {
            type Output = Tensor;
            /// The number takes the tensor's dtype.
            #[track_caller]
            fn $method(self, rhs: f64) -> Tensor {
                Tensor::$method(self, &Tensor::full((), rhs, self.dtype(), self.device()))
            }
        }
        impl std::ops::$trait<f64> for Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, rhs: f64) -> Tensor { std::ops::$trait::$method(&self, rhs) }
        }
        impl std::ops::$trait<&Tensor> for f64 {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, rhs: &Tensor) -> Tensor {
                Tensor::$method(&Tensor::full((), self, rhs.dtype(), rhs.device()), rhs)
            }
        }
        impl std::ops::$trait<Tensor> for f64 {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, rhs: Tensor) -> Tensor { std::ops::$trait::$method(self, &rhs) }
        }
    )*};
}
operator!(Add add, Sub sub, Mul mul, Div div);
