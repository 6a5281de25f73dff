//! Stochastic gradient descent.

use std::collections::BTreeMap;

use gigaro_tensor::Tensor;

use super::state::{States, scaled_grad};
use super::{Optimizer, ParamGroup};
use crate::StateDictError;

/// Settings of [`Sgd`], all 0 and off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SgdOptions {
    /// Share of the last direction that is kept.
    pub momentum: f64,
    /// The gradient enters the momentum with `1 - dampening`.
    pub dampening: f64,
    /// Looks one step of momentum ahead.
    pub nesterov: bool,
}

/// Gradient descent with momentum as PyTorch has it; weight decay is added to the gradient.
///
/// # Reference
/// Sutskever, Martens, Dahl, Hinton (2013), <https://proceedings.mlr.press/v28/sutskever13.html>
#[derive(Debug)]
pub struct Sgd {
    options: SgdOptions,
    states: States,
}

impl Sgd {
    /// An optimiser of these groups.
    #[must_use]
    pub fn new(groups: Vec<ParamGroup>, options: SgdOptions) -> Self {
        let state: &[&str] = if options.momentum == 0.0 {
            &[]
        } else {
            &["momentum_buffer"]
        };
        Self {
            options,
            states: States::new(groups, state, 0.0),
        }
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, lr: f64, grad_scale: f64) {
        let SgdOptions {
            momentum,
            dampening,
            nesterov,
        } = self.options;
        self.states.for_each(|s| {
            let grad = scaled_grad(s.param, &s.grad, grad_scale, s.group.weight_decay);
            let direction = match s.state.first() {
                None => grad,
                Some(buffer) => {
                    // The first step takes the gradient whole, without dampening.
                    let fresh = s.step == 1;
                    buffer.copy_(&if fresh {
                        grad.clone()
                    } else {
                        buffer * momentum + &grad * (1.0 - dampening)
                    });
                    if nesterov {
                        grad + buffer * momentum
                    } else {
                        buffer.clone()
                    }
                }
            };
            s.param.add_(&(direction * -(lr * s.group.lr_scale)));
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
