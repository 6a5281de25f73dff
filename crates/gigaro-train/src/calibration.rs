//! How good a reward model is on rankings it has not seen: how often it is right, and whether it is as often right as it claims.
//!
//! A difference of rewards claims that the better answer wins with probability `sigmoid(r_chosen - r_rejected)`. A model that
//! is calibrated is right in 8 of 10 pairs where it claims 0.8.

use gigaro_models::RewardModel;

use crate::answers::Answer;
use crate::preference::Ranking;
use crate::reward::frozen_rewards;

/// Pairs in which the model is about as sure of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReliabilityBin {
    /// The least confidence in this bin.
    pub lower: f64,
    /// The largest.
    pub upper: f64,
    /// Pairs in it.
    pub pairs: usize,
    /// Their mean confidence; NaN without pairs.
    pub confidence: f64,
    /// The share of them that the model has right; NaN without pairs.
    pub accuracy: f64,
}

/// What a reward model achieves on held-out rankings.
#[derive(Clone, Debug, PartialEq)]
pub struct RewardReport {
    /// Prompts.
    pub prompts: usize,
    /// Pairs of answers that differ in rank.
    pub pairs: usize,
    /// The share of pairs in which the better answer has the larger reward; NaN without pairs.
    pub accuracy: f64,
    /// An interval that holds the true accuracy with 95 % probability (Wilson 1927). The pairs of one prompt do not count as
    /// independent, so that the sample is taken to be as large as there are prompts.
    pub interval: (f64, f64),
    /// Mean difference of rewards.
    pub margin: f64,
    /// Expected calibration error: the mean distance of confidence from accuracy over bins, weighted by pairs. 0 is calibrated.
    pub calibration_error: f64,
    /// Ten bins of equal width, from a confidence of 0.5 (undecided) to 1.
    pub bins: Vec<ReliabilityBin>,
}

/// Bins of the reliability table.
const BINS: usize = 10;

/// Measures a model on rankings, `rows` answers at a time.
///
/// # Panics
/// If a ranking is not usable; see [`crate::preference::usable`].
#[must_use]
pub fn evaluate(model: &RewardModel, rankings: &[Ranking], rows: usize) -> RewardReport {
    let answers: Vec<Answer<'_>> = rankings
        .iter()
        .flat_map(|r| {
            r.answers.iter().map(|a| Answer {
                prompt: &r.prompt,
                tokens: &a.tokens,
            })
        })
        .collect();
    let mut rewards = &frozen_rewards(model, &answers, rows)[..];
    let mut differences = Vec::new();
    for ranking in rankings {
        let (own, rest) = rewards.split_at(ranking.answers.len());
        let scored = || ranking.answers.iter().zip(own);
        for (a, r) in scored() {
            let worse = scored().filter(|(b, _)| a.rank < b.rank);
            differences.extend(worse.map(|(_, s)| f64::from(r - s)));
        }
        rewards = rest;
    }
    report(&differences, rankings.len())
}

/// The report of pairs whose better answer is ahead by `differences`, from so many prompts.
///
/// # Reference
/// Calibration error: Guo et al. (2017), <https://arxiv.org/abs/1706.04599>
#[must_use]
pub fn report(differences: &[f64], prompts: usize) -> RewardReport {
    let n = differences.len();
    let share = |count: usize| count as f64 / n as f64;
    let right = differences.iter().filter(|d| **d > 0.0).count();
    let width = 0.5 / BINS as f64;
    let mut sums = [(0_usize, 0.0, 0_usize); BINS]; // pairs, confidence, right
    for d in differences {
        let confidence = 1.0 / (1.0 + (-d.abs()).exp());
        let bin = &mut sums[(((confidence - 0.5) / width) as usize).min(BINS - 1)];
        *bin = (bin.0 + 1, bin.1 + confidence, bin.2 + usize::from(*d > 0.0));
    }
    let bins = sums
        .iter()
        .enumerate()
        .map(|(i, &(pairs, confidence, right))| ReliabilityBin {
            lower: 0.5 + width * i as f64,
            upper: 0.5 + width * (i + 1) as f64,
            pairs,
            confidence: confidence / pairs as f64,
            accuracy: right as f64 / pairs as f64,
        });
    RewardReport {
        prompts,
        pairs: n,
        accuracy: share(right),
        interval: wilson(share(right), prompts as f64),
        margin: differences.iter().sum::<f64>() / n as f64,
        calibration_error: sums.iter().map(|s| (s.1 - s.2 as f64).abs()).sum::<f64>() / n as f64,
        bins: bins.collect(),
    }
}

/// Wilson's interval for a share `p` of `n` independent trials, at 95 %.
#[must_use]
pub fn wilson(p: f64, n: f64) -> (f64, f64) {
    /// The 97.5 % point of the normal distribution.
    const Z: f64 = 1.959_963_984_540_054;
    let (z2, scale) = (Z * Z, 1.0 / (1.0 + Z * Z / n));
    let centre = (p + z2 / (2.0 * n)) * scale;
    let half = Z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt() * scale;
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gigaro_tensor::Generator;

    #[test]
    fn a_model_that_is_right_as_often_as_it_claims_has_no_calibration_error() {
        let g = Generator::new(3);
        let draw = |sharper: f64| -> Vec<f64> {
            (0..20_000)
                .map(|_| {
                    let d = g.normal_pair().0 * 2.0;
                    let wins = g.uniform() < 1.0 / (1.0 + (-d).exp());
                    sharper * if wins { d } else { -d }
                })
                .collect()
        };
        let honest = report(&draw(1.0), 20_000);
        assert!(honest.calibration_error < 0.02, "{honest:?}");
        let boastful = report(&draw(3.0), 20_000);
        assert!(boastful.calibration_error > 0.1, "{boastful:?}");
        let (low, high) = honest.interval;
        assert!(low < honest.accuracy && honest.accuracy < high && high - low < 0.02);
        let counted: usize = honest.bins.iter().map(|b| b.pairs).sum();
        assert_eq!(counted, honest.pairs);
        assert!(
            honest
                .bins
                .windows(2)
                .all(|w| w[0].accuracy < w[1].accuracy)
        );
    }

    #[test]
    fn wilsons_interval_is_that_of_the_textbook() {
        let (low, high) = wilson(0.9, 10.0);
        assert!(
            (low - 0.5958).abs() < 1e-4 && (high - 0.9821).abs() < 1e-4,
            "{low} {high}"
        );
        let (low, high) = wilson(1.0, 50.0);
        assert!(low > 0.92 && low < 0.94 && high == 1.0);
    }

    #[test]
    fn extremes_fall_into_the_outer_bins() {
        let all = report(&[0.0, 1e9, -1e9], 3);
        assert_eq!((all.bins[0].pairs, all.bins[9].pairs), (1, 2));
        assert!((all.accuracy - 1.0 / 3.0).abs() < 1e-12);
        assert!(report(&[], 0).accuracy.is_nan());
    }
}
