//! The affine map.

use gigaro_tensor::{Generator, Tensor, functional};

use crate::{Module, init, join};

/// `x @ weight.t() + bias`.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `(out_features, in_features)`.
    pub weight: Tensor,
    /// `(out_features)`.
    pub bias: Option<Tensor>,
}

impl Linear {
    /// Weights and bias uniform within `1 / sqrt(in_features)`, as PyTorch has it.
    #[must_use]
    pub fn new(in_features: usize, out_features: usize, bias: bool, generator: &Generator) -> Self {
        let bound = 1.0 / (in_features.max(1) as f64).sqrt();
        let weight = init::uniform([out_features, in_features], -bound, bound, generator);
        let bias = bias.then(|| init::uniform([out_features], -bound, bound, generator));
        Self::from_weights(weight, bias)
    }

    /// These weights, made parameters.
    #[must_use]
    pub fn from_weights(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self {
            weight: weight.requires_grad_(true),
            bias: bias.map(|b| b.requires_grad_(true)),
        }
    }

    /// Width of what goes in.
    #[must_use]
    pub fn in_features(&self) -> usize {
        self.weight.size(1)
    }

    /// Width of what comes out.
    #[must_use]
    pub fn out_features(&self) -> usize {
        self.weight.size(0)
    }

    /// # Shapes
    /// `(.., in_features)` -> `(.., out_features)`
    /// # Panics
    /// If the last dim is not `in_features`.
    #[must_use]
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        functional::linear(x, &self.weight, self.bias.as_ref())
    }
}

impl Module for Linear {
    fn visit(&self, prefix: &str, f: &mut dyn FnMut(&str, &Tensor)) {
        f(&join(prefix, "weight"), &self.weight);
        if let Some(bias) = &self.bias {
            f(&join(prefix, "bias"), bias);
        }
    }
}
