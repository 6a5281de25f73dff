//! The losses that reinforcement learning of text minimises, on tensors, and the figures that tell how far an update went.
//!
//! PPO and GRPO share the clipped loss; what differs is who made the advantages and how tokens are
//! weighed. A weight per token says both how answers are averaged and that padding is not there:
//! tensors hold answer tokens only, `(N)`, one answer after the other.
//!
//! Not here: where advantages come from ([`advantage`](crate::advantage)).
//!
//! # Reference
//! Schulman et al. (2017), "Proximal policy optimization algorithms", <https://arxiv.org/abs/1707.06347>;
//! Shao et al. (2024), "DeepSeekMath", <https://arxiv.org/abs/2402.03300>

use gigaro_tensor::{Tensor, functional as F};
use serde::{Deserialize, Serialize};

use crate::advantage::{KlEstimator, mean};

/// How far the ratio of new to old probability counts: from `1 - low` to `1 + high`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clip {
    /// Below 1.
    pub low: f64,
    /// Above 1; a little more than `low` keeps rare tokens alive (DAPO, Yu et al. 2025,
    /// <https://arxiv.org/abs/2503.14476>).
    pub high: f64,
}

impl Clip {
    /// The same on both sides.
    #[must_use]
    pub const fn symmetric(range: f64) -> Self {
        Self {
            low: range,
            high: range,
        }
    }

    fn of(self, ratio: f64) -> f64 {
        ratio.clamp(1.0 - self.low, 1.0 + self.high)
    }
}

/// How the tokens of a batch are averaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Averaging {
    /// Every token alike: PPO, and DAPO's form of GRPO.
    Tokens,
    /// Every answer alike, whatever its length: GRPO as published. Long wrong answers are punished
    /// less per token.
    Answers,
    /// Every token by the same constant, the most tokens an answer may have: "Dr. GRPO".
    MaxTokens(usize),
    /// The sum over an answer's tokens, mean over answers: REINFORCE.
    Sum,
}

impl Averaging {
    /// A weight for each token of answers of these lengths, flat.
    #[must_use]
    pub fn weights(self, lens: &[usize]) -> Vec<f64> {
        let answers = lens.len() as f64;
        let tokens = lens.iter().sum::<usize>() as f64;
        let of = |n: usize| match self {
            Self::Tokens => 1.0 / tokens,
            Self::Answers => 1.0 / (answers * n as f64),
            Self::MaxTokens(most) => 1.0 / (answers * most as f64),
            Self::Sum => 1.0 / answers,
        };
        lens.iter()
            .flat_map(|&n| std::iter::repeat_n(of(n), n))
            .collect()
    }
}

/// The clipped policy loss: `sum(weight * max(-A r, -A clip(r)))` with `r = exp(logprobs - old)`.
///
/// # Shapes
/// `(N)` each -> scalar
/// # Panics
/// If shapes differ.
/// # Reference
/// Schulman et al. (2017), equation 7.
#[must_use]
#[track_caller]
pub fn policy_loss(
    logprobs: &Tensor,
    old: &Tensor,
    advantages: &Tensor,
    weights: &Tensor,
    clip: Clip,
) -> Tensor {
    let ratio = (logprobs - old).exp();
    let clipped = ratio.clamp(1.0 - clip.low, 1.0 + clip.high);
    let (plain, clipped) = (advantages * &ratio, advantages * &clipped);
    -(plain.minimum(&clipped) * weights).sum_all()
}

/// `0.5 * sum(weight * max((v - R)^2, (clip(v) - R)^2))`, where `clip` keeps `v` within `range` of the
/// value at the time of the rollout.
///
/// # Shapes
/// `(N)` each -> scalar
/// # Panics
/// If shapes differ.
/// # Reference
/// Ziegler et al. (2019), in their code; Huang et al. (2024).
#[must_use]
#[track_caller]
pub fn value_loss(
    values: &Tensor,
    old_values: &Tensor,
    returns: &Tensor,
    weights: &Tensor,
    range: f64,
) -> Tensor {
    // v_old + clamp(v - v_old): the same as clamping between two tensors.
    let clipped = old_values + (values - old_values).clamp(-range, range);
    let (plain, clipped) = ((values - returns).square(), (clipped - returns).square());
    (plain.maximum(&clipped) * weights).sum_all() * 0.5
}

/// `sum(weight * (q / p - 1 - log(q / p)))`: the divergence from the reference `q` as a loss, whose
/// gradient is that of the estimator K3.
///
/// # Shapes
/// `(N)` each -> scalar
/// # Panics
/// If shapes differ.
#[must_use]
#[track_caller]
pub fn kl_loss(logprobs: &Tensor, ref_logprobs: &Tensor, weights: &Tensor) -> Tensor {
    let log_ratio = ref_logprobs - logprobs;
    ((log_ratio.exp() - &log_ratio - 1.0) * weights).sum_all()
}

/// `-sum(weight * advantage * logprob)`: REINFORCE.
///
/// # Shapes
/// `(N)` each -> scalar
/// # Panics
/// If shapes differ.
/// # Reference
/// Williams (1992), "Simple statistical gradient-following algorithms for connectionist
/// reinforcement learning".
#[must_use]
#[track_caller]
pub fn reinforce_loss(logprobs: &Tensor, advantages: &Tensor, weights: &Tensor) -> Tensor {
    -(logprobs * advantages * weights).sum_all()
}

/// The entropy of each row's distribution at a temperature, in nats.
///
/// # Shapes
/// `(N, V)` -> `(N)`
#[must_use]
#[track_caller]
pub fn entropy(logits: &Tensor, temperature: f64) -> Tensor {
    let log_p = F::log_softmax(&(logits * (1.0 / temperature)), -1);
    -(log_p.exp() * log_p).sum(-1_isize)
}

/// How far the policy has moved from the one that drew the tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PolicyFigures {
    /// The divergence of the new policy from the old, mean over tokens, by K3: never negative.
    pub approx_kl: f64,
    /// The same by K1: `mean(old - new)`.
    pub policy_kl: f64,
    /// The share of tokens whose loss was clipped, and whose gradient is zero thereby.
    pub clip_fraction: f64,
    /// Mean of new over old probability.
    pub ratio_mean: f64,
    /// The largest of them.
    pub ratio_max: f64,
}

/// Measures from log-probabilities and advantages, flat.
///
/// # Panics
/// If the lists differ in length.
#[must_use]
#[track_caller]
pub fn policy_figures(
    logprobs: &[f64],
    old: &[f64],
    advantages: &[f64],
    clip: Clip,
) -> PolicyFigures {
    assert!(
        logprobs.len() == old.len() && old.len() == advantages.len(),
        "{} log-probabilities, {} old ones, {} advantages",
        logprobs.len(),
        old.len(),
        advantages.len()
    );
    let pairs = || logprobs.iter().zip(old);
    // The old policy drew the tokens, so it is the `p` of the estimator.
    let kl = |k: KlEstimator| -> f64 {
        mean(
            &pairs()
                .map(|(new, old)| k.estimate(*old, *new))
                .collect::<Vec<_>>(),
        )
    };
    let ratios: Vec<f64> = pairs().map(|(new, old)| (new - old).exp()).collect();
    let clipped = ratios
        .iter()
        .zip(advantages)
        .filter(|&(&r, &a)| a * clip.of(r) < a * r)
        .count();
    PolicyFigures {
        approx_kl: kl(KlEstimator::K3),
        policy_kl: kl(KlEstimator::K1),
        clip_fraction: clipped as f64 / ratios.len() as f64,
        ratio_mean: mean(&ratios),
        ratio_max: ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    }
}

/// How well the values foretell the returns.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ValueFigures {
    /// Mean squared error, without clipping.
    pub error: f64,
    /// The share of tokens whose loss was clipped.
    pub clip_fraction: f64,
}

/// Measures from values and returns, flat.
#[must_use]
pub fn value_figures(
    values: &[f64],
    old_values: &[f64],
    returns: &[f64],
    range: f64,
) -> ValueFigures {
    let (mut error, mut clipped) = (0.0, 0.0);
    for ((v, old), r) in values.iter().zip(old_values).zip(returns) {
        let kept = old + (v - old).clamp(-range, range);
        error += (v - r).powi(2);
        clipped += f64::from(u8::from((kept - r).powi(2) > (v - r).powi(2)));
    }
    ValueFigures {
        error: error / values.len() as f64,
        clip_fraction: clipped / values.len() as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(x: &[f64]) -> Tensor {
        Tensor::from_slice(x, [x.len()])
    }

    #[test]
    fn beyond_the_clip_a_token_has_no_gradient_unless_it_would_undo_the_move() {
        let logprobs = tensor(&[0.5, 0.5, -0.5, -0.5, 0.1]).requires_grad_(true);
        let advantages = [1.0, -1.0, 1.0, -1.0, 1.0];
        let (old, weights) = (tensor(&[0.0; 5]), tensor(&[0.2; 5]));
        let clip = Clip::symmetric(0.2);
        policy_loss(&logprobs, &old, &tensor(&advantages), &weights, clip).backward();
        let grad = logprobs
            .grad()
            .expect("five log-probabilities")
            .to_vec::<f64>();
        let moved: Vec<bool> = grad.iter().map(|g| *g != 0.0).collect();
        assert_eq!(moved, [false, true, true, false, true], "{grad:?}");
        let figures = policy_figures(&logprobs.to_vec::<f64>(), &[0.0; 5], &advantages, clip);
        assert_eq!(figures.clip_fraction, 0.4);
        assert_eq!(figures.ratio_max, 0.5_f64.exp());
    }

    #[test]
    fn a_policy_that_has_not_moved_has_ratio_one_and_no_divergence() {
        let old = [-0.3, -4.0, -0.001];
        let figures = policy_figures(&old, &old, &[1.0, -2.0, 0.0], Clip::symmetric(0.2));
        let still = PolicyFigures {
            ratio_mean: 1.0,
            ratio_max: 1.0,
            ..PolicyFigures::default()
        };
        assert_eq!(figures, still);
    }

    #[test]
    fn a_value_that_left_its_range_is_judged_by_the_worse_of_both() {
        let values = tensor(&[1.0, 1.0]).requires_grad_(true);
        let (old, returns) = (tensor(&[0.0, 0.0]), tensor(&[2.0, -2.0]));
        let loss = value_loss(&values, &old, &returns, &tensor(&[0.5, 0.5]), 0.2);
        // (0.2 - 2)^2 is worse than (1 - 2)^2; (1 + 2)^2 is worse than (0.2 + 2)^2.
        assert!((loss.item() - 0.25 * (1.8_f64.powi(2) + 9.0)).abs() < 1e-12);
        loss.backward();
        let grad = values.grad().expect("two values").to_vec::<f64>();
        assert!(grad[0] == 0.0 && (grad[1] - 1.5).abs() < 1e-12, "{grad:?}");
        let figures = value_figures(&[1.0, 1.0], &[0.0, 0.0], &[2.0, -2.0], 0.2);
        assert_eq!((figures.clip_fraction, figures.error), (0.5, 5.0));
    }

    #[test]
    fn weights_average_over_tokens_answers_or_a_constant() {
        let lens = [1, 3];
        assert_eq!(Averaging::Tokens.weights(&lens), [0.25; 4]);
        let sixth = 1.0 / 6.0;
        assert_eq!(
            Averaging::Answers.weights(&lens),
            [0.5, sixth, sixth, sixth]
        );
        assert_eq!(Averaging::MaxTokens(5).weights(&lens), [0.1; 4]);
        assert_eq!(Averaging::Sum.weights(&lens), [0.5; 4]);
    }

    #[test]
    fn entropy_is_the_logarithm_of_equal_choices_and_grows_with_temperature() {
        let even = Tensor::from_slice(&[2.0_f64; 8], [1, 8]);
        assert!((entropy(&even, 0.5).item() - 8.0_f64.ln()).abs() < 1e-12);
        let peaked = Tensor::from_slice(&[3.0_f64, 0.0, 1.0], [1, 3]);
        assert!(entropy(&peaked, 2.0).item() > entropy(&peaked, 1.0).item());
    }
}
