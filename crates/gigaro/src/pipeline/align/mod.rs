//! From an assistant that imitates to one that is preferred.
//!
//! `gigaro speedrun` walks the whole way here ([`align`]); `gigaro reward`, `gigaro align` and `gigaro compare` take its steps one by
//! one ([`steps`]). In the order of the work: [`answers`] has models answer many prompts at once; [`rankings`] lets the simulated
//! labeller rank them, or [`preferences`] reads what others have preferred; [`reward`] trains a model to rank alike. Then a model
//! learns, one file per kind of learning: [`ppo`] and [`online`] from its own answers, which [`scorers`] score and [`memory`] makes room for;
//! [`offline`] from the preferences themselves; [`best_of_n`] from the best of its answers. [`small`] walks the whole way with a model of a
//! tenth of the size; [`compare`] holds models against each other on prompts that nobody trained on; [`page`] and [`steps_page`] show it.
//!
//! Nothing is computed here: losses, rollouts and statistics are `gigaro-train`'s, prompts and judgements `gigaro-data`'s.

pub(crate) mod answers;
pub(crate) mod best_of_n;
pub(crate) mod compare;
mod memory;
pub(crate) mod offline;
pub(crate) mod online;
pub(crate) mod page;
pub(crate) mod ppo;
pub(crate) mod preferences;
pub(crate) mod rankings;
pub(crate) mod reward;
mod scorers;
pub(crate) mod small;
pub(crate) mod steps;
pub(crate) mod steps_page;

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use self::compare::{Comparison, Contestant, Duel, Exam, Manner};
use self::reward::Rewarded;
use super::exam::ExamResult;
use super::job::{PPO, REWARD};
use super::prepare::Prepared;
use super::{Job, StageResult};
use crate::output::Output;
use crate::trained::Trained;

/// What alignment led to.
pub(crate) struct Alignment {
    pub(crate) rewarded: Rewarded,
    /// What PPO's answers were rewarded for.
    pub(crate) reward: String,
    pub(crate) ppo: StageResult,
    /// Stages of the small model.
    pub(crate) small: Vec<StageResult>,
    /// The models on the same prompts: base, fine-tuned, aligned, and what the recipe compares besides.
    pub(crate) comparison: Comparison,
    /// The exam of the fine-tuned model's questions, sat by the aligned one.
    pub(crate) questions: Option<ExamResult>,
    /// Seconds that comparing took.
    pub(crate) seconds: f64,
}

/// Names of models in reports.
pub(crate) const BASE: &str = "base";
pub(crate) const PROMPTED: &str = "base, shown examples";
pub(crate) const FINE_TUNED: &str = "fine-tuned";
pub(crate) const ALIGNED: &str = "aligned";
pub(crate) const SMALL: &str = "small, aligned";

/// Aligns the fine-tuned model of a run as its recipe says; `None` if the recipe does not ask for it.
///
/// # Errors
/// If a stage fails, or the user stops it.
pub(crate) fn align(
    job: &Job,
    prepared: &Prepared,
    base: &StageResult,
    tuned: &StageResult,
    output: &Output,
) -> Result<Option<Alignment>> {
    let recipe = &job.recipe;
    let (Some(reward_recipe), Some(ppo_recipe)) = (&recipe.reward, &recipe.ppo) else {
        return Ok(None);
    };
    let fine_tuned = Trained::open(&tuned.checkpoint)?;
    let dir = job.out.join(REWARD);
    let rankings = rankings::simulated(job, reward_recipe, &fine_tuned, &dir)?;
    let rewarded = reward::reward(job, reward_recipe, &fine_tuned, rankings, &dir, output)?;
    let judge = &rewarded.stage.checkpoint;
    let text = Some(prepared);
    let dir = job.out.join(PPO);
    let ppo = ppo::ppo(job, ppo_recipe, &fine_tuned, judge, text, &dir, output)?;
    let small = match &recipe.small {
        Some(small) => small::small(job, small, prepared, judge, output)?,
        None => Vec::new(),
    };
    let mut result = Alignment {
        comparison: Comparison::new(Exam::new(
            recipe.data.world_seed,
            ppo_recipe.compare_prompts,
        )),
        rewarded,
        reward: ppo_recipe.reward_in_words(),
        ppo,
        small,
        questions: None,
        seconds: 0.0,
    };
    result.compare(job, &base.checkpoint, fine_tuned, output)?;
    Ok(Some(result))
}

impl Alignment {
    fn compare(
        &mut self,
        job: &Job,
        base: &Path,
        fine_tuned: Trained,
        output: &Output,
    ) -> Result<()> {
        let start = std::time::Instant::now();
        let base = Trained::open(base)?;
        let aligned = Trained::open(&self.ppo.checkpoint)?;
        let mut models = vec![
            (BASE, base, Manner::Plain),
            (FINE_TUNED, fine_tuned, Manner::Chat),
            (ALIGNED, aligned, Manner::Chat),
        ];
        if let Some(small) = self.small.last() {
            let base = Trained::open(&models[0].1.dir)?;
            models.push((PROMPTED, base, Manner::FewShot));
            models.push((SMALL, Trained::open(&small.checkpoint)?, Manner::Chat));
        }
        for (name, trained, manner) in &models {
            let taught = [FINE_TUNED, ALIGNED].contains(name);
            let manner = (*manner, taught);
            self.comparison
                .add(job.halt(), name, trained, manner, output)?;
        }
        let pairs = [
            (ALIGNED, FINE_TUNED),
            (FINE_TUNED, BASE),
            (ALIGNED, BASE),
            (SMALL, BASE),
            (SMALL, PROMPTED),
        ];
        let seed = job.recipe.run.seed;
        self.comparison
            .judge(job.halt(), &mut compare::truth(), &pairs, seed, output)?;
        self.seconds = start.elapsed().as_secs_f64();
        Ok(())
    }

    /// The model that reports call so.
    pub(crate) fn named(&self, name: &str) -> Option<&Contestant> {
        self.comparison.named(name)
    }

    /// The comparison of these two.
    pub(crate) fn duel(&self, one: &str, other: &str) -> Option<&Duel> {
        self.comparison.duel(one, other)
    }

    /// The keys that a run reports for programs.
    pub(crate) fn json(&self) -> Value {
        let win = self.duel(ALIGNED, FINE_TUNED).map(Duel::share);
        let small = self.duel(SMALL, BASE).map(Duel::share);
        let prompted = self.duel(SMALL, PROMPTED).map(Duel::share);
        let behaviour = self.named(ALIGNED).map(|c| &c.behaviour);
        let mut object = json!({
            "ppo_win_rate": win.map(|w| w.0),
            "ppo_win_rate_low": win.map(|w| w.1),
            "refusal_harmful": behaviour.map(|b| b.refused_harmful.share()),
            "refusal_harmless": behaviour.map(|b| b.refused_harmless.share()),
            "small_win_rate": small.map(|w| w.0),
            "small_win_rate_low": small.map(|w| w.1),
            "small_win_rate_against_prompted": prompted.map(|w| w.0),
            "reward_accuracy": self.rewarded.report.accuracy,
            "labeller": self.rewarded.labeller,
            "reward": self.reward,
        });
        if let (Value::Object(all), Value::Object(more)) = (&mut object, self.comparison.json()) {
            all.extend(more);
        }
        object
    }
}
