//! Exponential moving average of weights: a smoother copy of a model, for evaluation.

use std::collections::BTreeMap;

use gigaro_tensor::{Tensor, no_grad};

use crate::{Module, StateDictError, load_in_place};

/// Averages of every tensor of a module: `average = decay * average + (1 - decay) * weight`.
///
/// # Reference
/// Polyak, Juditsky (1992), "Acceleration of stochastic approximation by averaging"
#[derive(Debug)]
pub struct Ema {
    decay: f64,
    averages: BTreeMap<String, Tensor>,
}

impl Ema {
    /// Starts from the module's present weights.
    #[must_use]
    pub fn new(module: &dyn Module, decay: f64) -> Self {
        let averages = module
            .state_dict()
            .into_iter()
            .map(|(name, t)| (name, t.copy()))
            .collect();
        Self { decay, averages }
    }

    /// Takes in the module's present weights; call it after each step.
    ///
    /// # Panics
    /// If the module is not the one it began with.
    #[track_caller]
    pub fn update(&self, module: &dyn Module) {
        no_grad(|| {
            module.visit("", &mut |name, weight| {
                let Some(average) = self.averages.get(name) else {
                    panic!("Ema: `{name}` was not there when averaging began")
                };
                average.copy_(&(average * self.decay + weight.detach() * (1.0 - self.decay)));
            });
        });
    }

    /// Copies the averages into a module of the same form.
    ///
    /// # Errors
    /// If the module has other tensors.
    pub fn copy_to(&self, module: &dyn Module) -> Result<(), StateDictError> {
        module.load_state_dict(&self.averages)
    }

    /// The averages by name, for a checkpoint.
    #[must_use]
    pub fn state_dict(&self) -> BTreeMap<String, Tensor> {
        self.averages.clone()
    }

    /// Continues from saved averages.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn load_state_dict(
        &self,
        averages: &BTreeMap<String, Tensor>,
    ) -> Result<(), StateDictError> {
        load_in_place(&self.averages, averages)
    }
}

#[cfg(test)]
mod tests {
    use gigaro_tensor::Generator;

    use super::*;
    use crate::Linear;

    #[test]
    fn averages_follow_the_weights_and_survive_a_checkpoint() {
        let layer = Linear::new(1, 1, false, &Generator::new(1));
        no_grad(|| layer.weight.fill_(1.0));
        let ema = Ema::new(&layer, 0.75);
        no_grad(|| layer.weight.fill_(2.0));
        ema.update(&layer);
        ema.update(&layer);
        let other = Ema::new(&layer, 0.75);
        other.load_state_dict(&ema.state_dict()).unwrap();
        other.copy_to(&layer).unwrap();
        assert_eq!(layer.weight.to_vec::<f32>(), [2.0 - 0.75 * 0.75]);
        assert!(
            ema.copy_to(&Linear::new(2, 1, false, &Generator::new(1)))
                .is_err()
        );
    }
}
