//! REINFORCE with a leave-one-out baseline: several answers to each prompt, each compared with the mean of the others.
//!
//! An answer is one action: its reward is the score less `coef` times the divergence of the whole answer, and all of its tokens
//! share one advantage. One update per step on what the policy itself has just drawn, so that there
//! is no ratio to clip.
//!
//! # Reference
//! Ahmadian et al. (2024), "Back to basics: revisiting REINFORCE style optimization for learning from
//! human feedback in LLMs", <https://arxiv.org/abs/2402.14740>; Kool et al. (2019), "Buy 4 REINFORCE
//! samples, get a baseline for free!"

use gigaro_models::Gpt;
use gigaro_models::generate::token_logprobs;
use gigaro_nn::Module;
use gigaro_tensor::no_grad;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::advantage::{
    KlController, KlEstimator, groups_without_signal, leave_one_out, mean, per_answer, to_tokens,
};
use crate::error::{Error, Result};
use crate::objective::{Figures, Objective, Update};
use crate::passes::{Means, Passes};
use crate::policy_loss::{Averaging, Clip, entropy, reinforce_loss};
use crate::rollout::{Part, Rollout, Rollouts, answer_logits};

/// Learning from whole answers.
pub struct Rloo<'a> {
    policy: &'a Gpt,
    rollouts: Rollouts<'a>,
    kl: KlController,
    passes: Passes,
}

#[derive(Serialize, Deserialize)]
struct State {
    rollouts: Value,
    kl: KlController,
}

impl<'a> Rloo<'a> {
    /// Trains `policy` on `rollouts`, whose sampling says how many answers a group has; `kl` is the strength of the
    /// penalty for leaving the reference.
    ///
    /// # Errors
    /// If a setting makes no sense.
    pub fn new(policy: &'a Gpt, rollouts: Rollouts<'a>, kl: KlController) -> Result<Self> {
        rollouts.sampling().check_groups()?;
        let passes = Passes {
            epochs: 1,
            minibatches: 1,
            micro_batch: rollouts.sampling().micro_batch,
            averaging: Averaging::Sum,
        };
        Ok(Self {
            policy,
            rollouts,
            kl,
            passes,
        })
    }

    /// Fills the gradients of one part of the answers and returns its loss.
    fn backward(
        &self,
        part: &Part,
        rollout: &Rollout,
        advantages: &[f64],
        means: &mut Means,
    ) -> f64 {
        let temperature = self.rollouts.sampling().temperature;
        let logits = answer_logits(self.policy, part);
        let logprobs = token_logprobs(&logits, &part.tokens, temperature);
        let loss = reinforce_loss(&logprobs, &part.pick(advantages), &part.weights);
        loss.backward();
        let mean_entropy = no_grad(|| entropy(&logits, temperature).mean_all()).item();
        means.add(part.share, &[("policy/entropy", mean_entropy)]);
        let unclipped = Clip::symmetric(f64::INFINITY);
        means.add_policy(part, &logprobs, rollout, advantages, unclipped);
        loss.item()
    }
}

impl Objective for Rloo<'_> {
    fn module(&self) -> &dyn Module {
        self.policy
    }

    fn step(&mut self, update: &mut Update<'_>) -> Result<Figures> {
        let rollout = self.rollouts.next(self.policy)?;
        let (size, kl) = (
            self.rollouts.sampling().answers,
            rollout.kl(KlEstimator::K1),
        );
        let coef = self.kl.coef();
        let rewards: Vec<f64> = per_answer(&kl, &rollout.lens)
            .zip(&rollout.scores)
            .map(|(kl, score)| score - coef * kl.iter().sum::<f64>())
            .collect();
        let advantages = to_tokens(&leave_one_out(&rewards, size), &rollout.lens);
        let mut passes = self.passes;
        let mut figures = passes.run(
            &rollout,
            &self.rollouts.order_stream(),
            update,
            &mut |part, means| self.backward(part, &rollout, &advantages, means),
            &mut |_| 0.0,
        )?;
        self.passes = passes;
        figures.extend(rollout.figures(&kl));
        figures.extend(self.rollouts.times());
        figures.push(("objective/reward", mean(&rewards)));
        figures.push(("objective/kl_coef", coef));
        let idle = groups_without_signal(&rollout.scores, size);
        figures.push(("objective/groups_without_signal", idle));
        let answers = rollout.lens.len();
        self.kl
            .update(kl.iter().sum::<f64>() / answers as f64, answers);
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
        json!(State {
            rollouts: self.rollouts.state(),
            kl: self.kl,
        })
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let state: State = serde_json::from_value(state.clone()).map_err(Error::position)?;
        self.kl = state.kl;
        self.rollouts.restore(&state.rollouts)
    }
}
