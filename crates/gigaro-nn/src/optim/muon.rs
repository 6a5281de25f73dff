//! Muon: momentum whose direction is made orthogonal, for the matrices inside a network.

use std::collections::BTreeMap;

use gigaro_tensor::Tensor;
use gigaro_tensor::optim::newton_schulz;

use super::state::{States, scaled_grad};
use super::{AdamOptions, AdamW, Optimizer, ParamGroup};
use crate::StateDictError;

/// How long the step of a matrix of a given shape is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MuonScale {
    /// `sqrt(max(1, rows / columns))`, as first published; learning rates are about 0.02.
    Original,
    /// `0.2 sqrt(max(rows, columns))`: as large as AdamW's steps, so its learning rates fit.
    MatchRmsAdamw,
}

/// Settings of [`Muon`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MuonOptions {
    /// Share of the last direction that is kept.
    pub momentum: f64,
    /// Looks one step of momentum ahead.
    pub nesterov: bool,
    /// Newton-Schulz iterations.
    pub ns_steps: usize,
    /// Length of the step.
    pub scale: MuonScale,
    /// For the parameters that are not matrices.
    pub adam: AdamOptions,
}

impl Default for MuonOptions {
    /// 0.95 with Nesterov, five iterations, original scale, and AdamW with betas 0.9 and 0.95.
    fn default() -> Self {
        Self {
            momentum: 0.95,
            nesterov: true,
            ns_steps: 5,
            scale: MuonScale::Original,
            adam: AdamOptions {
                beta1: 0.9,
                beta2: 0.95,
                eps: 1e-10,
            },
        }
    }
}

/// Muon for the hidden matrices, AdamW for embeddings, the head, gains and biases. Both take the
/// learning rate of the step times the `lr_scale` of their groups; weight decay is decoupled.
///
/// # Reference
/// Jordan et al. (2024), <https://kellerjordan.github.io/posts/muon>
#[derive(Debug)]
pub struct Muon {
    options: MuonOptions,
    matrices: States,
    rest: AdamW,
}

impl Muon {
    /// Muon on `matrices`, AdamW on `rest`.
    ///
    /// # Panics
    /// If one of `matrices` has not two dims.
    #[must_use]
    #[track_caller]
    pub fn new(matrices: Vec<ParamGroup>, rest: Vec<ParamGroup>, options: MuonOptions) -> Self {
        for (name, p) in matrices.iter().flat_map(|g| &g.params) {
            assert!(
                p.ndim() == 2,
                "Muon: `{name}` of shape {:?} is no matrix; put it with the rest",
                p.shape()
            );
        }
        let rest = AdamW::new(rest, options.adam);
        Self {
            options,
            matrices: States::new(matrices, &["momentum_buffer"], 0.0),
            rest,
        }
    }
}

impl Optimizer for Muon {
    fn step(&mut self, lr: f64, grad_scale: f64) {
        let MuonOptions {
            momentum,
            nesterov,
            ns_steps,
            scale,
            ..
        } = self.options;
        self.matrices.for_each(|s| {
            let (lr, grad) = (
                lr * s.group.lr_scale,
                scaled_grad(s.param, &s.grad, grad_scale, 0.0),
            );
            let buffer = &s.state[0];
            buffer.copy_(&(buffer * momentum + &grad * (1.0 - momentum)));
            let direction = if nesterov {
                grad * (1.0 - momentum) + buffer * momentum
            } else {
                buffer.clone()
            };
            let (rows, columns) = (s.param.size(0) as f64, s.param.size(1) as f64);
            let length = match scale {
                MuonScale::Original => (rows / columns).max(1.0).sqrt(),
                MuonScale::MatchRmsAdamw => 0.2 * rows.max(columns).sqrt(),
            };
            let update = newton_schulz(&direction, ns_steps) * -(lr * length);
            s.param
                .copy_(&(s.param * (1.0 - lr * s.group.weight_decay) + update));
        });
        self.rest.step(lr, grad_scale);
    }

    fn groups(&self) -> Vec<&ParamGroup> {
        self.matrices
            .groups
            .iter()
            .chain(self.rest.groups())
            .collect()
    }

    fn state_dict(&self) -> BTreeMap<String, Tensor> {
        let mut all = self.matrices.state_dict();
        all.extend(self.rest.state_dict());
        all
    }

    fn load_state_dict(&mut self, state: &BTreeMap<String, Tensor>) -> Result<(), StateDictError> {
        let of_matrices = self.matrices.state_dict();
        let (own, rest): (BTreeMap<_, _>, BTreeMap<_, _>) = state
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .partition(|(k, _)| of_matrices.contains_key(k));
        // Both are checked before either changes.
        crate::load_in_place(&copies(&of_matrices), &own)?;
        self.rest.load_state_dict(&rest)?;
        self.matrices.load_state_dict(&own)
    }
}

fn copies(tensors: &BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    tensors.iter().map(|(k, t)| (k.clone(), t.copy())).collect()
}
