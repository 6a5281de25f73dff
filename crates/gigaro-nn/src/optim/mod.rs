//! Optimisers, a file each. What they share: parameter groups, per-parameter state, checkpoints.
//!
//! An optimiser holds handles on the parameters and reads their `.grad()`. Gradients add up until
//! [`Optimizer::zero_grad`], so a large batch is several `backward` calls and one
//! `step(lr, clip_scale / pieces)`. The learning rate comes with each step (see
//! [`crate::schedule`]); the factor on the gradients carries clipping and accumulation, and costs
//! nothing because gradients are read anyway. Parameters without a gradient are left alone.

mod adagrad;
mod adam;
mod muon;
mod sgd;
mod state;

use std::collections::BTreeMap;

use gigaro_tensor::Tensor;

pub use adagrad::{Adagrad, AdagradOptions};
pub use adam::{Adam, AdamOptions, AdamW};
pub use muon::{Muon, MuonOptions, MuonScale};
pub use sgd::{Sgd, SgdOptions};

use crate::StateDictError;

/// Parameters that are treated alike.
#[derive(Clone, Debug)]
pub struct ParamGroup {
    /// Names and handles.
    pub params: Vec<(String, Tensor)>,
    /// The step's learning rate is multiplied by this.
    pub lr_scale: f64,
    /// Strength of weight decay.
    pub weight_decay: f64,
}

impl ParamGroup {
    /// A group without weight decay at the step's learning rate.
    #[must_use]
    pub const fn new(params: Vec<(String, Tensor)>) -> Self {
        Self {
            params,
            lr_scale: 1.0,
            weight_decay: 0.0,
        }
    }

    /// With this weight decay.
    #[must_use]
    pub const fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// With its learning rate scaled.
    #[must_use]
    pub const fn lr_scale(mut self, lr_scale: f64) -> Self {
        self.lr_scale = lr_scale;
        self
    }

    /// The usual two groups: weight decay on matrices, none on vectors (gains and biases).
    #[must_use]
    pub fn decay_matrices(params: Vec<(String, Tensor)>, weight_decay: f64) -> Vec<Self> {
        let (matrices, vectors): (Vec<_>, Vec<_>) =
            params.into_iter().partition(|(_, p)| p.ndim() >= 2);
        vec![
            Self::new(matrices).weight_decay(weight_decay),
            Self::new(vectors),
        ]
    }
}

/// What every optimiser can do.
pub trait Optimizer: Send {
    /// Changes every parameter that has a gradient, which is multiplied by `grad_scale` first.
    fn step(&mut self, lr: f64, grad_scale: f64);

    /// The parameters in their groups.
    fn groups(&self) -> Vec<&ParamGroup>;

    /// The same optimiser as one whose step a card can repeat; `None` if it needs the processor for every step.
    fn repeatable(&mut self) -> Option<&mut dyn Repeatable> {
        None
    }

    /// Forgets the gradients of all parameters.
    fn zero_grad(&self) {
        self.groups()
            .iter()
            .for_each(|g| g.params.iter().for_each(|(_, p)| p.zero_grad()));
    }

    /// Everything a resumed run needs, by name: `exp_avg.h.0.weight`, `step.h.0.weight`, .. These
    /// are handles: `copy()` what must outlast the next step.
    fn state_dict(&self) -> BTreeMap<String, Tensor>;

    /// Continues from a saved state, bit for bit.
    ///
    /// # Errors
    /// If a key is missing, unexpected, or has another shape; then nothing was changed.
    fn load_state_dict(&mut self, state: &BTreeMap<String, Tensor>) -> Result<(), StateDictError>;
}

/// An optimiser whose step can be part of work that is captured once and done again (see [`gigaro_tensor::cuda::Graph`]): its numbers lie on the card.
pub trait Repeatable {
    /// Asks for a step of every parameter that has a gradient, under the numbers that [`Repeatable::prepare`] is going to write. With `clip`, what
    /// [`gigaro_tensor::optim::norm_and_clip`] gives, gradients are multiplied by its factor, and nothing changes if their norm is not finite.
    fn capture(&mut self, clip: Option<&Tensor>);

    /// Counts a step of the captured parameters and writes its numbers: to be called before the work is done.
    ///
    /// # Panics
    /// If nothing was captured.
    fn prepare(&mut self, lr: f64);
}
