//! Proximal policy optimisation of text against a score, as InstructGPT has it.
//!
//! One step: the policy of this moment answers a batch of prompts; a scorer judges the answers; each answer token is
//! rewarded with `-coef * kl` to the frozen reference, the last one with the score besides; the value
//! head says what was to be expected, and GAE turns both into advantages. Then come `ppo_epochs` passes
//! over the batch in minibatches, each with an update of clipped policy loss and clipped value loss,
//! and with PPO-ptx the loss on pretraining text.
//!
//! Details that careful readers look for, and where they are tested: rewards are whitened, if at all, without shifting their
//! mean, advantages with it, both over the batch of the step, as in Huang et al. (2024) (Ziegler et al.'s code does it per
//! minibatch); values start at 0; old log-probabilities are those of the rollout, whose bits the
//! training pass repeats, so that the first ratio is exactly 1; nothing anywhere uses dropout; the
//! temperature divides logits in rollout and training; the learning rate is that of the step for all
//! of its updates. Adam's `eps` is added to the root of the corrected second moment, as PyTorch has
//! it; in TensorFlow's form, which Ziegler et al. used, it is added before the correction and so weighs more in the first steps:
//! 1e-5 is the usual setting here.
//!
//! # Reference
//! Ziegler et al. (2019), <https://arxiv.org/abs/1909.08593>; Stiennon et al. (2020),
//! <https://arxiv.org/abs/2009.01325>; Ouyang et al. (2022), <https://arxiv.org/abs/2203.02155>; Huang
//! et al. (2024), <https://arxiv.org/abs/2403.17031>

use gigaro_models::ActorCritic;
use gigaro_models::generate::token_logprobs;
use gigaro_nn::{Mode, Module};
use gigaro_tensor::{Device, no_grad};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::advantage::{
    KlController, KlEstimator, explained_variance, gae, per_answer, token_rewards, whiten,
};
use crate::error::{Error, Result};
use crate::next_token::{Feed, batch_loss};
use crate::objective::{Figures, Objective, Update};
use crate::passes::{Means, Passes, numbers};
use crate::policy_loss::{Averaging, Clip, entropy, policy_loss, value_figures, value_loss};
use crate::rollout::{Part, Rollout, Rollouts};

/// How PPO trains.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PpoSettings {
    /// Strength of the penalty for leaving the reference.
    pub kl: KlController,
    /// How the divergence is estimated, for the reward and for the figures alike.
    pub kl_estimator: KlEstimator,
    /// What a reward is worth one token earlier.
    pub gamma: f64,
    /// Between the error of the values (0) and the noise of the rewards (1).
    pub lambda: f64,
    /// Whether rewards are brought to variance 1, their mean kept.
    pub whiten_rewards: bool,
    /// How far probabilities may move in a step.
    pub clip: Clip,
    /// How far values may move in a step.
    pub clip_value: f64,
    /// Weighs the value loss.
    pub vf_coef: f64,
    /// Weighs a bonus for entropy; 0 for none.
    pub entropy_coef: f64,
    /// Passes over the answers of a step.
    pub ppo_epochs: usize,
    /// Updates of each pass.
    pub minibatches: usize,
    /// Weighs the pretraining loss, where there is a feed for it.
    pub ptx_coef: f64,
}

impl Default for PpoSettings {
    /// InstructGPT's: no discount, `lambda` 0.95, clipping at 0.2, a fixed penalty of 0.02, the
    /// pretraining loss times 27.8; with four passes, as in Stiennon et al.
    fn default() -> Self {
        Self {
            kl: KlController::Fixed { coef: 0.02 },
            kl_estimator: KlEstimator::K1,
            gamma: 1.0,
            lambda: 0.95,
            whiten_rewards: false,
            clip: Clip::symmetric(0.2),
            clip_value: 0.2,
            vf_coef: 0.1,
            entropy_coef: 0.0,
            ppo_epochs: 4,
            minibatches: 4,
            ptx_coef: 27.8,
        }
    }
}

/// What a step knows about each answer token before its first update, flat.
struct Targets {
    values: Vec<f64>,
    advantages: Vec<f64>,
    returns: Vec<f64>,
}

/// Learning from scores with a value head.
pub struct Ppo<'a> {
    model: &'a ActorCritic,
    rollouts: Rollouts<'a>,
    settings: PpoSettings,
    kl: KlController,
    passes: Passes,
    pretraining: Option<&'a mut dyn Feed>,
}

#[derive(Serialize, Deserialize)]
struct State {
    rollouts: Value,
    kl: KlController,
    pretraining: Value,
}

impl<'a> Ppo<'a> {
    /// Trains `model` on `rollouts`.
    ///
    /// # Errors
    /// If a setting makes no sense.
    pub fn new(
        model: &'a ActorCritic,
        rollouts: Rollouts<'a>,
        settings: PpoSettings,
    ) -> Result<Self> {
        let sampling = rollouts.sampling();
        let passes = Passes {
            epochs: settings.ppo_epochs,
            minibatches: settings.minibatches,
            micro_batch: sampling.micro_batch,
            averaging: Averaging::Tokens,
        };
        passes.check(sampling.prompts * sampling.answers)?;
        Ok(Self {
            model,
            rollouts,
            kl: settings.kl,
            settings,
            passes,
            pretraining: None,
        })
    }

    /// PPO-ptx: every update also lowers the loss on a batch of pretraining text, so that what the
    /// model knew is not forgotten.
    #[must_use]
    pub fn with_pretraining(mut self, feed: &'a mut dyn Feed) -> Self {
        self.pretraining = Some(feed);
        self
    }

    /// The next answers, and the value of each of their tokens, flat. A head on the policy's own trunk reads it while the token is
    /// drawn: the numbers are those of another forward pass, and cost none.
    fn answers(&mut self) -> Result<(Rollout, Vec<f64>)> {
        let (policy, head) = (&self.model.policy, &self.model.value_head);
        if self.model.value_trunk.is_some() {
            let rollout = self.rollouts.next(policy)?;
            let values = self.values(&rollout);
            return Ok((rollout, values));
        }
        let sampling = self.rollouts.sampling();
        let mut values: Vec<Vec<f64>> = vec![Vec::new(); sampling.prompts * sampling.answers];
        let rollout = self.rollouts.next_watched(policy, &mut |answers, hidden| {
            let read = head.forward(hidden).to_vec::<f32>();
            for (&answer, value) in answers.iter().zip(read) {
                values[answer].push(f64::from(value));
            }
        })?;
        Ok((rollout, values.concat()))
    }

    /// The value of each token of the answers, in a forward pass; flat.
    fn values(&self, rollout: &Rollout) -> Vec<f64> {
        rollout.over_tokens(self.passes.micro_batch, |part| {
            let (_, hidden) = self.model.hidden(&part.ids);
            self.model.value_head.forward(&part.at_answers(&hidden))
        })
    }

    /// Advantages and returns of a rollout with these values, and the mean reward of an answer.
    fn targets(&self, rollout: &Rollout, values: Vec<f64>, kl: &[f64]) -> (Targets, f64) {
        let (s, lens) = (&self.settings, &rollout.lens);
        let coef = self.kl.coef();
        let mut rewards: Vec<f64> = per_answer(kl, lens)
            .zip(&rollout.scores)
            .flat_map(|(kl, &score)| token_rewards(kl, score, coef))
            .collect();
        let reward = rewards.iter().sum::<f64>() / lens.len() as f64;
        if s.whiten_rewards {
            whiten(&mut rewards, false);
        }
        let each = per_answer(&rewards, lens).zip(per_answer(&values, lens));
        let mut advantages: Vec<f64> = each
            .flat_map(|(rewards, values)| gae(rewards, values, s.gamma, s.lambda))
            .collect();
        let returns = advantages.iter().zip(&values).map(|(a, v)| a + v).collect();
        whiten(&mut advantages, true);
        let targets = Targets {
            values,
            advantages,
            returns,
        };
        (targets, reward)
    }
}

/// Fills the gradients of one part of a minibatch and returns its loss.
fn backward(
    model: &ActorCritic,
    s: &PpoSettings,
    temperature: f64,
    part: &Part,
    rollout: &Rollout,
    targets: &Targets,
    means: &mut Means,
) -> f64 {
    let (hidden, of_value) = model.hidden(&part.ids);
    let logits = model.policy.logits(&part.at_answers(&hidden));
    let logprobs = token_logprobs(&logits, &part.tokens, temperature);
    let values = model
        .value_head
        .forward(&part.at_answers(&of_value))
        .to_device(Device::Cpu);
    let policy = policy_loss(
        &logprobs,
        &part.pick(&rollout.logprobs),
        &part.pick(&targets.advantages),
        &part.weights,
        s.clip,
    );
    let value = value_loss(
        &values,
        &part.pick(&targets.values),
        &part.pick(&targets.returns),
        &part.weights,
        s.clip_value,
    );
    let of_tokens = || entropy(&logits, temperature).to_device(Device::Cpu);
    let mean_entropy = || (of_tokens() * &part.weights).sum_all();
    let mut loss = &policy + &value * s.vf_coef;
    // Without a bonus nothing of it need be kept for the backward pass.
    let entropy = if s.entropy_coef == 0.0 {
        no_grad(mean_entropy)
    } else {
        let entropy = mean_entropy();
        loss = loss - &entropy * s.entropy_coef;
        entropy
    };
    loss.backward();
    let value_moved = value_figures(
        &numbers(&values),
        &part.pick_numbers(&targets.values),
        &part.pick_numbers(&targets.returns),
        s.clip_value,
    );
    let sums = [
        ("loss/policy", policy.item()),
        ("loss/value", value.item()),
        ("policy/entropy", entropy.item()),
    ];
    means.add(1.0, &sums);
    means.add_policy(part, &logprobs, rollout, &targets.advantages, s.clip);
    let shares = [
        ("val/error", value_moved.error),
        ("val/clip_fraction", value_moved.clip_fraction),
    ];
    means.add(part.share, &shares);
    loss.item()
}

/// Fills the gradients of the pretraining loss on the feed's next batch and returns it, weighed.
fn backward_pretraining(
    model: &ActorCritic,
    coef: f64,
    feed: &mut dyn Feed,
    means: &mut Means,
) -> f64 {
    let batch = feed.next_batch();
    if batch.target_count() == 0 {
        return 0.0;
    }
    let loss = batch_loss(&model.policy, &batch, &Mode::Eval);
    means.add(1.0, &[("loss/pretraining", loss.item())]);
    let loss = loss * coef;
    loss.backward();
    loss.item()
}

impl Objective for Ppo<'_> {
    fn module(&self) -> &dyn Module {
        self.model
    }

    fn step(&mut self, update: &mut Update<'_>) -> Result<Figures> {
        let (rollout, values) = self.answers()?;
        let kl = rollout.kl(self.settings.kl_estimator);
        let (targets, reward) = self.targets(&rollout, values, &kl);
        let (model, s) = (self.model, &self.settings);
        let temperature = self.rollouts.sampling().temperature;
        let feed = &mut self.pretraining;
        let mut passes = self.passes;
        let mut figures = passes.run(
            &rollout,
            &self.rollouts.order_stream(),
            update,
            &mut |part, means| backward(model, s, temperature, part, &rollout, &targets, means),
            &mut |means| match feed {
                Some(feed) => backward_pretraining(model, s.ptx_coef, &mut **feed, means),
                None => 0.0,
            },
        )?;
        self.passes = passes;
        figures.extend(rollout.figures(&kl));
        figures.extend(self.rollouts.times());
        let foreseen = explained_variance(&targets.values, &targets.returns);
        figures.extend([
            ("objective/reward", reward),
            ("objective/kl_coef", self.kl.coef()),
            ("val/explained_variance", foreseen),
        ]);
        let answers = rollout.lens.len();
        self.kl
            .update(kl.iter().sum::<f64>() / answers as f64, answers);
        Ok(figures)
    }

    fn validate(&mut self) -> Result<Option<Figures>> {
        self.rollouts.validate(&self.model.policy, self.model)
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
            pretraining: json!(self.pretraining.as_ref().map(|feed| feed.state())),
        })
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let state: State = serde_json::from_value(state.clone()).map_err(Error::position)?;
        if let Some(feed) = &mut self.pretraining {
            feed.restore(serde_json::from_value(state.pretraining).map_err(Error::position)?)?;
        }
        self.kl = state.kl;
        self.rollouts.restore(&state.rollouts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::Sampling;
    use crate::scorer::Check;
    use crate::toy;
    use gigaro_tensor::{DType, Generator, Tensor, autocast};

    #[test]
    fn values_read_while_answers_are_drawn_have_the_bits_of_a_forward_pass() {
        let model = ActorCritic::shared(toy::policy(5));
        let weight = Tensor::randn([1, 16], DType::F32, Device::Cpu, &Generator::new(2));
        no_grad(|| model.value_head.weight.copy_(&weight));
        for dtype in [DType::F32, DType::BF16] {
            let mut scorer = Check(toy::share_of_target);
            // Fewer slots than answers: they join and leave at different times.
            let sampling = Sampling {
                slots: 5,
                ..toy::sampling(24, 1)
            };
            let prompts = toy::uneven_prompts();
            let rollouts = Rollouts::new(
                &model.policy,
                prompts,
                &mut scorer,
                &toy::ZeroEnds,
                sampling,
            );
            let settings = PpoSettings::default();
            let mut ppo =
                Ppo::new(&model, rollouts.expect("sound settings"), settings).expect("settings");
            let (rollout, values) = autocast(dtype, || ppo.answers()).expect("finite logits");
            assert_eq!(values, autocast(dtype, || ppo.values(&rollout)));
            assert!(values.iter().any(|value| *value != values[0]));
        }
    }
}
