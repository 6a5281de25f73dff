//! Adam and AdamW.

use std::collections::BTreeMap;

use gigaro_tensor::Tensor;
use gigaro_tensor::optim::{AdamStep, adamw_};

use super::state::{States, scaled_grad};
use super::{Optimizer, ParamGroup};
use crate::StateDictError;

/// Settings of Adam and AdamW.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamOptions {
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of their squares.
    pub beta2: f64,
    /// Added to the root of the second.
    pub eps: f64,
}

impl Default for AdamOptions {
    /// PyTorch's: 0.9, 0.999, 1e-8.
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
        }
    }
}

const STATE: &[&str] = &["exp_avg", "exp_avg_sq"];

fn adam_step(
    options: &AdamOptions,
    lr: f64,
    weight_decay: f64,
    step: u64,
    grad_scale: f64,
) -> AdamStep {
    let AdamOptions { beta1, beta2, eps } = *options;
    AdamStep {
        lr,
        beta1,
        beta2,
        eps,
        weight_decay,
        step,
        grad_scale,
    }
}

/// Adam with decoupled weight decay: parameters shrink by `lr * weight_decay` themselves.
///
/// # Reference
/// Loshchilov, Hutter (2017), <https://arxiv.org/abs/1711.05101>
#[derive(Debug)]
pub struct AdamW {
    options: AdamOptions,
    states: States,
}

impl AdamW {
    /// An optimiser of these groups.
    #[must_use]
    pub fn new(groups: Vec<ParamGroup>, options: AdamOptions) -> Self {
        Self {
            options,
            states: States::new(groups, STATE, 0.0),
        }
    }
}

impl Optimizer for AdamW {
    fn step(&mut self, lr: f64, grad_scale: f64) {
        let options = &self.options;
        self.states.for_each(|s| {
            let step = adam_step(
                options,
                lr * s.group.lr_scale,
                s.group.weight_decay,
                s.step,
                grad_scale,
            );
            adamw_(s.param, &s.grad, &s.state[0], &s.state[1], &step);
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

/// Adam as first published; weight decay is added to the gradient.
///
/// # Reference
/// Kingma, Ba (2014), <https://arxiv.org/abs/1412.6980>
#[derive(Debug)]
pub struct Adam {
    options: AdamOptions,
    states: States,
}

impl Adam {
    /// An optimiser of these groups.
    #[must_use]
    pub fn new(groups: Vec<ParamGroup>, options: AdamOptions) -> Self {
        Self {
            options,
            states: States::new(groups, STATE, 0.0),
        }
    }
}

impl Optimizer for Adam {
    fn step(&mut self, lr: f64, grad_scale: f64) {
        let options = &self.options;
        self.states.for_each(|s| {
            let decay = s.group.weight_decay;
            // Without decay the kernel scales the gradient while it reads it.
            let (grad, scale) = if decay == 0.0 {
                (s.grad, grad_scale)
            } else {
                (scaled_grad(s.param, &s.grad, grad_scale, decay), 1.0)
            };
            let step = adam_step(options, lr * s.group.lr_scale, 0.0, s.step, scale);
            adamw_(s.param, &grad, &s.state[0], &s.state[1], &step);
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
