//! Held-out prompts with a judge of their own, and an eye on whether the score that is trained on is still worth anything.
//!
//! A policy that is trained against an imperfect score long enough finds what is wrong with the score: it
//! rises while what it stood for falls (Gao et al. 2022). If the true score can be had on some prompts, a
//! [`Validation`] measures it now and then, keeps the checkpoint with the best one, and stops the run
//! once both trends are beyond doubt.
//!
//! # Reference
//! Gao et al. (2022), "Scaling laws for reward model overoptimization", <https://arxiv.org/abs/2210.10760>

use std::path::{Path, PathBuf};

use gigaro_models::generate::Completion;
use gigaro_nn::Module;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::advantage::mean;
use crate::error::{Error, Result};
use crate::objective::Figures;
use crate::scorer::{Scorer, checked_scores};
use crate::trainer::Identity;
use crate::weights;

/// How many standard errors a trend must differ from zero to be believed.
const CERTAIN: f64 = 2.0;

/// Two scores over time: the one that is trained on and the one that is meant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trends {
    /// Per measurement: the mean training score since the one before, and the validation score.
    pub points: Vec<(f64, f64)>,
}

impl Trends {
    /// Whether over the last `window` measurements the training score rose and the validation score fell,
    /// each by a trend of at least twice its standard error.
    #[must_use]
    pub fn diverge(&self, window: usize) -> bool {
        let Some(from) = self.points.len().checked_sub(window.max(3)) else {
            return false;
        };
        let (training, validation): (Vec<f64>, Vec<f64>) =
            self.points[from..].iter().copied().unzip();
        trend(&training) > CERTAIN && trend(&validation) < -CERTAIN
    }
}

/// Slope of the least-squares line over its standard error: infinite for a perfect line, 0 for a level one.
fn trend(y: &[f64]) -> f64 {
    let (n, middle, level) = (y.len() as f64, (y.len() - 1) as f64 / 2.0, mean(y));
    let x = |i: usize| i as f64 - middle;
    let spread: f64 = (0..y.len()).map(|i| x(i) * x(i)).sum();
    let slope = y
        .iter()
        .enumerate()
        .map(|(i, y)| x(i) * (y - level))
        .sum::<f64>()
        / spread;
    let errors = y
        .iter()
        .enumerate()
        .map(|(i, y)| (y - level - slope * x(i)).powi(2));
    let standard_error = (errors.sum::<f64>() / (n - 2.0) / spread).sqrt();
    if slope == 0.0 {
        0.0
    } else {
        slope / standard_error
    }
}

/// Measures a policy on held-out prompts.
pub struct Validation<'a> {
    prompts: Vec<Vec<u32>>,
    scorer: &'a mut dyn Scorer,
    window: usize,
    keep: Option<(PathBuf, Identity)>,
    memory: Memory,
}

#[derive(Default, Serialize, Deserialize)]
struct Memory {
    trends: Trends,
    /// Training scores since the last measurement.
    recent: Vec<f64>,
    best: Option<(u64, f64)>,
}

impl<'a> Validation<'a> {
    /// Answers to `prompts`, judged by `scorer`. `window` measurements in which the training score rises and this
    /// one falls end the run; 0 never does.
    #[must_use]
    pub fn new(prompts: Vec<Vec<u32>>, scorer: &'a mut dyn Scorer, window: usize) -> Self {
        Self {
            prompts,
            scorer,
            window,
            keep: None,
            memory: Memory::default(),
        }
    }

    /// Keeps the weights with the best score in the folder `dir`, as a checkpoint that can be used but not resumed.
    #[must_use]
    pub fn keep_best(mut self, dir: &Path, identity: Identity) -> Self {
        self.keep = Some((dir.to_path_buf(), identity));
        self
    }

    /// Takes in the mean training score of a step.
    pub(crate) fn note(&mut self, score: f64) {
        self.memory.recent.push(score);
    }

    /// Scores what `answer` gives to the held-out prompts after `step` steps. `module` is what a checkpoint holds.
    ///
    /// # Errors
    /// If answering or scoring fails, the disk refuses, or the two scores diverge.
    pub(crate) fn measure(
        &mut self,
        step: u64,
        answer: impl FnOnce(&[Vec<u32>]) -> Result<Vec<Completion>>,
        module: &dyn Module,
    ) -> Result<Option<Figures>> {
        if self.prompts.is_empty() {
            return Ok(None);
        }
        let completions = answer(&self.prompts)?;
        let scores = checked_scores(self.scorer, &self.prompts, &completions)?;
        let score = mean(&scores);
        if self.memory.best.is_none_or(|(_, best)| score > best) {
            self.save(module, step)?;
            self.memory.best = Some((step, score));
        }
        let memory = &mut self.memory;
        if !memory.recent.is_empty() {
            memory.trends.points.push((mean(&memory.recent), score));
            memory.recent.clear();
        }
        let (best_step, best) = self.memory.best.unwrap_or((step, score));
        if self.window > 0 && self.memory.trends.diverge(self.window) {
            return Err(Error::Overoptimised {
                step,
                score,
                best,
                best_step,
                kept: self.keep.as_ref().map(|(dir, _)| dir.clone()),
            });
        }
        Ok(Some(vec![
            ("objective/scores", score),
            ("objective/scores_best", best),
        ]))
    }

    fn save(&self, module: &dyn Module, step: u64) -> Result<()> {
        let Some((dir, identity)) = &self.keep else {
            return Ok(());
        };
        weights::save(dir, module, identity, step)?;
        Ok(())
    }

    pub(crate) fn state(&self) -> Value {
        json!(self.memory)
    }

    pub(crate) fn restore(&mut self, state: &Value) -> Result<()> {
        if !state.is_null() {
            self.memory = serde_json::from_value(state.clone()).map_err(Error::position)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trends(points: impl Iterator<Item = (f64, f64)>) -> Trends {
        Trends {
            points: points.collect(),
        }
    }

    #[test]
    fn a_rising_training_score_with_a_falling_true_one_is_noticed() {
        let noise = [0.03, -0.02, 0.01, -0.03, 0.02, 0.0, -0.01, 0.02];
        let hacked = trends((0..8).map(|i| {
            let x = f64::from(i) * 0.1;
            (x + noise[i as usize], 1.0 - 0.5 * x - noise[i as usize])
        }));
        assert!(hacked.diverge(8) && hacked.diverge(6));
        assert!(!hacked.diverge(9), "there are only eight measurements");
    }

    #[test]
    fn honest_progress_a_plateau_and_noise_are_left_alone() {
        let honest = trends((0..8).map(|i| (f64::from(i), 0.2 * f64::from(i))));
        let level = trends((0..8).map(|_| (1.0, 1.0)));
        let noise = [0.3, -0.4, 0.5, -0.1, -0.5, 0.4, 0.0, -0.2];
        let noisy = trends((0..8).map(|i| (f64::from(i), noise[i as usize])));
        let both_fall = trends((0..8).map(|i| (-f64::from(i), -f64::from(i))));
        for quiet in [honest, level, noisy, both_fall] {
            assert!(!quiet.diverge(8), "{quiet:?}");
        }
    }

    #[test]
    fn only_the_window_counts() {
        let late = trends((0..20).map(|i| {
            let i = f64::from(i);
            (i, if i < 12.0 { i } else { 24.0 - i })
        }));
        assert!(late.diverge(6) && !late.diverge(20));
    }
}
