//! Adam and AdamW.

use std::collections::BTreeMap;

use gigaro_tensor::optim::{AdamRules, AdamSlot, AdamStep, adamw_, adamw_all_, adamw_by_rules_};
use gigaro_tensor::{Device, Tensor, no_grad};

use super::state::{Slot, States, scaled_grad};
use super::{Optimizer, ParamGroup, Repeatable};
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
    captured: Option<Captured>,
}

/// What a step that a card repeats needs of the processor.
#[derive(Debug)]
struct Captured {
    /// Where the card reads its numbers.
    rules: AdamRules,
    /// The places of the parameters that it changes, ascending.
    places: Vec<usize>,
}

impl AdamW {
    /// An optimiser of these groups.
    #[must_use]
    pub fn new(groups: Vec<ParamGroup>, options: AdamOptions) -> Self {
        Self {
            options,
            states: States::new(groups, STATE, 0.0),
            captured: None,
        }
    }

    /// Counts a step of some parameters, chosen by place and tensor: its numbers.
    fn steps(
        &mut self,
        lr: f64,
        grad_scale: f64,
        moves: impl Fn(usize, &Tensor) -> bool,
    ) -> Vec<AdamStep> {
        let options = &self.options;
        let counted = self.states.count(moves).into_iter();
        let step = |(step, group): (u64, &ParamGroup)| {
            let (lr, decay) = (lr * group.lr_scale, group.weight_decay);
            adam_step(options, lr, decay, step, grad_scale)
        };
        counted.map(step).collect()
    }
}

/// The slots as the kernels take them.
fn adam_slots<'a>(slots: &'a [(usize, Slot<'a>)]) -> Vec<AdamSlot<'a>> {
    let slot = |(_, s): &'a (usize, Slot<'a>)| AdamSlot {
        param: s.param,
        grad: &s.grad,
        exp_avg: &s.state[0],
        exp_avg_sq: &s.state[1],
    };
    slots.iter().map(slot).collect()
}

impl Repeatable for AdamW {
    fn capture(&mut self, clip: Option<&Tensor>) {
        let slots: Vec<_> = self.states.slots().collect();
        if let Some(captured) = &mut self.captured {
            captured.places = slots.iter().map(|(place, _)| *place).collect();
            no_grad(|| adamw_by_rules_(&adam_slots(&slots), &captured.rules, clip));
        }
    }

    fn prepare(&mut self, lr: f64) {
        let captured = self.captured.take();
        let captured = captured.expect("AdamW: capture comes before prepare");
        let moves = |place: usize, _: &Tensor| captured.places.binary_search(&place).is_ok();
        let steps = self.steps(lr, 1.0, moves);
        captured.rules.set(&steps);
        self.captured = Some(captured);
    }
}

impl Optimizer for AdamW {
    fn step(&mut self, lr: f64, grad_scale: f64) {
        let steps = self.steps(lr, grad_scale, |_, param| param.grad().is_some());
        let slots: Vec<_> = self.states.slots().collect();
        no_grad(|| adamw_all_(&adam_slots(&slots), &steps));
    }

    fn repeatable(&mut self) -> Option<&mut dyn Repeatable> {
        let parameters: Vec<_> = self.states.groups.iter().flat_map(|g| &g.params).collect();
        let device = parameters.first().map(|(_, p)| p.device())?;
        if device == Device::Cpu {
            return None;
        }
        // Its room must be there before work is captured: what is set to zero then is set to zero whenever the work is done.
        self.captured.get_or_insert_with(|| Captured {
            rules: AdamRules::new(parameters.len(), device),
            places: Vec::new(),
        });
        Some(self)
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
