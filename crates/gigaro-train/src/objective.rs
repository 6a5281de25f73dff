//! What a run optimises, apart from how long it runs and where it is saved.
//!
//! An [`Objective`] knows its data and its loss: it fills gradients and calls [`Update::apply`] whenever they are to
//! move the weights. Everything that is the same for all of them (learning rate, clipping, the checks for
//! numbers that are none, checkpoints, metrics) is the trainer's, and an objective never sees it.
//!
//! Read next: `next_token.rs` for the plainest objective, `trainer.rs` for the loop around it.

use std::path::{Path, PathBuf};

use gigaro_nn::optim::Optimizer;
use gigaro_nn::{Mode, Module, clip};
use gigaro_tensor::{Generator, Tensor};
use serde_json::Value;

use crate::error::{Error, Result};

/// Measurements by name, in the order in which they are written: `[("loss", 2.1), ("rewards/margins", 0.3)]`.
pub type Figures = Vec<(&'static str, f64)>;

/// The value of a figure.
#[must_use]
pub fn figure(figures: &[(&'static str, f64)], name: &str) -> Option<f64> {
    figures.iter().find(|(n, _)| *n == name).map(|(_, x)| *x)
}

/// What a run optimises: computes gradients, and has a position that can be saved.
///
/// [`Objective::step`] and [`Objective::validate`] run under [`gigaro_tensor::autocast`] in the dtype of the run's settings, so
/// no objective deals with precision; one that needs f32 somewhere calls `autocast(DType::F32, ..)` there.
pub trait Objective {
    /// The model whose parameters are trained; all its tensors are the weights of a checkpoint.
    fn module(&self) -> &dyn Module;

    /// One step of the run: accumulates gradients and calls `update` once, or more often (PPO: several
    /// minibatches). Returns figures to log; `loss` is among them.
    ///
    /// # Errors
    /// If a number is not finite or the data fail.
    fn step(&mut self, update: &mut Update<'_>) -> Result<Figures>;

    /// Measures on held-out data, under the names that [`Objective::step`] uses (they are logged with
    /// `validation_` before them); `None` if there is none.
    ///
    /// # Errors
    /// If the data fail.
    fn validate(&mut self) -> Result<Option<Figures>>;

    /// Whether what it starts from is measured too, before the first step: where training may make things worse, the start
    /// is a candidate for the best point.
    fn measures_start(&self) -> bool {
        false
    }

    /// What the model writes at present, for people to read: prompts with what came after them. Nothing, unless an objective has some.
    ///
    /// # Errors
    /// If nothing can be drawn from the model.
    fn samples(&mut self) -> Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }

    /// Tokens that the last step read, for the pace.
    fn tokens(&self) -> u64;

    /// Where it is in its data, and whatever else decides what comes next (generators of its own).
    fn state(&self) -> Value;

    /// Goes to a saved position.
    ///
    /// # Errors
    /// If the position is unreadable or belongs to other data.
    fn restore(&mut self, state: &Value) -> Result<()>;
}

/// What one call of [`Update::apply`] did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpdateFigures {
    /// The gradient's norm over all parameters, before clipping.
    pub grad_norm: f64,
    /// The learning rate.
    pub lr: f64,
}

/// Moves the weights by the gradients that have been accumulated: what an objective is handed for one step.
pub struct Update<'a> {
    parameters: Vec<(String, Tensor)>,
    optimizer: &'a mut dyn Optimizer,
    dropout: Generator,
    step: u64,
    lr: f64,
    max_norm: f64,
    last_good: Option<PathBuf>,
    norms: f64,
    applied: u32,
}

impl<'a> Update<'a> {
    /// For the step `step`, counted from 1. `last_good` is the newest checkpoint from before it.
    pub(crate) fn new(
        parameters: Vec<(String, Tensor)>,
        optimizer: &'a mut dyn Optimizer,
        dropout: Generator,
        (step, lr, max_norm): (u64, f64, f64),
        last_good: Option<&Path>,
    ) -> Self {
        Self {
            parameters,
            optimizer,
            dropout,
            step,
            lr,
            max_norm,
            last_good: last_good.map(Path::to_path_buf),
            norms: 0.0,
            applied: 0,
        }
    }

    /// Clips the gradients by their common norm, steps the optimiser at the step's learning rate, and
    /// forgets the gradients.
    ///
    /// # Errors
    /// If a gradient is not finite; the error names its layer, and no weight has changed.
    pub fn apply(&mut self) -> Result<UpdateFigures> {
        let grad_norm = clip::grad_norm(&self.parameters);
        if !grad_norm.is_finite() {
            let name = clip::first_non_finite(&self.parameters).unwrap_or("a parameter");
            return Err(self.broken(format!("the gradient of {name}")));
        }
        let scale = clip::clip_scale(grad_norm, self.max_norm);
        self.optimizer.step(self.lr, scale);
        self.optimizer.zero_grad();
        self.took(grad_norm);
        Ok(UpdateFigures {
            grad_norm,
            lr: self.lr,
        })
    }

    /// Forgets the gradients that were collected so far.
    pub(crate) fn forget_gradients(&self) {
        self.parameters.iter().for_each(|(_, p)| p.zero_grad());
    }

    /// What a step that a card repeats is made of: the parameters and what moves them.
    pub(crate) fn parts(&mut self) -> (&[(String, Tensor)], &mut dyn Optimizer) {
        (&self.parameters, &mut *self.optimizer)
    }

    /// Counts an update that a card has made in its own way, with this norm of the gradient.
    pub(crate) fn took(&mut self, grad_norm: f64) {
        self.norms += grad_norm;
        self.applied += 1;
    }

    /// The learning rate of the step.
    pub(crate) const fn lr(&self) -> f64 {
        self.lr
    }

    /// What the gradient's norm is clipped to.
    pub(crate) const fn max_norm(&self) -> f64 {
        self.max_norm
    }

    /// The generator of dropout, whose position is saved.
    pub(crate) const fn dropout(&self) -> &Generator {
        &self.dropout
    }

    /// Refuses a number that is none. To be asked of the loss before [`Update::apply`], since a broken loss says
    /// more than the broken gradients that follow from it.
    ///
    /// # Errors
    /// If `value` is not finite; the error names `what` (`the loss`), the step, and the last good checkpoint.
    pub fn check(&self, what: &str, value: f64) -> Result<()> {
        if value.is_finite() {
            Ok(())
        } else {
            Err(self.broken(what.to_owned()))
        }
    }

    /// The mode of this step's forward passes: dropout draws from the run's generator, whose position is saved.
    #[must_use]
    pub fn mode(&self) -> Mode {
        Mode::Train(self.dropout.clone())
    }

    /// The step being taken, counted from 1.
    #[must_use]
    pub const fn step(&self) -> u64 {
        self.step
    }

    /// The gradient's norm before clipping, the mean over the calls of [`Update::apply`]; 0 without any.
    pub(crate) fn grad_norm(&self) -> f64 {
        self.norms / f64::from(self.applied.max(1))
    }

    fn broken(&self, what: String) -> Error {
        Error::NonFinite {
            step: self.step,
            what,
            last_good: self.last_good.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gigaro_nn::Linear;
    use gigaro_nn::optim::{ParamGroup, Sgd, SgdOptions};
    use gigaro_tensor::{DType, Device};

    #[test]
    fn a_broken_gradient_names_its_layer_and_changes_no_weight() {
        let layer = Linear::new(2, 1, true, &Generator::new(0));
        let before = layer.weight.to_vec::<f32>();
        let parameters = layer.named_parameters();
        let mut sgd = Sgd::new(
            vec![ParamGroup::new(parameters.clone())],
            SgdOptions::default(),
        );
        let mut update = Update::new(
            parameters,
            &mut sgd,
            Generator::new(0),
            (7, 0.1, 1.0),
            Some(Path::new("runs/a")),
        );
        let x = Tensor::full([1, 2], 3.0, DType::F32, Device::Cpu);
        layer.forward(&x).sum_all().backward();
        let done = update.apply().expect("finite gradients");
        assert!((done.grad_norm - 19.0_f64.sqrt()).abs() < 1e-6);
        assert!(layer.weight.grad().is_none() && layer.weight.to_vec::<f32>() != before);
        let moved = layer.weight.to_vec::<f32>();
        (layer.forward(&x) * f64::NAN).sum_all().backward();
        let message = update.apply().expect_err("a NaN").to_string();
        let said = ["step 7", "the gradient of weight", "runs/a"];
        assert!(said.iter().all(|part| message.contains(part)), "{message}");
        assert_eq!(layer.weight.to_vec::<f32>(), moved);
        assert!(
            update.check("the loss", 1.0).is_ok()
                && update.check("the loss", f64::INFINITY).is_err()
        );
    }
}
