//! The steps of alignment one by one, as `gigaro reward` and `gigaro align` take them: which model they start from, which settings they
//! follow, and the comparison with the start at the end.

use std::path::Path;

use anyhow::{Context, Result, bail};
use gigaro_serve::conversations::Outcome;
use serde_json::{Value, json};

use super::compare::{self, Comparison, Duel, Exam, Manner};
use super::rankings::Rankings;
use super::reward::Rewarded;
use super::{ALIGNED, best_of_n, offline, online, ppo, preferences, rankings, reward};
use crate::failure::Usage;
use crate::output::Output;
use crate::pipeline::job::recipe_path_of;
use crate::pipeline::prepare::prepare_for;
use crate::pipeline::{Job, StageResult};
use crate::recipe::{self, Algorithm, Align, Recipe, Reward};
use crate::trained::Trained;

/// The model that a run of alignment starts from, in reports.
pub(crate) const START: &str = "start";
/// The recipe whose sections stand in where a model's own has none.
const STANDARD: &str = "speedrun";

/// The recipe that a model is aligned by, if the user names none: that of its own run, since it says which small world the model
/// lives in, or else the standard one.
pub(crate) fn recipe_for(checkpoint: &Path) -> String {
    let own = recipe_path_of(checkpoint);
    own.map_or_else(
        || STANDARD.to_owned(),
        |path| path.to_string_lossy().into_owned(),
    )
}

/// Fills the sections that alignment reads and a recipe may lack from the standard recipe, drops those that would mean more than one
/// step, and names the run.
///
/// # Errors
/// If the recipe makes no sense with what was put into it.
pub(crate) fn complete(recipe: &mut Recipe, suffix: &str) -> Result<()> {
    let Some(standard) = recipe::builtin(STANDARD) else {
        bail!("the recipe {STANDARD} is not built in");
    };
    recipe.sft = recipe.sft.take().or(standard.sft);
    recipe.reward = recipe.reward.take().or(standard.reward);
    recipe.ppo = recipe.ppo.take().or(standard.ppo);
    recipe.small = None;
    // The bounds of the recipe are those of the whole road.
    recipe.must_reach = Default::default();
    recipe.name.push_str(suffix);
    recipe::check(recipe).map_err(|complaint| Usage(complaint).into())
}

/// What a run learns from: the preferences in a file, or those of the simulated labeller on answers of the model itself.
fn rankings(
    job: &Job,
    file: Option<&Path>,
    from: &Trained,
    dir: &Path,
    output: &Output,
) -> Result<Rankings> {
    match (file, &job.recipe.reward) {
        (Some(file), _) => preferences::read(file, from, output),
        (None, Some(recipe)) => {
            let (prompts, answers) = (recipe.prompts, recipe.answers);
            output.say(format_args!(
                "\nDrawing {answers} answers to each of {prompts} prompts, for the simulated labeller to rank"
            ));
            rankings::simulated(job, recipe, from, dir)
        }
        (None, None) => bail!(
            "the recipe {} has no section [reward], which says how many answers are ranked",
            job.recipe.name
        ),
    }
}

/// Trains a reward model as the section `[reward]` of the job says.
///
/// # Errors
/// If the model to start from is missing, nothing can be learnt from, training breaks down, or the user stops it.
pub(crate) fn reward_model(job: &Job, recipe: &Reward, output: &Output) -> Result<Rewarded> {
    let from = Trained::open(start(recipe.from.as_deref(), job, "[reward] from")?)?;
    let file = recipe.preferences.as_deref();
    let rankings = rankings(job, file, &from, &job.out, output)?;
    reward::reward(job, recipe, &from, rankings, &job.out, output)
}

/// A model that was aligned, and how it compares with what it was.
pub(crate) struct Aligned {
    pub(crate) stage: StageResult,
    pub(crate) algorithm: Algorithm,
    /// `None` where the model learned from the user's own text and knows no small world.
    pub(crate) comparison: Option<Comparison>,
}

/// Aligns a model as the section `[align]` of the job says, and compares it with its start.
///
/// # Errors
/// If a model is missing or does not fit, nothing can be learnt from, training breaks down, or the user stops it.
pub(crate) fn align(job: &Job, recipe: &Align, output: &Output) -> Result<Aligned> {
    let start = start(recipe.from.as_deref(), job, "[align] from")?;
    let from = Trained::open(start)?;
    let stage = learn(job, recipe, &from, output)?;
    drop(from);
    let comparison = match &job.recipe.data.text {
        None => Some(compare_with(start, &stage.checkpoint, job, recipe, output)?),
        Some(_) => None,
    };
    Ok(Aligned {
        stage,
        algorithm: recipe.algorithm,
        comparison,
    })
}

fn start<'a>(from: Option<&'a Path>, job: &Job, key: &str) -> Result<&'a Path> {
    from.with_context(|| {
        format!(
            "the recipe in {} does not say which model to start from ({key})",
            job.out.display()
        )
    })
}

fn learn(job: &Job, recipe: &Align, from: &Trained, output: &Output) -> Result<StageResult> {
    let (algorithm, dir) = (recipe.algorithm, &job.out);
    let name = algorithm.name();
    let judge = || {
        recipe
            .reward
            .as_deref()
            .with_context(|| format!("{name} needs a reward model ([align] reward)"))
    };
    match algorithm {
        Algorithm::Ppo => {
            let Some(settings) = &job.recipe.ppo else {
                bail!("the recipe {} has no section [ppo]", job.recipe.name);
            };
            let judge = judge()?;
            let text = if settings.reads_text() {
                Some(prepare_for(job, &from.tokenizer, output)?)
            } else {
                None
            };
            ppo::ppo(job, settings, from, judge, text.as_ref(), dir, output)
        }
        Algorithm::BestOfN => best_of_n::best_of_n(job, recipe, from, judge()?, dir, output),
        Algorithm::Grpo | Algorithm::Rloo => online::online(job, recipe, from, dir, output),
        Algorithm::Dpo | Algorithm::Ipo | Algorithm::Kto | Algorithm::Orpo => {
            let file = recipe.preferences.as_deref();
            let rankings = rankings(job, file, from, dir, output)?;
            job.check_stop("Stopped before the first step")?;
            offline::offline(job, recipe, from, rankings, dir, output)
        }
    }
}

/// The model before and after, on held-out prompts of the small world.
fn compare_with(
    start: &Path,
    checkpoint: &Path,
    job: &Job,
    recipe: &Align,
    output: &Output,
) -> Result<Comparison> {
    let prompts = match (recipe.algorithm, &job.recipe.ppo) {
        (Algorithm::Ppo, Some(ppo)) => ppo.compare_prompts,
        _ => recipe.compare_prompts,
    };
    let (world_seed, seed) = (job.recipe.data.world_seed, job.recipe.run.seed);
    let mut comparison = Comparison::new(Exam::new(world_seed, prompts));
    for (name, path) in [(START, start), (ALIGNED, checkpoint)] {
        let trained = Trained::open(path)?;
        comparison.add(job.halt(), name, &trained, (Manner::Chat, true), output)?;
    }
    comparison.judge(
        job.halt(),
        &mut compare::truth(),
        &[(ALIGNED, START)],
        seed,
        output,
    )?;
    Ok(comparison)
}

impl Aligned {
    /// Whether it has become better than its start: its answers are preferred, the whole 95 % interval above one half.
    pub(crate) fn outcome(&self) -> Outcome {
        match self.share() {
            None => Outcome::Unknown,
            Some((_, low, _)) if low > 0.5 => Outcome::Better,
            Some((.., high)) if high < 0.5 => Outcome::Worse,
            Some(_) => Outcome::Undecided,
        }
    }

    /// How often its answers are preferred to those of its start, with the bounds of the 95 % interval; `None` if they were not compared.
    pub(crate) fn share(&self) -> Option<(f64, f64, f64)> {
        let comparison = self.comparison.as_ref()?;
        comparison.duel(ALIGNED, START).map(Duel::share)
    }

    /// The keys that `gigaro align` reports for programs.
    pub(crate) fn json(&self) -> Value {
        let share = self.share();
        let mut object = json!({
            "algorithm": self.algorithm.name(),
            "checkpoint": self.stage.checkpoint,
            "tokens": self.stage.tokens,
            "win_rate": share.map(|s| s.0),
            "win_rate_low": share.map(|s| s.1),
            "win_rate_high": share.map(|s| s.2),
        });
        let comparison = self.comparison.as_ref().map(Comparison::json);
        if let (Value::Object(all), Some(Value::Object(more))) = (&mut object, comparison) {
            all.extend(more);
        }
        object
    }
}
