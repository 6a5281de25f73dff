//! Functions of one element: a line of the table each.
//!
//! A line gives the name, the kernel (generic over `f32` and `f64`; half types compute in f32), and
//! the gradient in terms of the incoming gradient `g`, the input `x` and the output `y`.

mod cuda;

use crate::Tensor;
use crate::autograd::{Saved, record};
use crate::dtype::{Number, Real, dispatch_float};
use crate::ops::elementwise::map;

/// A kernel of one element.
trait Unary: Copy + Send + Sync + 'static {
    fn apply<C: Real>(x: C) -> C;
}

fn run<O: Unary>(op: &'static str, x: &Tensor) -> Tensor {
    #[inline(always)]
    fn one<O: Unary, T: Number>(x: T) -> T
    where
        T::Compute: Real,
    {
        T::store(O::apply(x.load()))
    }
    if let Some(gpu) = x.gpu() {
        return cuda::unary(gpu, op, x);
    }
    dispatch_float!(op, x.dtype(), T => map::<T, T>(x, x.dtype(), one::<O, T>))
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident($kernel_type:ident) = |$v:ident| $kernel:expr,
       gradient |$g:ident, $x:ident, $y:ident| $gradient:expr, keeps output: $keep:expr;)*) => {
        $(
            #[derive(Clone, Copy)]
            struct $kernel_type;
            impl Unary for $kernel_type {
                #[inline(always)]
                fn apply<C: Real>($v: C) -> C { $kernel }
            }
        )*
        impl Tensor {
            $(
                $(#[$doc])*
                ///
                /// # Panics
                /// If the tensor is not floating-point.
                #[must_use]
                #[track_caller]
                pub fn $name(&self) -> Self {
                    let result = run::<$kernel_type>(stringify!($name), self);
                    record(stringify!($name), result, &[self], $keep, || {
                        let saved = Saved::new(self);
                        Box::new(move |args| {
                            let ($g, $x): (&Self, &Self) = (args.grad, &saved);
                            let $y = args.output;
                            // Some gradients need only the input, some only the output.
                            let _ = ($x, $y);
                            vec![Some($gradient)]
                        })
                    })
                }
            )*
        }
    };
}

fn kept(y: Option<&Tensor>) -> &Tensor {
    y.expect("the table says that the output is kept")
}

unary! {
    /// `e^x`.
    exp(Exp) = |v| v.exp(), gradient |g, x, y| g * kept(y), keeps output: true;
    /// Natural logarithm.
    log(Log) = |v| v.ln(), gradient |g, x, y| g / x, keeps output: false;
    /// Square root.
    sqrt(Sqrt) = |v| v.sqrt(), gradient |g, x, y| g / (kept(y) * 2.0), keeps output: true;
    /// `1 / sqrt(x)`.
    rsqrt(Rsqrt) = |v| C::ONE / v.sqrt(), gradient |g, x, y| g * kept(y) / x * -0.5, keeps output: true;
    /// `1 / x`.
    reciprocal(Reciprocal) = |v| C::ONE / v, gradient |g, x, y| -(g * kept(y) * kept(y)), keeps output: true;
    /// `x * x`.
    square(Square) = |v| v * v, gradient |g, x, y| g * x * 2.0, keeps output: false;
    /// Hyperbolic tangent.
    tanh(Tanh) = |v| v.tanh(), gradient |g, x, y| g * (1.0 - kept(y).square()), keeps output: true;
    /// `1 / (1 + e^-x)`.
    sigmoid(Sigmoid) = |v| v.sigmoid(), gradient |g, x, y| g * kept(y) * (1.0 - kept(y)), keeps output: true;
    /// The error function.
    erf(Erf) = |v| v.erf(),
        gradient |g, x, y| g * (x.square() * -1.0).exp() * std::f64::consts::FRAC_2_SQRT_PI, keeps output: false;
    /// Sine.
    sin(Sin) = |v| v.sin(), gradient |g, x, y| g * x.cos(), keeps output: false;
    /// Cosine.
    cos(Cos) = |v| v.cos(), gradient |g, x, y| -(g * x.sin()), keeps output: false;
    /// Absolute value; gradient 0 at 0.
    abs(Abs) = |v| v.abs(), gradient |g, x, y| g * x.sign(), keeps output: false;
    /// `max(x, 0)`; gradient 0 at 0.
    relu(Relu) = |v| if v > C::ZERO || v.is_nan() { v } else { C::ZERO },
        gradient |g, x, y| g * x.gt(&zero(x)).to_dtype(x.dtype()), keeps output: false;
    /// -1, 0 or 1 by the sign; gradient 0.
    sign(Sign) = |v| if v > C::ZERO { C::ONE } else if v < C::ZERO { C::ZERO - C::ONE } else { v },
        gradient |g, x, y| g.zeros_like(), keeps output: false;
    /// The largest whole number not above; gradient 0.
    floor(Floor) = |v| v.floor(), gradient |g, x, y| g.zeros_like(), keeps output: false;
    /// The smallest whole number not below; gradient 0.
    ceil(Ceil) = |v| v.ceil(), gradient |g, x, y| g.zeros_like(), keeps output: false;
    /// The nearest whole number, halves to even; gradient 0.
    round(Round) = |v| v.round(), gradient |g, x, y| g.zeros_like(), keeps output: false;
}

fn zero(like: &Tensor) -> Tensor {
    Tensor::zeros((), like.dtype(), like.device())
}

impl Tensor {
    /// Zeros of the same shape and dtype.
    #[must_use]
    pub fn zeros_like(&self) -> Self {
        Self::zeros(self.shape(), self.dtype(), self.device())
    }

    /// Ones of the same shape and dtype.
    #[must_use]
    pub fn ones_like(&self) -> Self {
        Self::ones(self.shape(), self.dtype(), self.device())
    }

    /// `x^exponent`, elementwise.
    ///
    /// # Panics
    /// If the tensor is not floating-point.
    #[must_use]
    #[track_caller]
    pub fn pow(&self, exponent: f64) -> Self {
        if exponent == 2.0 {
            return self.square();
        }
        #[inline(always)]
        fn one<T: Number>(p: f64) -> impl Fn(T) -> T + Copy + Sync
        where
            T::Compute: Real,
        {
            move |x| T::store(x.load().powf(crate::dtype::Compute::from_f64(p)))
        }
        let result = match self.gpu() {
            Some(gpu) => cuda::pow(gpu, self, exponent),
            None => {
                dispatch_float!("pow", self.dtype(), T => map::<T, T>(self, self.dtype(), one::<T>(exponent)))
            }
        };
        record("pow", result, &[self], false, || {
            let x = Saved::new(self);
            Box::new(move |args| {
                // A power of 0 is constant, also at 0, where the formula below is infinity times 0.
                if exponent == 0.0 {
                    return vec![Some(args.grad.zeros_like())];
                }
                vec![Some(args.grad * x.pow(exponent - 1.0) * exponent)]
            })
        })
    }

    /// Limits every element to `min..=max`; the gradient passes strictly between, and is 0
    /// at a bound, as PyTorch 2.15 has it.
    ///
    /// # Panics
    /// If the tensor is not floating-point or `min > max`.
    #[must_use]
    #[track_caller]
    pub fn clamp(&self, min: f64, max: f64) -> Self {
        assert!(
            self.dtype().is_float(),
            "clamp: needs floats, got {}",
            self.dtype()
        );
        assert!(min <= max, "clamp: min {min} is above max {max}");
        let limit = |v: f64| Self::full((), v, self.dtype(), self.device());
        let (low, high) = (limit(min), limit(max));
        let raised = Self::where_(&self.le(&low), &low, self);
        Self::where_(&self.ge(&high), &high, &raised)
    }
}

impl std::ops::Neg for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        self * -1.0
    }
}
impl std::ops::Neg for Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        &self * -1.0
    }
}
