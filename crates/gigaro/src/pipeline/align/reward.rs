//! The reward model: it learns to rank answers as people, or the simulated labeller, do.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use gigaro_data::Tokenizer;
use gigaro_models::{GptConfig, RewardModel};
use gigaro_nn::Module;
use gigaro_nn::optim::{Optimizer, ParamGroup};
use gigaro_nn::schedule::{Decay, Schedule};
use gigaro_tensor::{Generator, autocast};
use gigaro_train::answers::Answer;
use gigaro_train::calibration::{RewardReport, evaluate};
use gigaro_train::checkpoint::{CHECKPOINTS, CONFIG, Checkpoint, LATEST};
use gigaro_train::offline::{Deal, Offline};
use gigaro_train::preference::Ranking;
use gigaro_train::reward::{RewardLoss, normalize};
use gigaro_train::weights;

use super::preferences::{fitting, split};
use super::rankings::Rankings;
use crate::device;
use crate::output::Output;
use crate::pipeline::job::REWARD;
use crate::pipeline::rates::Rates;
use crate::pipeline::stage::{self, Matter, Pace};
use crate::pipeline::{Job, StageResult};
use crate::recipe::Reward;
use crate::trained::{Trained, beside, deep_copy};
use crate::turns::Turns;

/// Answers that go through the model at once when nothing is learnt.
const ROWS: usize = 64;
/// The folder of the finished model below that of the stage.
pub(crate) const NORMALISED: &str = "normalised";
/// Measurements on held-out rankings in a run.
const MEASUREMENTS: usize = 6;
/// Answers whose rewards are brought to mean 0 and deviation 1.
const REFERENCE: usize = 512;

/// A trained reward model, and how well it ranks.
pub(crate) struct Rewarded {
    pub(crate) stage: StageResult,
    pub(crate) report: RewardReport,
    pub(crate) labeller: String,
}

/// Trains a reward model from the fine-tuned model in `from` into the stage's folder `dir`.
///
/// # Errors
/// If no ranking can be learnt from, training breaks down, the disk refuses, or the user stops it.
pub(crate) fn reward(
    job: &Job,
    recipe: &Reward,
    from: &Trained,
    rankings: Rankings,
    dir: &Path,
    output: &Output,
) -> Result<Rewarded> {
    let Rankings { all, labeller, .. } = rankings;
    output.say(format_args!("\nRanked by: {labeller}"));
    let all = fitting(all, "Rankings", from, output)?;
    let (learn, measure) = split(all, |ranking| &ranking.prompt);
    let model = RewardModel::new(deep_copy(&from.model), &Generator::new(job.recipe.run.seed));
    let dtype = stage::dtype(job);
    autocast(dtype, || normalize(&model, &reference(&learn), ROWS));
    let mut optimizer = optimizer(recipe, &model);
    let deal = Deal {
        batch_size: recipe.batch_size,
        micro_batch: recipe.batch_size,
        seed: job.recipe.run.seed,
    };
    let loss = RewardLoss::new(&model, 0.0);
    let mut objective = Offline::new(loss, learn.clone(), measure.clone(), deal)?;
    let parameters = model.trunk.config.num_params();
    let matter = Matter {
        objective: &mut objective,
        optimizer: optimizer.as_mut(),
        identity: stage::identity(&model.config().to_string(), &from.tokenizer, &from.beside)?,
        parameters,
        flops_per_token: model.trunk.config.flops_per_token(from.context()) as f64,
    };
    let mut stage = stage::optimise(job, dir, &pace(recipe), matter, output)?;
    // Measured as trained: bringing rewards to deviation 1 would change how sure of itself the model is.
    let report = autocast(dtype, || evaluate(&model, &measure, ROWS));
    if report.pairs > 0 {
        output.fields("\nHeld-out rankings", &lines(&report));
    }
    autocast(dtype, || normalize(&model, &reference(&learn), ROWS));
    let identity = stage::identity(&model.config().to_string(), &from.tokenizer, &from.beside)?;
    stage.checkpoint = weights::save(
        &dir.join(NORMALISED),
        &model,
        &identity,
        recipe.steps as u64,
    )?;
    Ok(Rewarded {
        stage,
        report,
        labeller,
    })
}

/// The trunk is fine-tuned gently; the head is new and has everything to learn. At the trunk's rate it spends the run on
/// unlearning the random direction that it was drawn with.
fn optimizer(recipe: &Reward, model: &RewardModel) -> Box<dyn Optimizer> {
    const HEAD_LR_SCALE: f64 = 10.0;
    let rates = Rates {
        optimizer: recipe.optimizer,
        learning_rate: recipe.learning_rate,
        muon_learning_rate: recipe.muon_learning_rate,
        embedding_learning_rate: recipe.embedding_learning_rate,
        weight_decay: 0.0,
        betas: (0.9, 0.95),
    };
    let head = model
        .named_parameters()
        .into_iter()
        .filter(|(name, _)| name.starts_with("score."))
        .collect();
    let head = ParamGroup::new(head).lr_scale(HEAD_LR_SCALE);
    rates.optimizer(&model.trunk, Some(head))
}

/// Where the reward model at or under `path` is: in a run of `gigaro reward`, in a speedrun, or a checkpoint itself.
pub(crate) fn find(path: &Path) -> PathBuf {
    let places = [path.join(REWARD).join(NORMALISED), path.join(NORMALISED)];
    let is_there = |place: &PathBuf| place.join(CHECKPOINTS).join(LATEST).is_file();
    let found = places.into_iter().find(is_there);
    found.unwrap_or_else(|| path.to_owned())
}

/// The reward model at or under `path`, for answers of the model in `from`.
///
/// # Errors
/// As [`open`], or if the two have different tokenizers.
pub(crate) fn open_for(path: &Path, from: &Trained) -> Result<RewardModel> {
    let Opened {
        model: rewards,
        tokenizer,
        ..
    } = open(path)?;
    if tokenizer.to_json() != from.tokenizer.to_json() {
        bail!(
            "the reward model in {} was trained with another tokenizer than the model in {}: their tokens mean different things; train one with `gigaro reward --checkpoint {}`",
            path.display(),
            from.dir.display(),
            from.dir.display()
        );
    }
    if rewards.trunk.config.max_seq_len < from.context() {
        bail!(
            "the reward model in {} reads {} tokens, the model in {} writes up to {}: train one that starts from a model with the same context",
            path.display(),
            rewards.trunk.config.max_seq_len,
            from.dir.display(),
            from.context()
        );
    }
    Ok(rewards)
}

/// A reward model as it was saved.
pub(crate) struct Opened {
    pub(crate) model: RewardModel,
    pub(crate) tokenizer: Tokenizer,
    /// How it reads conversations.
    pub(crate) turns: Turns,
}

/// The reward model in a checkpoint.
///
/// # Errors
/// If it is missing, damaged, or no reward model.
pub(crate) fn open(path: &Path) -> Result<Opened> {
    let checkpoint = Checkpoint::open(find(path))?;
    let shown = checkpoint.dir().display().to_string();
    let config = String::from_utf8_lossy(&checkpoint.file(CONFIG)?).into_owned();
    let config = GptConfig::from_json(&config).with_context(|| format!("cannot use {shown}"))?;
    let model = RewardModel::zeroed(&config);
    let tensors = weights::collect(checkpoint.dir(), |take| checkpoint.weights(take))?;
    model
        .load_state_dict(&tensors)
        .with_context(|| format!("the weights in {shown} are not those of a reward model"))?;
    device::place(&model);
    let Some(json) = checkpoint.tokenizer()? else {
        bail!("the checkpoint {shown} has no tokenizer, so nobody knows what its tokens mean");
    };
    let tokenizer = Tokenizer::from_json(&json, &format!("the tokenizer of {shown}"))?;
    let turns = Turns::beside(&tokenizer, &beside(&checkpoint)?, checkpoint.dir())?;
    Ok(Opened {
        model,
        tokenizer,
        turns,
    })
}

/// What a report says for a person.
pub(crate) fn lines(report: &RewardReport) -> Vec<(&'static str, String)> {
    let (low, high) = report.interval;
    vec![
        (
            "pairs ranked alike",
            format!(
                "{:.1} % of {} (95 % interval {:.1} to {:.1} %)",
                100.0 * report.accuracy,
                report.pairs,
                100.0 * low,
                100.0 * high
            ),
        ),
        (
            "calibration error",
            format!("{:.1} points", 100.0 * report.calibration_error),
        ),
    ]
}

/// One answer of each of some rankings: another place in each, because in files the better one often stands first.
fn reference(rankings: &[Ranking]) -> Vec<Answer<'_>> {
    let some = rankings.iter().take(REFERENCE);
    some.enumerate()
        .map(|(i, ranking)| Answer {
            prompt: &ranking.prompt,
            tokens: &ranking.answers[i % ranking.answers.len()].tokens,
        })
        .collect()
}

fn pace(recipe: &Reward) -> Pace {
    Pace {
        name: "learning preferences",
        steps: recipe.steps,
        batch_size: recipe.batch_size,
        optimizer_numbers: 2,
        schedule: Schedule {
            lr: recipe.learning_rate,
            warmup_steps: recipe.warmup_steps as u64,
            decay: Decay::Linear {
                total_steps: recipe.steps as u64,
                min_lr: 0.0,
            },
        },
        grad_clip: 1.0,
        eval_every: recipe.steps.div_ceil(MEASUREMENTS),
        save_every: recipe.steps,
    }
}
