//! The multi-layer perceptron.

use gigaro_tensor::{Generator, Tensor};

use super::{Activation, Dropout, Linear};
use crate::{Mode, Module, join};

/// Linear layers with an activation, and dropout while training, between each two.
#[derive(Clone, Debug)]
pub struct Mlp {
    /// First to last; named `layers.0`, `layers.1`, ..
    pub layers: Vec<Linear>,
    /// Between each two layers, not after the last.
    pub activation: Activation,
    /// After each activation.
    pub dropout: Dropout,
}

impl Mlp {
    /// Layers from each width to the next: `&[784, 128, 10]` has two.
    ///
    /// # Panics
    /// If there are fewer than two widths.
    #[must_use]
    #[track_caller]
    pub fn new(
        widths: &[usize],
        activation: Activation,
        dropout: f64,
        generator: &Generator,
    ) -> Self {
        assert!(
            widths.len() >= 2,
            "Mlp: {widths:?} needs at least an input and an output width"
        );
        let layers = widths
            .windows(2)
            .map(|w| Linear::new(w[0], w[1], true, generator))
            .collect();
        Self {
            layers,
            activation,
            dropout: Dropout::new(dropout),
        }
    }

    /// # Shapes
    /// `(.., first width)` -> `(.., last width)`
    /// # Panics
    /// If the last dim is not the first width.
    #[must_use]
    #[track_caller]
    pub fn forward(&self, x: &Tensor, mode: &Mode) -> Tensor {
        let mut x = x.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            if i > 0 {
                x = self.dropout.forward(&self.activation.apply(&x), mode);
            }
            x = layer.forward(&x);
        }
        x
    }
}

impl Module for Mlp {
    fn visit(&self, prefix: &str, f: &mut dyn FnMut(&str, &Tensor)) {
        for (i, layer) in self.layers.iter().enumerate() {
            layer.visit(&join(prefix, &format!("layers.{i}")), f);
        }
    }
}
