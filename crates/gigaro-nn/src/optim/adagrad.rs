//! Adagrad.

use std::collections::BTreeMap;

use gigaro_tensor::Tensor;

use super::state::{States, scaled_grad};
use super::{Optimizer, ParamGroup};
use crate::StateDictError;

/// Settings of [`Adagrad`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdagradOptions {
    /// Where the sums of squares start.
    pub initial_accumulator: f64,
    /// Added to their root.
    pub eps: f64,
}

impl Default for AdagradOptions {
    /// PyTorch's: 0 and 1e-10.
    fn default() -> Self {
        Self {
            initial_accumulator: 0.0,
            eps: 1e-10,
        }
    }
}

/// Steps that shrink with the sum of all squared gradients of each element; weight decay is added
/// to the gradient.
///
/// # Reference
/// Duchi, Hazan, Singer (2011), <https://jmlr.org/papers/v12/duchi11a.html>
#[derive(Debug)]
pub struct Adagrad {
    eps: f64,
    states: States,
}

impl Adagrad {
    /// An optimiser of these groups.
    #[must_use]
    pub fn new(groups: Vec<ParamGroup>, options: AdagradOptions) -> Self {
        Self {
            eps: options.eps,
            states: States::new(groups, &["sum"], options.initial_accumulator),
        }
    }
}

impl Optimizer for Adagrad {
    fn step(&mut self, lr: f64, grad_scale: f64) {
        let eps = self.eps;
        self.states.for_each(|s| {
            let grad = scaled_grad(s.param, &s.grad, grad_scale, s.group.weight_decay);
            let sum = &s.state[0];
            sum.add_(&grad.square());
            s.param
                .add_(&(grad / (sum.sqrt() + eps) * -(lr * s.group.lr_scale)));
        });
    }

    fn groups(&self) -> Vec<&ParamGroup> {
        self.states.groups.iter().collect()
    }

    fn state_dict(&self) -> BTreeMap<String, Tensor> {
        self.states.state_dict()
    }

    fn load_state_dict(&mut self, state: &BTreeMap<String, Tensor>) -> Result<(), StateDictError> {
        self.states.load_state_dict(state)
    }
}
