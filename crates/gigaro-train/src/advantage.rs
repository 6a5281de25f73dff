//! From scores to advantages: the arithmetic of reinforcement learning between a rollout and its loss.
//!
//! Everything here is plain numbers, without tensors or models, so that each detail can be tested
//! alone. Numbers per token lie *flat*: the answer tokens of one answer after those of the other,
//! prompts and padding left out, with a list of lengths beside them. So padding cannot enter a mean.
//!
//! Not here: losses ([`policy_loss`](crate::policy_loss)) and where answers come from
//! ([`rollout`](crate::rollout)).
//!
//! # Reference
//! Ziegler et al. (2019), <https://arxiv.org/abs/1909.08593>; Schulman et al. (2015), "High-dimensional
//! continuous control using generalized advantage estimation", <https://arxiv.org/abs/1506.02438>;
//! Huang et al. (2024), "The N+ implementation details of RLHF with PPO",
//! <https://arxiv.org/abs/2403.17031>

use serde::{Deserialize, Serialize};

/// Keeps a quotient finite where all rewards are equal; PyTorch's and Ziegler et al.'s number.
const WHITEN_EPS: f64 = 1e-8;
/// The same for the deviation within a group; TRL's number.
const GROUP_EPS: f64 = 1e-4;

/// How the divergence between two policies is estimated from the tokens that one of them drew.
///
/// # Reference
/// Schulman (2020), "Approximating KL divergence", <http://joschu.net/blog/kl-approx.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KlEstimator {
    /// `log p - log q`: unbiased, often negative for one token. What InstructGPT's reward subtracts.
    K1,
    /// `q / p - 1 - log(q / p)`: unbiased too, never negative, less variance. What GRPO's loss adds.
    K3,
}

impl KlEstimator {
    /// The estimate from one token that `p` drew, given its log-probabilities under `p` and `q`.
    #[must_use]
    pub fn estimate(self, log_p: f64, log_q: f64) -> f64 {
        match self {
            Self::K1 => log_p - log_q,
            Self::K3 => (log_q - log_p).exp_m1() - (log_q - log_p),
        }
    }
}

/// The strength of the penalty for leaving the reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum KlController {
    /// Always the same, as in InstructGPT.
    Fixed {
        /// Multiplies the divergence.
        coef: f64,
    },
    /// Grows while the divergence is above its target and shrinks below it.
    Adaptive {
        /// Multiplies the divergence; its value now.
        coef: f64,
        /// The divergence wanted, in nats per answer.
        target: f64,
        /// After how many answers an error of 20 % has changed the strength by about 20 %.
        horizon: f64,
    },
}

impl KlController {
    /// What multiplies the divergence now.
    #[must_use]
    pub const fn coef(&self) -> f64 {
        match *self {
            Self::Fixed { coef } | Self::Adaptive { coef, .. } => coef,
        }
    }

    /// Takes in the mean divergence of `answers` answers, in nats per answer.
    ///
    /// # Reference
    /// Ziegler et al. (2019), section 2.2.
    pub fn update(&mut self, kl_per_answer: f64, answers: usize) {
        if let Self::Adaptive {
            coef,
            target,
            horizon,
        } = self
        {
            let error = (kl_per_answer / *target - 1.0).clamp(-0.2, 0.2);
            *coef *= 1.0 + error * answers as f64 / *horizon;
        }
    }
}

/// Cuts flat numbers into those of each answer.
///
/// # Panics
/// If there are not as many numbers as the lengths say.
#[track_caller]
pub fn per_answer<'a>(flat: &'a [f64], lens: &'a [usize]) -> impl Iterator<Item = &'a [f64]> {
    let all: usize = lens.iter().sum();
    assert!(
        flat.len() == all,
        "{} numbers for answers of {all} tokens",
        flat.len()
    );
    lens.iter().scan(0, move |at, &n| {
        *at += n;
        Some(&flat[*at - n..*at])
    })
}

/// The same number for every token of an answer: `(answers)` -> flat.
#[must_use]
pub fn to_tokens(per_answer: &[f64], lens: &[usize]) -> Vec<f64> {
    let each = per_answer.iter().zip(lens);
    each.flat_map(|(&x, &n)| std::iter::repeat_n(x, n))
        .collect()
}

/// The rewards of one answer's tokens: at each `-coef * kl`, and the score on top at the last one.
#[must_use]
pub fn token_rewards(kl: &[f64], score: f64, coef: f64) -> Vec<f64> {
    let mut rewards: Vec<f64> = kl.iter().map(|kl| -coef * kl).collect();
    if let Some(last) = rewards.last_mut() {
        *last += score;
    }
    rewards
}

/// The scores that count: answers that were cut off before they ended get `penalty` in place of
/// what they scored, so that ending in time is learned before anything else.
///
/// # Panics
/// If the lists differ in length.
/// # Reference
/// Stiennon et al. (2020), <https://arxiv.org/abs/2009.01325>; Huang et al. (2024), detail 4.
#[must_use]
#[track_caller]
pub fn penalise_truncated(scores: &[f64], ended: &[bool], penalty: Option<f64>) -> Vec<f64> {
    assert!(
        scores.len() == ended.len(),
        "{} scores for {} answers",
        scores.len(),
        ended.len()
    );
    let each = scores.iter().zip(ended);
    each.map(|(&score, &ended)| match penalty {
        Some(penalty) if !ended => penalty,
        _ => score,
    })
    .collect()
}

/// Generalised advantage estimation over the tokens of one answer; what follows the last token is
/// worth nothing. Add the values to have the returns.
///
/// # Panics
/// If the lists differ in length.
/// # Reference
/// Schulman et al. (2015), equation 16.
#[must_use]
#[track_caller]
pub fn gae(rewards: &[f64], values: &[f64], gamma: f64, lambda: f64) -> Vec<f64> {
    assert!(
        rewards.len() == values.len(),
        "{} rewards for {} values",
        rewards.len(),
        values.len()
    );
    let mut advantages = vec![0.0; rewards.len()];
    let (mut next_value, mut next_advantage) = (0.0, 0.0);
    for t in (0..rewards.len()).rev() {
        let delta = rewards[t] + gamma * next_value - values[t];
        next_advantage = delta + gamma * lambda * next_advantage;
        next_value = values[t];
        advantages[t] = next_advantage;
    }
    advantages
}

/// Brings numbers to variance 1, and to mean 0 if `shift_mean`; otherwise their mean stays.
///
/// The variance is that of the numbers themselves (divided by `n`), as in Ziegler et al.; TRL
/// divides by `n - 1`.
pub fn whiten(values: &mut [f64], shift_mean: bool) {
    let (mean, variance) = (mean(values), variance(values, 0));
    let scale = 1.0 / (variance + WHITEN_EPS).sqrt();
    let centre = if shift_mean { 0.0 } else { mean };
    values
        .iter_mut()
        .for_each(|x| *x = (*x - mean) * scale + centre);
}

/// Each score less the mean of the others in its group of `size` neighbours.
///
/// # Panics
/// If the scores are no whole groups of at least two.
/// # Reference
/// Kool et al. (2019), "Buy 4 REINFORCE samples, get a baseline for free!"; Ahmadian et al. (2024),
/// <https://arxiv.org/abs/2402.14740>
#[must_use]
#[track_caller]
pub fn leave_one_out(scores: &[f64], size: usize) -> Vec<f64> {
    check_groups(scores, size);
    let advantages = |group: &[f64]| {
        let others = (size - 1) as f64;
        // A multiple of the distance from the mean; the sum of the differences, so that equal scores give exactly zero.
        let distance = |x: &f64| group.iter().map(|y| x - y).sum::<f64>() / others;
        group.iter().map(distance).collect::<Vec<_>>()
    };
    scores.chunks(size).flat_map(advantages).collect()
}

/// What the distance from the group's mean is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupScale {
    /// The deviation within the group, as GRPO has it.
    Group,
    /// The deviation over the whole batch, which does not blow up groups that are nearly all right
    /// or nearly all wrong.
    Batch,
    /// Nothing: "Dr. GRPO" (Liu et al. 2025, <https://arxiv.org/abs/2503.20783>).
    None,
}

/// Each score's distance from the mean of its group of `size` neighbours, scaled.
///
/// Deviations divide by `n - 1`, and by a little more than the deviation, so that a group of equal
/// scores has advantages of zero.
///
/// # Panics
/// If the scores are no whole groups of at least two.
/// # Reference
/// Shao et al. (2024), "DeepSeekMath", <https://arxiv.org/abs/2402.03300>
#[must_use]
#[track_caller]
pub fn group_normalised(scores: &[f64], size: usize, scale: GroupScale) -> Vec<f64> {
    check_groups(scores, size);
    let over_all = variance(scores, 1).sqrt() + GROUP_EPS;
    let advantages = |group: &[f64]| {
        let divisor = match scale {
            GroupScale::Group => variance(group, 1).sqrt() + GROUP_EPS,
            GroupScale::Batch => over_all,
            GroupScale::None => 1.0,
        };
        // Of equal scores the mean may differ from each by a rounding error, which teaches nothing either.
        let mean = if group.iter().all(|x| *x == group[0]) {
            group[0]
        } else {
            mean(group)
        };
        let each = group.iter().map(|x| (x - mean) / divisor);
        each.collect::<Vec<_>>()
    };
    scores.chunks(size).flat_map(advantages).collect()
}

/// The share of groups whose scores are all equal, so that nothing can be learned from them.
#[must_use]
pub fn groups_without_signal(scores: &[f64], size: usize) -> f64 {
    let groups = scores.chunks(size.max(1));
    let (all, equal) = groups.fold((0.0, 0.0), |(all, equal), group| {
        let same = group.iter().all(|&x| x == group[0]);
        (all + 1.0, equal + f64::from(u8::from(same)))
    });
    equal / all
}

/// The share of the returns' variance that the values foresaw: 1 is all, 0 no better than their
/// mean; 0 where the returns do not vary.
#[must_use]
pub fn explained_variance(values: &[f64], returns: &[f64]) -> f64 {
    let errors: Vec<f64> = returns.iter().zip(values).map(|(r, v)| r - v).collect();
    // Of equal numbers the variance may be a rounding error.
    if returns.iter().all(|r| *r == returns[0]) {
        return 0.0;
    }
    1.0 - variance(&errors, 0) / variance(returns, 0)
}

/// The mean, added up in order; NaN of nothing.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The mean squared distance from the mean, divided by `n - correction`; 0 for fewer numbers.
#[must_use]
pub fn variance(values: &[f64], correction: usize) -> f64 {
    if values.len() <= correction {
        return 0.0;
    }
    let mean = mean(values);
    let squares = values.iter().map(|x| (x - mean) * (x - mean));
    squares.sum::<f64>() / (values.len() - correction) as f64
}

#[track_caller]
fn check_groups(scores: &[f64], size: usize) {
    assert!(
        size > 1 && scores.len().is_multiple_of(size),
        "{} scores are no whole groups of {size}, or a group of one has no others",
        scores.len()
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-9)
    }

    #[test]
    fn the_score_lands_on_the_last_token_and_the_penalty_on_each() {
        let rewards = token_rewards(&[0.5, -1.0, 2.0], 3.0, 0.1);
        assert!(close(&rewards, &[-0.05, 0.1, 2.8]), "{rewards:?}");
    }

    #[test]
    fn only_truncated_answers_are_penalised() {
        let (scores, ended) = ([2.0, 5.0, -3.0], [true, false, false]);
        assert_eq!(
            penalise_truncated(&scores, &ended, Some(-1.0)),
            [2.0, -1.0, -1.0]
        );
        assert_eq!(penalise_truncated(&scores, &ended, None), scores);
    }

    #[test]
    fn a_hand_computed_advantage_is_met() {
        // deltas: 1 + 0.5*2 - 1 = 1, 0 + 0.5*3 - 2 = -0.5, 2 - 3 = -1; decay 0.5 * 0.8 = 0.4.
        let advantages = gae(&[1.0, 0.0, 2.0], &[1.0, 2.0, 3.0], 0.5, 0.8);
        assert!(
            close(&advantages, &[1.0 + 0.4 * -0.9, -0.9, -1.0]),
            "{advantages:?}"
        );
    }

    proptest! {
        #[test]
        fn the_recursion_equals_the_sum_over_all_later_errors(
            steps in prop::collection::vec((-2.0..2.0_f64, -2.0..2.0_f64), 1..12),
            gamma in 0.0..=1.0_f64,
            lambda in 0.0..=1.0_f64,
        ) {
            let (rewards, values): (Vec<f64>, Vec<f64>) = steps.into_iter().unzip();
            let n = rewards.len();
            let delta = |t: usize| {
                rewards[t] + if t + 1 < n { gamma * values[t + 1] } else { 0.0 } - values[t]
            };
            let definition: Vec<f64> = (0..n)
                .map(|t| (t..n).map(|s| (gamma * lambda).powi((s - t) as i32) * delta(s)).sum())
                .collect();
            prop_assert!(close(&gae(&rewards, &values, gamma, lambda), &definition));
        }

        #[test]
        fn without_discount_the_returns_are_the_rewards_still_to_come(
            steps in prop::collection::vec((-2.0..2.0_f64, -2.0..2.0_f64), 1..12),
        ) {
            let (rewards, values): (Vec<f64>, Vec<f64>) = steps.into_iter().unzip();
            let to_come: Vec<f64> = (0..rewards.len()).map(|t| rewards[t..].iter().sum()).collect();
            let advantages = gae(&rewards, &values, 1.0, 1.0);
            let returns: Vec<f64> = advantages.iter().zip(&values).map(|(a, v)| a + v).collect();
            prop_assert!(close(&returns, &to_come));
        }

        #[test]
        fn k3_is_never_negative_and_both_are_zero_between_equals(p in -9.0..0.0_f64, q in -9.0..0.0_f64) {
            prop_assert!(KlEstimator::K3.estimate(p, q) >= 0.0);
            for k in [KlEstimator::K1, KlEstimator::K3] {
                prop_assert_eq!(k.estimate(p, p), 0.0);
            }
        }
    }

    #[test]
    fn both_estimators_average_to_the_divergence() {
        let (p, q) = ([0.7_f64, 0.2, 0.1], [0.3_f64, 0.3, 0.4]);
        let exact: f64 = p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum();
        for k in [KlEstimator::K1, KlEstimator::K3] {
            let mean: f64 = p
                .iter()
                .zip(&q)
                .map(|(p, q)| p * k.estimate(p.ln(), q.ln()))
                .sum();
            assert!((mean - exact).abs() < 1e-12, "{k:?}: {mean} for {exact}");
        }
    }

    #[test]
    fn whitening_keeps_the_mean_of_rewards_and_shifts_that_of_advantages() {
        let numbers = [1.0, 4.0, -2.0, 7.5, 0.5];
        let (mut rewards, mut advantages) = (numbers, numbers);
        whiten(&mut rewards, false);
        whiten(&mut advantages, true);
        assert!((mean(&rewards) - mean(&numbers)).abs() < 1e-12);
        assert!(mean(&advantages).abs() < 1e-12);
        for whitened in [rewards, advantages] {
            assert!((variance(&whitened, 0) - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn equal_scores_stay_finite_and_teach_nothing() {
        let same = [3.7; 6];
        let mut whitened = same;
        whiten(&mut whitened, true);
        assert!(whitened.iter().all(|x| x.abs() < 1e-9));
        assert_eq!(leave_one_out(&same, 3), [0.0; 6]);
        for scale in [GroupScale::Group, GroupScale::Batch, GroupScale::None] {
            assert_eq!(group_normalised(&same, 3, scale), [0.0; 6], "{scale:?}");
        }
        assert_eq!(groups_without_signal(&same, 3), 1.0);
        assert_eq!(
            groups_without_signal(&[1.0, 1.0, 1.0, 0.0, 1.0, 0.0], 3),
            0.5
        );
        assert_eq!(explained_variance(&same, &same), 0.0);
    }

    #[test]
    fn the_baseline_of_an_answer_is_the_mean_of_the_others() {
        let advantages = leave_one_out(&[1.0, 2.0, 6.0, 0.0, 0.0, 3.0], 3);
        assert!(
            close(&advantages, &[-3.0, -1.5, 4.5, -1.5, -1.5, 3.0]),
            "{advantages:?}"
        );
    }

    #[test]
    fn groups_are_scaled_by_their_own_deviation_the_batch_s_or_nothing() {
        let scores = [0.0, 2.0, 10.0, 30.0];
        let plain = group_normalised(&scores, 2, GroupScale::None);
        assert_eq!(plain, [-1.0, 1.0, -10.0, 10.0]);
        let own = group_normalised(&scores, 2, GroupScale::Group);
        assert!(
            (own[1] - own[3]).abs() < 1e-4,
            "both groups weigh alike: {own:?}"
        );
        let whole = group_normalised(&scores, 2, GroupScale::Batch);
        assert!((whole[3] / whole[1] - 10.0).abs() < 1e-9);
    }

    #[test]
    fn the_adaptive_strength_follows_the_divergence_in_bounded_steps() {
        let mut adaptive = KlController::Adaptive {
            coef: 0.2,
            target: 6.0,
            horizon: 10_000.0,
        };
        adaptive.update(60.0, 100); // ten times too much counts as 20 % too much
        assert!((adaptive.coef() - 0.2 * (1.0 + 0.2 * 0.01)).abs() < 1e-12);
        let high = adaptive.coef();
        adaptive.update(5.7, 100); // 5 % too little
        assert!((adaptive.coef() - high * (1.0 - 0.05 * 0.01)).abs() < 1e-12);
        let mut fixed = KlController::Fixed { coef: 0.05 };
        fixed.update(60.0, 100);
        assert_eq!(fixed.coef(), 0.05);
    }

    #[test]
    fn explained_variance_is_one_for_true_values_and_zero_for_their_mean() {
        let returns = [1.0, 3.0, 8.0];
        assert_eq!(explained_variance(&returns, &returns), 1.0);
        assert!(explained_variance(&[4.0; 3], &returns).abs() < 1e-12);
    }

    #[test]
    fn flat_numbers_are_cut_at_the_answers_borders() {
        let flat = to_tokens(&[1.0, 2.0, 3.0], &[2, 0, 1]);
        assert_eq!(flat, [1.0, 1.0, 3.0]);
        let parts: Vec<&[f64]> = per_answer(&flat, &[2, 0, 1]).collect();
        assert_eq!(parts, [&[1.0, 1.0][..], &[], &[3.0]]);
    }
}
