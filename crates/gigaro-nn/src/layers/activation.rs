//! Activation functions by name, for layers that are configured with one.

use gigaro_tensor::{Tensor, functional as F};

/// A function of each element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x`.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `max(x, 0)^2`.
    ReluSquared,
    /// GELU with the exact normal distribution.
    Gelu,
    /// GELU in the tanh approximation, as GPT-2 has it.
    GeluTanh,
    /// `x sigmoid(x)`.
    Silu,
    /// Hyperbolic tangent.
    Tanh,
    /// Logistic function.
    Sigmoid,
}

impl Activation {
    /// Applies it to every element.
    #[must_use]
    #[track_caller]
    pub fn apply(self, x: &Tensor) -> Tensor {
        match self {
            Self::Identity => x.clone(),
            Self::Relu => F::relu(x),
            Self::ReluSquared => F::relu_squared(x),
            Self::Gelu => F::gelu(x),
            Self::GeluTanh => F::gelu_tanh(x),
            Self::Silu => F::silu(x),
            Self::Tanh => x.tanh(),
            Self::Sigmoid => x.sigmoid(),
        }
    }
}
