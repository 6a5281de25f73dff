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
        Self {
            policy,
            value_trunk: None,
            value_head,
        }
    }

    /// Values from a trunk of its own, as in InstructGPT, where it starts as the reward model's. Of
    /// that trunk the projection onto the vocabulary is never used and stays as it is.
    #[must_use]
    pub fn separate(policy: Gpt, value_trunk: Gpt) -> Self {
        let value_head = ValueHead::zeroed(value_trunk.config.d_model);
        Self {
            policy,
            value_trunk: Some(value_trunk),
            value_head,
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
            ActorCritic::separate(gpt(1), gpt(2)),
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
            ActorCritic::separate(gpt(1), gpt(2)),
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
}
