//! Root-mean-square normalisation as a layer.

use gigaro_tensor::{DType, Device, Tensor, functional};

use crate::{Module, join};

/// Root mean square 1 over the last dim, then a gain per channel.
///
/// # Reference
/// Zhang, Sennrich (2019), <https://arxiv.org/abs/1910.07467>
#[derive(Clone, Debug)]
pub struct RmsNorm {
    /// Gain, `(C)`, from 1.
    pub weight: Tensor,
    /// Added to the mean square.
    pub eps: f64,
}

impl RmsNorm {
    /// A layer for `(.., dim)`.
    #[must_use]
    pub fn new(dim: usize, eps: f64) -> Self {
        Self {
            weight: Tensor::ones([dim], DType::F32, Device::Cpu).requires_grad_(true),
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
        functional::rms_norm(x, Some(&self.weight), self.eps)
    }

    /// [`RmsNorm::forward`] for the inside of a network: in the dtype that [`functional::autocast_output`] says.
    ///
    /// # Shapes
    /// `(.., C)` -> `(.., C)`
    /// # Panics
    /// If the last dim is not `C`.
    #[must_use]
    #[track_caller]
    pub fn forward_in(&self, x: &Tensor) -> Tensor {
        let dtype = functional::autocast_output(x);
        functional::rms_norm_to(x, Some(&self.weight), self.eps, dtype)
    }
}

impl Module for RmsNorm {
    fn visit(&self, prefix: &str, f: &mut dyn FnMut(&str, &Tensor)) {
        f(&join(prefix, "weight"), &self.weight);
    }
}
