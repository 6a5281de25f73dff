//! What a text is worth so far: a policy with a head for values beside the one for tokens.
//!
//! [`ValueHead`] is one row of weights on what the last layer leaves; it starts at zero, so that the
//! first advantages are the rewards themselves and not the noise of a fresh head (Ziegler et al.
//! 2019). [`ActorCritic`] puts it beside a policy: on the policy's own trunk, or on one of its own.
//!
//! Not here: how it is trained (gigaro-train), and rewards of whole answers.

use gigaro_nn::{Mode, Module, join};
use gigaro_tensor::{DType, Device, Tensor, autocast, functional as F};

use crate::Gpt;

/// One number for each position.
#[derive(Clone, Debug)]
pub struct ValueHead {
    /// `(1, C)`.
    pub weight: Tensor,
}

impl ValueHead {
    /// A head whose every value is 0.
    #[must_use]
    pub fn zeroed(d_model: usize) -> Self {
        Self {
            weight: Tensor::zeros([1, d_model], DType::F32, Device::Cpu).requires_grad_(true),
        }
    }

    /// Values in f32 also under autocast: they are compared with returns, not with each other.
    ///
    /// # Shapes
    /// `(.., C)` -> `(..)`
    /// # Panics
    /// If the last dim is not `C`.
    #[must_use]
    #[track_caller]
    pub fn forward(&self, hidden: &Tensor) -> Tensor {
        autocast(DType::F32, || F::linear(hidden, &self.weight, None)).squeeze(-1)
    }
}

impl Module for ValueHead {
    fn visit(&self, prefix: &str, f: &mut dyn FnMut(&str, &Tensor)) {
        f(&join(prefix, "weight"), &self.weight);
    }
}

/// A policy and what judges its positions. The policy's tensors keep their names, so that they can
/// be taken out of a checkpoint as an ordinary model; the others stand under
/// [`ActorCritic::VALUE_PREFIX`].
#[derive(Clone, Debug)]
pub struct ActorCritic {
    /// What answers.
    pub policy: Gpt,
    /// The trunk that values are read from; `None` for the policy's own.
    pub value_trunk: Option<Gpt>,
    /// On that trunk.
    pub value_head: ValueHead,
}

impl ActorCritic {
    /// What the names of all tensors start with that are not the policy's.
    pub const VALUE_PREFIX: &'static str = "value";

    /// Values from the policy's own trunk.
    #[must_use]
    pub fn shared(policy: Gpt) -> Self {
        let value_head = ValueHead::zeroed(policy.config.d_model);
        value_head.to_device(policy.device());
        Self {
            policy,
            value_trunk: None,
            value_head,
        }
    }

    /// Values from a trunk of their own, which starts as a copy of `trunk`: the reward model's, as in InstructGPT. (A
    /// clone would not do: clones of a model share their weights, and the reward model must stay what it is.)
    #[must_use]
    pub fn separate(policy: Gpt, trunk: &Gpt) -> Self {
        let mut copy = Gpt::zeroed(&trunk.config);
        copy.to_device(trunk.device());
        // Values are never projected onto the vocabulary, and a reward model's trunk has no head for it either.
        copy.lm_head = None;
        let mut weights = trunk.state_dict();
        weights.retain(|name, _| !name.starts_with("lm_head"));
        copy.load_state_dict(&weights)
            .expect("two models of one configuration have the same tensors");
        let value_head = ValueHead::zeroed(trunk.config.d_model);
        value_head.to_device(trunk.device());
        Self {
            policy,
            value_head,
            value_trunk: Some(copy),
        }
    }

    /// What the policy's last layer leaves, and what the value head reads: the same tensor where the
    /// trunk is shared.
    ///
    /// # Shapes
    /// `ids: (B, T)` of i64 -> `(B, T, C)`, `(B, T, C)`
    /// # Panics
    /// As [`Gpt::hidden`].
    #[must_use]
    #[track_caller]
    pub fn hidden(&self, ids: &Tensor) -> (Tensor, Tensor) {
        let hidden = self.policy.hidden(ids, None, &Mode::Eval);
        let of_value = match &self.value_trunk {
            Some(trunk) => trunk.hidden(ids, None, &Mode::Eval),
            None => hidden.clone(),
        };
        (hidden, of_value)
    }
}

impl Module for ActorCritic {
    fn visit(&self, prefix: &str, f: &mut dyn FnMut(&str, &Tensor)) {
        self.policy.visit(prefix, f);
        let own = join(prefix, Self::VALUE_PREFIX);
        if let Some(trunk) = &self.value_trunk {
            trunk.visit(&join(&own, "model"), f);
        }
        self.value_head.visit(&join(&own, "head"), f);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GptConfig;
    use gigaro_tensor::Generator;

    fn gpt(seed: u64) -> Gpt {
        Gpt::new(&GptConfig::gpt2(11, 8, 1, 2, 8), &Generator::new(seed))
    }

    #[test]
    fn every_value_is_zero_at_the_start() {
        let ids = Tensor::from_slice(&[1_i64, 5, 9, 2], [2, 2]);
        for model in [
            ActorCritic::shared(gpt(1)),
            ActorCritic::separate(gpt(1), &gpt(2)),
        ] {
            let (_, hidden) = model.hidden(&ids);
            let values = model.value_head.forward(&hidden);
            assert_eq!(values.shape(), [2, 2]);
            assert_eq!(values.to_vec::<f32>(), [0.0; 4]);
        }
    }

    #[test]
    fn without_what_stands_under_the_value_prefix_the_weights_are_the_policy_s() {
        for model in [
            ActorCritic::shared(gpt(1)),
            ActorCritic::separate(gpt(1), &gpt(2)),
        ] {
            let mut weights = model.state_dict();
            let all = weights.len();
            weights.retain(|name, _| !name.starts_with("value."));
            assert!(weights.len() < all);
            let opened = gpt(3);
            opened.load_state_dict(&weights).expect("an ordinary model");
            let ids = Tensor::from_slice(&[1_i64, 5], [1, 2]);
            let logits = |m: &Gpt| m.forward(&ids, &Mode::Eval).to_vec::<f32>();
            assert_eq!(logits(&opened), logits(&model.policy));
        }
    }
    #[test]
    fn a_trunk_of_its_own_starts_as_the_reward_model_s_and_leaves_that_alone() {
        let llama = GptConfig::llama(11, 8, 1, 2, 2, 8, 16);
        let trunk = Gpt::new(&llama, &Generator::new(2));
        let reward = crate::RewardModel::new(trunk, &Generator::new(3));
        let model = ActorCritic::separate(gpt(1), &reward.trunk);
        let ids = Tensor::from_slice(&[1_i64, 5], [1, 2]);
        let of_reward = || {
            let hidden = reward.trunk.hidden(&ids, None, &Mode::Eval);
            hidden.detach().to_vec::<f32>()
        };
        let before = of_reward();
        assert_eq!(model.hidden(&ids).1.detach().to_vec::<f32>(), before);
        for (name, p) in model.named_parameters() {
            if name.starts_with("value.") {
                gigaro_tensor::no_grad(|| p.fill_(0.5));
            }
        }
        assert_eq!(of_reward(), before);
    }
}
