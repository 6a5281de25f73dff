//! Layer normalisation as a layer.

use gigaro_tensor::{DType, Device, Tensor, functional};

use crate::{Module, join};

/// Mean 0 and variance 1 over the last dim, then a gain and a shift of its own per channel.
///
/// # Reference
/// Ba, Kiros, Hinton (2016), <https://arxiv.org/abs/1607.06450>
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// Gain, `(C)`, from 1.
    pub weight: Tensor,
    /// Shift, `(C)`, from 0.
    pub bias: Option<Tensor>,
    /// Added to the variance.
    pub eps: f64,
}

impl LayerNorm {
    /// A layer for `(.., dim)`; PyTorch's `eps` is 1e-5.
    #[must_use]
    pub fn new(dim: usize, bias: bool, eps: f64) -> Self {
        let zeros = || Tensor::zeros([dim], DType::F32, Device::Cpu).requires_grad_(true);
        Self {
            weight: Tensor::ones([dim], DType::F32, Device::Cpu).requires_grad_(true),
            bias: bias.then(zeros),
            eps,
        }
    }

    /// # Shapes
    /// `(.., C)` -> `(.., C)`
    /// # Panics
    /// If the last dim is not `C`.
    #[must_use]
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        functional::layer_norm(x, &self.weight, self.bias.as_ref(), self.eps)
    }

    /// [`LayerNorm::forward`] for the inside of a network: in the dtype that [`functional::autocast_output`] says.
    ///
    /// # Shapes
    /// `(.., C)` -> `(.., C)`
    /// # Panics
    /// If the last dim is not `C`.
    #[must_use]
    #[track_caller]
    pub fn forward_in(&self, x: &Tensor) -> Tensor {
        let (bias, dtype) = (self.bias.as_ref(), functional::autocast_output(x));
        functional::layer_norm_to(x, &self.weight, bias, self.eps, dtype)
    }
}

impl Module for LayerNorm {
    fn visit(&self, prefix: &str, f: &mut dyn FnMut(&str, &Tensor)) {
        f(&join(prefix, "weight"), &self.weight);
        if let Some(bias) = &self.bias {
            f(&join(prefix, "bias"), bias);
        }
    }
}
