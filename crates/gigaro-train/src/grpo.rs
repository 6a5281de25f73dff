//! Group-relative policy optimisation: several answers to each prompt, each judged against the others of its group.
//!
//! No value head: the baseline is the group's mean. The divergence from the reference is part of the
//! loss (K3, with its gradient), not of the reward. Which deviation divides the advantages and how
//! tokens are averaged are the points where later papers differ; [`GrpoSettings`] has both.
//!
//! # Reference
//! Shao et al. (2024), "DeepSeekMath", <https://arxiv.org/abs/2402.03300>; Liu et al. (2025), "Understanding
//! R1-Zero-like training", <https://arxiv.org/abs/2503.20783>; Yu et al. (2025), "DAPO",
//! <https://arxiv.org/abs/2503.14476>

use gigaro_models::Gpt;
use gigaro_models::generate::token_logprobs;
use gigaro_nn::Module;
use gigaro_tensor::no_grad;
use serde_json::Value;

use crate::advantage::{
    GroupScale, KlEstimator, group_normalised, groups_without_signal, to_tokens,
};
use crate::error::Result;
use crate::objective::{Figures, Objective, Update};
use crate::passes::{Means, Passes};
use crate::policy_loss::{Averaging, Clip, entropy, kl_loss, policy_loss};
use crate::rollout::{Part, Rollout, Rollouts, answer_logits};

/// How GRPO trains.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GrpoSettings {
    /// Weighs the divergence from the reference in the loss.
    pub beta: f64,
    /// How far probabilities may move in a step.
    pub clip: Clip,
    /// What divides the distances from the group's mean.
    pub scale: GroupScale,
    /// How tokens are averaged.
    pub averaging: Averaging,
    /// Passes over the answers of a step.
    pub epochs: usize,
    /// Updates of each pass.
    pub minibatches: usize,
}

impl Default for GrpoSettings {
    /// DeepSeekMath's: `beta` 0.04, clipping at 0.2, one update per step.
    fn default() -> Self {
        Self {
            beta: 0.04,
            clip: Clip::symmetric(0.2),
            scale: GroupScale::Group,
            averaging: Averaging::Answers,
            epochs: 1,
            minibatches: 1,
        }
    }
}

impl GrpoSettings {
    /// "Dr. GRPO": no division by deviations and none by lengths but a constant, so that neither easy
    /// groups nor short answers weigh more; no penalty for leaving the reference.
    #[must_use]
    pub fn dr_grpo(max_tokens: usize) -> Self {
        Self {
            beta: 0.0,
            scale: GroupScale::None,
            averaging: Averaging::MaxTokens(max_tokens),
            ..Self::default()
        }
    }
}

/// Learning from groups of answers.
pub struct Grpo<'a> {
    policy: &'a Gpt,
    rollouts: Rollouts<'a>,
    settings: GrpoSettings,
    passes: Passes,
}

impl<'a> Grpo<'a> {
    /// Trains `policy` on `rollouts`, whose sampling says how many answers a group has.
    ///
    /// # Errors
    /// If a setting makes no sense.
    pub fn new(policy: &'a Gpt, rollouts: Rollouts<'a>, settings: GrpoSettings) -> Result<Self> {
        let sampling = rollouts.sampling();
        sampling.check_groups()?;
        let passes = Passes {
            epochs: settings.epochs,
            minibatches: settings.minibatches,
            micro_batch: sampling.micro_batch,
            averaging: settings.averaging,
        };
        passes.check(sampling.prompts * sampling.answers)?;
        Ok(Self {
            policy,
            rollouts,
            settings,
            passes,
        })
    }

    /// Fills the gradients of one part of a minibatch and returns its loss.
    fn backward(
        &self,
        part: &Part,
        rollout: &Rollout,
        advantages: &[f64],
        means: &mut Means,
    ) -> f64 {
        let (s, temperature) = (&self.settings, self.rollouts.sampling().temperature);
        let logits = answer_logits(self.policy, part);
        let logprobs = token_logprobs(&logits, &part.tokens, temperature);
        let policy = policy_loss(
            &logprobs,
            &part.pick(&rollout.logprobs),
            &part.pick(advantages),
            &part.weights,
            s.clip,
        );
        let kl = kl_loss(&logprobs, &part.pick(&rollout.ref_logprobs), &part.weights);
        let loss = &policy + &kl * s.beta;
        loss.backward();
        let mean_entropy = no_grad(|| entropy(&logits, temperature).mean_all()).item();
        means.add(
            1.0,
            &[("loss/policy", policy.item()), ("loss/kl", kl.item())],
        );
        means.add(part.share, &[("policy/entropy", mean_entropy)]);
        means.add_policy(part, &logprobs, rollout, advantages, s.clip);
        loss.item()
    }
}

impl Objective for Grpo<'_> {
    fn module(&self) -> &dyn Module {
        self.policy
    }

    fn step(&mut self, update: &mut Update<'_>) -> Result<Figures> {
        let rollout = self.rollouts.next(self.policy)?;
        let size = self.rollouts.sampling().answers;
        let per_answer = group_normalised(&rollout.scores, size, self.settings.scale);
        let advantages = to_tokens(&per_answer, &rollout.lens);
        let mut passes = self.passes;
        let mut figures = passes.run(
            &rollout,
            &self.rollouts.order_stream(),
            update,
            &mut |part, means| self.backward(part, &rollout, &advantages, means),
            &mut |_| 0.0,
        )?;
        self.passes = passes;
        figures.extend(rollout.figures(&rollout.kl(KlEstimator::K3)));
        figures.extend(self.rollouts.times());
        let idle = groups_without_signal(&rollout.scores, size);
        figures.push(("objective/groups_without_signal", idle));
        Ok(figures)
    }

    fn validate(&mut self) -> Result<Option<Figures>> {
        self.rollouts.validate(self.policy, self.policy)
    }

    fn measures_start(&self) -> bool {
        true
    }

    fn tokens(&self) -> u64 {
        self.rollouts.tokens()
    }

    fn state(&self) -> Value {
        self.rollouts.state()
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.rollouts.restore(state)
    }
}
