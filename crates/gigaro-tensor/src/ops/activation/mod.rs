//! Activation functions with kernels of their own for value and gradient.

pub(in crate::ops) mod cuda;

use crate::Tensor;
use crate::autograd::record_fused;
use crate::dtype::{Compute, Number, Real, dispatch_float};
use crate::ops::elementwise::{map, zip};

/// Value and derivative of an activation.
trait Activation: Copy + Send + Sync + 'static {
    fn value<C: Real>(x: C) -> C;
    fn derivative<C: Real>(x: C) -> C;
}

fn forward<A: Activation>(op: &str, x: &Tensor) -> Tensor {
    #[inline(always)]
    fn one<A: Activation, T: Number>(x: T) -> T
    where
        T::Compute: Real,
    {
        T::store(A::value(x.load()))
    }
    if let Some(gpu) = x.gpu() {
        return cuda::forward(gpu, op, x);
    }
    dispatch_float!(op, x.dtype(), T => map::<T, T>(x, x.dtype(), one::<A, T>))
}

fn backward<A: Activation>(op: &str, x: &Tensor, grad: &Tensor) -> Tensor {
    #[inline(always)]
    fn two<A: Activation, T: Number>(x: T, g: T) -> T
    where
        T::Compute: Real,
    {
        T::store(A::derivative(x.load()) * g.load())
    }
    if let Some(gpu) = Tensor::common_gpu(op, &[x, grad]) {
        return cuda::backward(gpu, op, x, grad);
    }
    dispatch_float!(op, x.dtype(), T => zip::<T, T, T>(x.layout().shape(), x, grad, x.dtype(), two::<A, T>))
}

#[track_caller]
fn apply<A: Activation>(op: &'static str, x: &Tensor, composite: fn(&Tensor) -> Tensor) -> Tensor {
    x.check_float(op);
    record_fused(
        op,
        forward::<A>(op, x),
        &[x],
        move |t| composite(&t[0]),
        move |saved, args| vec![Some(backward::<A>(op, &saved[0], args.grad))],
    )
}

#[inline(always)]
fn c<C: Compute>(x: f64) -> C {
    C::from_f64(x)
}

#[derive(Clone, Copy)]
struct GeluTanh;
impl GeluTanh {
    const CUBIC: f64 = 0.044715;
    fn scale() -> f64 {
        (2.0 / std::f64::consts::PI).sqrt()
    }
}
impl Activation for GeluTanh {
    /// `0.5 x (1 + tanh u) = x sigmoid(2 u)`.
    #[inline(always)]
    fn value<C: Real>(x: C) -> C {
        let u =
            x * (c::<C>(2.0 * Self::scale()) + c::<C>(2.0 * Self::scale() * Self::CUBIC) * x * x);
        x * u.sigmoid()
    }
    #[inline(always)]
    fn derivative<C: Real>(x: C) -> C {
        let (a, b) = (
            c::<C>(2.0 * Self::scale()),
            c::<C>(2.0 * Self::scale() * Self::CUBIC),
        );
        let s = (x * (a + b * x * x)).sigmoid();
        s + x * s * (C::ONE - s) * (a + c::<C>(3.0) * b * x * x)
    }
}

/// Gaussian error linear unit in its tanh approximation, as GPT-2 has it:
/// `0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`.
///
/// # Panics
/// If the tensor is not floating-point.
/// # Reference
/// Hendrycks, Gimpel (2016), <https://arxiv.org/abs/1606.08415>
#[must_use]
#[track_caller]
pub fn gelu_tanh(x: &Tensor) -> Tensor {
    apply::<GeluTanh>("gelu_tanh", x, |x| {
        let u = (x + x * x * x * GeluTanh::CUBIC) * GeluTanh::scale();
        x * 0.5 * (u.tanh() + 1.0)
    })
}

#[derive(Clone, Copy)]
struct Gelu;
impl Activation for Gelu {
    #[inline(always)]
    fn value<C: Real>(x: C) -> C {
        c::<C>(0.5) * x * (C::ONE + (x * c::<C>(std::f64::consts::FRAC_1_SQRT_2)).erf())
    }
    #[inline(always)]
    fn derivative<C: Real>(x: C) -> C {
        let cdf = c::<C>(0.5) * (C::ONE + (x * c::<C>(std::f64::consts::FRAC_1_SQRT_2)).erf());
        cdf + x * (c::<C>(-0.5) * x * x).exp() * c::<C>(1.0 / (2.0 * std::f64::consts::PI).sqrt())
    }
}

/// Gaussian error linear unit: `x` times the normal distribution function of `x`.
///
/// # Panics
/// If the tensor is not floating-point.
/// # Reference
/// Hendrycks, Gimpel (2016), <https://arxiv.org/abs/1606.08415>
#[must_use]
#[track_caller]
pub fn gelu(x: &Tensor) -> Tensor {
    apply::<Gelu>("gelu", x, |x| {
        x * 0.5 * ((x * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0)
    })
}

#[derive(Clone, Copy)]
struct Silu;
impl Activation for Silu {
    #[inline(always)]
    fn value<C: Real>(x: C) -> C {
        x * x.sigmoid()
    }
    #[inline(always)]
    fn derivative<C: Real>(x: C) -> C {
        let s = x.sigmoid();
        s + x * s * (C::ONE - s)
    }
}

/// `x sigmoid(x)`, also called swish.
///
/// # Panics
/// If the tensor is not floating-point.
/// # Reference
/// Elfwing, Uchibe, Doya (2017), <https://arxiv.org/abs/1702.03118>
#[must_use]
#[track_caller]
pub fn silu(x: &Tensor) -> Tensor {
    apply::<Silu>("silu", x, |x| x * x.sigmoid())
}

#[derive(Clone, Copy)]
struct ReluSquared;
impl Activation for ReluSquared {
    #[inline(always)]
    fn value<C: Real>(x: C) -> C {
        if x > C::ZERO || x.is_nan() {
            x * x
        } else {
            C::ZERO
        }
    }
    #[inline(always)]
    fn derivative<C: Real>(x: C) -> C {
        if x > C::ZERO || x.is_nan() {
            x + x
        } else {
            C::ZERO
        }
    }
}

/// `max(x, 0)^2`.
///
/// # Panics
/// If the tensor is not floating-point.
/// # Reference
/// So et al. (2021), "Primer", <https://arxiv.org/abs/2109.08668>
#[must_use]
#[track_caller]
pub fn relu_squared(x: &Tensor) -> Tensor {
    apply::<ReluSquared>("relu_squared", x, |x| x.relu().square())
}

/// `max(x, 0)`.
///
/// # Panics
/// If the tensor is not floating-point.
/// # Reference
/// Nair, Hinton (2010), the activation of AlexNet.
#[must_use]
#[track_caller]
pub fn relu(x: &Tensor) -> Tensor {
    x.relu()
}
