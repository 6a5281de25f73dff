//! One stage of training: its plan, the fit of its micro-batch, its steps, its end.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use gigaro_data::Tokenizer;
use gigaro_data::loader::Batch;
use gigaro_models::generate::SamplingParams;
use gigaro_models::{Gpt, GptConfig};
use gigaro_nn::Module;
use gigaro_nn::optim::Optimizer;
use gigaro_nn::schedule::Schedule;
use gigaro_tensor::{DType, cpu::peak};
use gigaro_train::Error;
use gigaro_train::checkpoint::{CHECKPOINTS, Checkpoint, LATEST};
use gigaro_train::next_token::{Feed, NextToken};
use gigaro_train::objective::Objective;
use gigaro_train::plan::{ModelSize, Plan, RunSize};
use gigaro_train::progress::Event;
use gigaro_train::resources::{check_disk, memory_available};
use gigaro_train::trainer::{Identity, Outcome, Settings, Trainer};
use serde_json::Value;

use super::Job;
use super::progress::Progress;
use super::record::Record;
use crate::output::Output;
use crate::trained::write;

/// Checkpoints that stay on the disk; the trainer removes older ones.
pub(super) const CHECKPOINTS_KEPT: u64 = 2;
/// Share of the machine's peak by which the time is told before a run; a step of a small model reaches less.
pub(super) const EXPECTED_SHARE: f64 = 0.6;

/// Most tokens of a sample.
const MOST_SAMPLED: usize = 80;

/// The key in a checkpoint's configuration that says what its weights are only a part of.
pub(super) const BASE: &str = "base";

/// The sizes and the pace of one stage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// As reports call it, such as `pretraining`.
    pub(super) name: &'static str,
    pub(super) steps: usize,
    /// Sequences per step.
    pub(super) batch_size: usize,
    /// Numbers that the optimiser keeps per parameter.
    pub(super) optimizer_numbers: u64,
    pub(super) schedule: Schedule,
    /// 0 does not clip.
    pub(super) grad_clip: f64,
    /// 0 measures at the end only.
    pub(super) eval_every: usize,
    pub(super) save_every: usize,
}

impl Pace {
    /// What the trainer is told.
    fn settings(&self, dtype: DType) -> Settings {
        Settings {
            steps: self.steps as u64,
            schedule: self.schedule,
            max_norm: if self.grad_clip > 0.0 {
                self.grad_clip
            } else {
                f64::INFINITY
            },
            dtype,
            validate_every: self.eval_every as u64,
            checkpoint_every: self.save_every as u64,
        }
    }

    /// What the user reads after stopping the stage.
    fn stopped(&self, step: u64, checkpoint: &Path) -> String {
        format!(
            "Stopped in {} after step {step} of {}; saved in {}",
            self.name,
            self.steps,
            checkpoint.display()
        )
    }
}

/// A stage that has come to its end.
#[derive(Clone, Debug)]
pub(crate) struct StageResult {
    /// As reports call it, such as `pretraining`.
    pub(crate) name: &'static str,
    /// The folder of the stage.
    pub(crate) dir: PathBuf,
    /// Its last checkpoint.
    pub(crate) checkpoint: PathBuf,
    /// Over all resumptions.
    pub(crate) seconds: f64,
    pub(crate) tokens: u64,
    pub(crate) flops: f64,
    pub(crate) parameters: u64,
    /// In nats per token.
    pub(crate) validation_loss: Option<f64>,
}

/// Tells what a stage will cost, and chooses the micro-batch, or takes the one that the run was begun with.
///
/// # Errors
/// If memory or disk do not suffice.
pub(super) fn plan(
    job: &Job,
    config: &GptConfig,
    pace: &Pace,
    dir: &Path,
    output: &Output,
) -> Result<Plan> {
    let stage = dir.strip_prefix(&job.out).unwrap_or(dir);
    let stage = stage.to_string_lossy().into_owned();
    let mut record = Record::read(&job.out)?;
    // A recipe that was edited in between may have another batch.
    let divides = |rows: &u64| (pace.batch_size as u64).is_multiple_of(*rows);
    let begun_with = record.micro_batch.get(&stage).copied().filter(divides);
    let plan =
        estimate(job, config, pace, begun_with).map_err(|error| as_begun(error, begun_with))?;
    check_disk("keeping checkpoints", plan.disk_bytes, dir)?;
    if begun_with.is_none() {
        record.micro_batch.insert(stage, plan.micro_batch);
        record.write(&job.out)?;
    }
    output.say(format_args!("\nPlan of {}\n{plan}\n", pace.name));
    Ok(plan)
}

/// What a stage will cost on this machine as it is now, with the micro-batch chosen unless one is given.
///
/// # Errors
/// If memory does not suffice.
pub(super) fn estimate(
    job: &Job,
    config: &GptConfig,
    pace: &Pace,
    micro_batch: Option<u64>,
) -> gigaro_train::Result<Plan> {
    let again = job.recipe.run.checkpoint_activations;
    let per_token = |tokens| config.memory_estimate(tokens, again).activations;
    let many = 1024;
    let model = ModelSize {
        parameters: config.num_params(),
        matrix_parameters: config.flops_per_token(0) / 6,
        n_layer: config.n_layer as u64,
        attention_width: config.d_model as u64,
        activation_bytes_per_token: (per_token(many) - per_token(0)) / many as u64,
    };
    let run = RunSize {
        steps: pace.steps as u64,
        batch: pace.batch_size as u64,
        seq_len: config.max_seq_len as u64,
        optimizer_numbers: pace.optimizer_numbers,
        ema: false,
        checkpoints_kept: CHECKPOINTS_KEPT,
        micro_batch,
    };
    let rate = Some(expected_flops_per_s(job));
    Plan::new(&model, &run, memory_available(), rate)
}

/// The pace that training is expected to have.
pub(super) fn expected_flops_per_s(job: &Job) -> f64 {
    let peak = match dtype(job) {
        DType::BF16 => peak::bf16_flops(),
        _ => peak::f32_flops(),
    };
    EXPECTED_SHARE * peak
}

/// Fewer sequences at once than a run was begun with would change its numbers, so that is no advice.
fn as_begun(mut error: Error, begun_with: Option<u64>) -> Error {
    if let (Error::NotEnoughMemory { advice, .. }, Some(rows)) = (&mut error, begun_with) {
        *advice = format!(
            "free some memory, since this run was begun with {rows} sequences at once and fewer would change its numbers, \
             or start a new run with --out"
        );
    }
    error
}

/// What products compute in.
pub(super) fn dtype(job: &Job) -> DType {
    job.recipe.run.dtype.dtype()
}

/// What a stage works with.
pub(super) struct Work<'a> {
    pub(super) model: &'a Gpt,
    /// What is trained and saved, and by what its checkpoints know the rest; `None` for the whole model.
    pub(super) part: Option<(&'a dyn Module, Value)>,
    pub(super) optimizer: &'a mut dyn Optimizer,
    pub(super) feed: &'a mut dyn Feed,
    pub(super) validation: &'a [Batch],
    pub(super) tokenizer: &'a Tokenizer,
    /// What the model is to go on with at every measurement, for people to read.
    pub(super) prompts: &'a [Vec<u32>],
    /// The files of its chat template, if it has one.
    pub(super) beside: &'a [(String, Vec<u8>)],
}

/// What a model is known by in its checkpoints; `beside` are the files of its chat template.
///
/// # Errors
/// If the configuration cannot be written.
pub(super) fn identity(
    config: &str,
    tokenizer: &Tokenizer,
    beside: &[(String, Vec<u8>)],
) -> Result<Identity> {
    Ok(Identity {
        config: serde_json::from_str(config).context("the model's configuration is no JSON")?,
        tokenizer: Some(tokenizer.to_json().into_bytes()),
        beside: beside.to_vec(),
    })
}

/// Trains on text or conversations to the end of the stage, from its last checkpoint if it has one.
///
/// # Errors
/// As [`optimise`].
pub(super) fn train(
    job: &Job,
    dir: &Path,
    pace: &Pace,
    plan: &Plan,
    work: Work<'_>,
    output: &Output,
) -> Result<StageResult> {
    let accumulate = plan.batch / plan.micro_batch;
    let mut identity = identity(&work.model.config.to_json(), work.tokenizer, work.beside)?;
    let mut objective = NextToken::new(work.model, work.feed, work.validation, accumulate);
    if !work.prompts.is_empty() {
        let (tokenizer, prompts) = (work.tokenizer, work.prompts);
        let params = sample_params(job);
        objective = objective.writing(Box::new(move |model: &Gpt| {
            write(model, tokenizer, prompts, &params).map_err(Error::from)
        }));
    }
    if let Some((part, rest)) = work.part {
        objective = objective.only(part);
        identity.config[BASE] = rest;
    }
    let matter = Matter {
        objective: &mut objective,
        optimizer: work.optimizer,
        identity,
        parameters: plan.parameters,
        flops_per_token: plan.flops_per_token,
    };
    optimise(job, dir, pace, matter, output)
}

/// As the recipe says, but not so long that a reader skips it, nor on beyond the prompt's own document.
fn sample_params(job: &Job) -> SamplingParams {
    let usual = &job.recipe.sampling;
    SamplingParams {
        max_tokens: usual.max_tokens.min(MOST_SAMPLED),
        seed: job.recipe.run.seed,
        ..usual.clone()
    }
}

/// What a stage optimises, and how it is counted.
pub(super) struct Matter<'a> {
    pub(super) objective: &'a mut dyn Objective,
    pub(super) optimizer: &'a mut dyn Optimizer,
    pub(super) identity: Identity,
    pub(super) parameters: u64,
    /// Of training on a token, by the usual count.
    pub(super) flops_per_token: f64,
}

/// Optimises to the end of the stage, from its last checkpoint if it has one.
///
/// # Errors
/// If training breaks down, the disk refuses, or the user stops it (after saving).
pub(super) fn optimise(
    job: &Job,
    dir: &Path,
    pace: &Pace,
    matter: Matter<'_>,
    output: &Output,
) -> Result<StageResult> {
    let settings = pace.settings(dtype(job));
    let from = last_checkpoint(job, dir)?;
    let state = from
        .as_ref()
        .map(Checkpoint::state)
        .transpose()?
        .unwrap_or_default();
    let mut progress = Progress::new(pace.name, state.step, settings.steps, output);
    let trainer = Trainer::new(
        matter.objective,
        matter.optimizer,
        settings,
        matter.identity,
        dir,
        job.recipe.run.seed,
        from.as_ref(),
    )?;
    let (mut tokens, mut step) = (state.tokens_seen, state.step);
    let outcome = trainer.run(&job.stop, &mut |event| {
        if let Event::Step(report) = event {
            (tokens, step) = (report.tokens, report.step);
        }
        progress.show(event);
    });
    progress.end();
    let checkpoint = match outcome? {
        Outcome::Finished(path) => path,
        Outcome::Interrupted(path) => return Err(job.interrupted(&pace.stopped(step, &path))),
    };
    let last = Checkpoint::open(&checkpoint)?.state()?;
    Ok(StageResult {
        name: pace.name,
        dir: dir.to_owned(),
        checkpoint,
        seconds: last.seconds_trained,
        tokens,
        flops: tokens as f64 * matter.flops_per_token,
        parameters: matter.parameters,
        validation_loss: progress.validation().or(last.best_validation_loss),
    })
}

/// The checkpoint that a resumed stage goes on from: the one that the user chose, if it is of this stage, or the newest.
pub(super) fn last_checkpoint(job: &Job, dir: &Path) -> Result<Option<Checkpoint>> {
    let checkpoints = dir.join(CHECKPOINTS);
    // As the disk has them: the user may have written the path in another way.
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    if let Some(chosen) = &job.chosen
        && let Some(folder) = chosen.parent().and_then(real)
        && real(&checkpoints) == Some(folder)
    {
        return Ok(Some(Checkpoint::open(chosen)?));
    }
    if job.resumed && checkpoints.join(LATEST).exists() {
        Ok(Some(Checkpoint::open(dir)?))
    } else {
        Ok(None)
    }
}
