//! Passes over a rollout in minibatches: the loop that PPO, GRPO and RLOO share once advantages are known.
//!
//! What a minibatch minimises is the caller's matter; here are the seeded order, the division into parts that fit
//! into memory, the updates, and the means of what was measured on the way.

use std::time::Instant;

use gigaro_tensor::{Generator, Tensor};

use crate::error::{Error, Result};
use crate::objective::{Figures, Update};
use crate::policy_loss::{Averaging, Clip, policy_figures};
use crate::rollout::{Part, Rollout, permutation};
use crate::smaller_parts::in_smaller_parts;

/// The figure of which the largest counts, not the mean.
const RATIO_MAX: &str = "val/ratio_max";

/// How often and in how many pieces the answers of a step are trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passes {
    pub(crate) epochs: usize,
    pub(crate) minibatches: usize,
    pub(crate) micro_batch: usize,
    pub(crate) averaging: Averaging,
}

impl Passes {
    /// # Errors
    /// If there is nothing to do, or fewer answers than minibatches.
    pub(crate) fn check(&self, answers: usize) -> Result<()> {
        for (name, n) in [("epochs", self.epochs), ("minibatches", self.minibatches)] {
            if n == 0 {
                return Err(Error::bad_setting(name, n, "it must be at least 1"));
            }
        }
        if self.minibatches > answers {
            let why = format!("a step has only {answers} answers to divide");
            return Err(Error::bad_setting("minibatches", self.minibatches, why));
        }
        Ok(())
    }

    /// One update per minibatch. `backward` fills the gradients of a part and returns its loss; `besides` does the same
    /// once per update, for a loss that has nothing to do with the answers.
    ///
    /// On a card that is too full, parts are smaller from then on.
    ///
    /// # Errors
    /// If a loss or a gradient is not finite.
    pub(crate) fn run(
        &mut self,
        rollout: &Rollout,
        stream: &Generator,
        update: &mut Update<'_>,
        backward: &mut dyn FnMut(&Part, &mut Means) -> f64,
        besides: &mut dyn FnMut(&mut Means) -> f64,
    ) -> Result<Figures> {
        let started = Instant::now();
        let answers = rollout.lens.len();
        let size = answers.div_ceil(self.minibatches);
        let (mut means, mut updates) = (Means::default(), 0);
        for epoch in 0..self.epochs {
            let order = permutation(answers, &stream.fork(epoch as u64));
            for minibatch in order.chunks(size) {
                let forget = || update.forget_gradients();
                let averaging = self.averaging;
                let attempt = |at_once| {
                    let (mut loss, mut tried) = (0.0, means.clone());
                    for part in rollout.parts(minibatch, at_once, averaging) {
                        loss += backward(&part, &mut tried);
                    }
                    (loss, tried)
                };
                let (mut loss, tried) = in_smaller_parts(&mut self.micro_batch, forget, attempt);
                means = tried;
                loss += besides(&mut means);
                update.check("the loss", loss)?;
                update.apply()?;
                means.add(1.0, &[("loss", loss)]);
                updates += 1;
            }
        }
        let mut figures = means.over(updates);
        figures.push(("time/update", started.elapsed().as_secs_f64()));
        Ok(figures)
    }
}

/// Figures that are added up over parts and divided by the number of updates at the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Means(Figures);

impl Means {
    /// Adds figures, `weight` times: 1 for what adds up over the parts of a minibatch, the part's share for what is
    /// already a mean.
    pub(crate) fn add(&mut self, weight: f64, figures: &[(&'static str, f64)]) {
        for &(name, x) in figures {
            let Some((_, sum)) = self.0.iter_mut().find(|(n, _)| *n == name) else {
                let first = if name == RATIO_MAX { x } else { weight * x };
                self.0.push((name, first));
                continue;
            };
            *sum = if name == RATIO_MAX {
                sum.max(x)
            } else {
                *sum + weight * x
            };
        }
    }

    /// Adds how far a part's tokens have moved from the policy that drew them.
    pub(crate) fn add_policy(
        &mut self,
        part: &Part,
        logprobs: &Tensor,
        rollout: &Rollout,
        advantages: &[f64],
        clip: Clip,
    ) {
        let old = part.pick_numbers(&rollout.logprobs);
        let advantages = part.pick_numbers(advantages);
        let moved = policy_figures(&numbers(logprobs), &old, &advantages, clip);
        let figures = [
            ("policy/approx_kl", moved.approx_kl),
            ("policy/policy_kl", moved.policy_kl),
            ("policy/clip_fraction", moved.clip_fraction),
            ("val/ratio", moved.ratio_mean),
            (RATIO_MAX, moved.ratio_max),
        ];
        self.add(part.share, &figures);
    }

    fn over(self, updates: usize) -> Figures {
        let divide = |(name, sum): (&'static str, f64)| match name {
            RATIO_MAX => (name, sum),
            _ => (name, sum / updates as f64),
        };
        self.0.into_iter().map(divide).collect()
    }
}

/// A tensor's numbers.
pub(crate) fn numbers(x: &Tensor) -> Vec<f64> {
    x.to_vec::<f32>().into_iter().map(f64::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_over_updates_add_parts_by_their_share_and_keep_the_largest_ratio() {
        let mut means = Means::default();
        for (share, kl, largest) in [(0.25, 4.0, 1.5), (0.75, 0.0, 3.0), (1.0, 3.0, 2.0)] {
            means.add(share, &[("policy/approx_kl", kl), (RATIO_MAX, largest)]);
        }
        let expected = vec![("policy/approx_kl", 2.0), (RATIO_MAX, 3.0)];
        assert_eq!(means.over(2), expected);
    }

    #[test]
    fn more_minibatches_than_answers_are_refused() {
        let passes = Passes {
            epochs: 1,
            minibatches: 5,
            micro_batch: 1,
            averaging: Averaging::Tokens,
        };
        assert!(passes.check(5).is_ok());
        let message = passes.check(4).expect_err("four answers").to_string();
        assert!(message.contains("only 4 answers"), "{message}");
    }
}
