//! `gigaro reward`: a model learns to rank answers as people do.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};
use serde_json::json;

use crate::failure::Usage;
use crate::flags::RunArgs;
use crate::output::Output;
use crate::pipeline::Job;
use crate::pipeline::align::reward::NORMALISED;
use crate::pipeline::align::{steps, steps_page};
use crate::trained::{existing, start_of_alignment};

const EXAMPLE: &str = "\
Examples:
  gigaro reward --checkpoint runs/speedrun --out runs/judge
  gigaro reward --checkpoint runs/books-sft --preferences pairs.jsonl.gz --json | tail -n 1";

/// Train a reward model: it learns to rank answers as people, or the simulated labeller, do
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// The fine-tuned model to start from: a checkpoint or the folder of a run [default: the last finished run]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    checkpoint: Option<PathBuf>,

    /// Preferences as JSON lines (TRL's or hh-rlhf's pairs, rankings), plain or .gz, instead of the simulated labeller's
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    preferences: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    let start = Instant::now();
    let from = match &args.run.resume {
        Some(_) => None,
        None => Some(start_of_alignment(args.checkpoint.as_deref())?),
    };
    let standard = from.as_deref().map_or(String::new(), steps::recipe_for);
    let job = Job::begin("reward", &args.run, &standard, |recipe| {
        steps::complete(recipe, "-reward")?;
        let Some(reward) = &mut recipe.reward else {
            bail!("the recipe {} has no section [reward]", recipe.name);
        };
        reward.from = from.or(reward.from.take());
        if let Some(file) = &args.preferences {
            reward.preferences = Some(existing(file)?);
        }
        Ok(())
    })?;
    let Some(recipe) = &job.recipe.reward else {
        return Err(Usage(format!(
            "the run in {} trains no reward model: its recipe has no section [reward]",
            job.out.display()
        ))
        .into());
    };
    let rewarded = steps::reward_model(&job, recipe, output)?;
    let seconds = start.elapsed().as_secs_f64();
    let report = steps_page::write_reward(&job, &rewarded, seconds)?;
    let out = job.out.display();
    output.say(format_args!(
        "\nReward model: {}\nReport: {}\nUse it: gigaro align --algorithm ppo --reward {out}",
        job.out.join(NORMALISED).display(),
        report.display()
    ));
    let found = &rewarded.report;
    output.result(&json!({
        "checkpoint": rewarded.stage.checkpoint,
        "report": report,
        "seconds": seconds,
        "tokens": rewarded.stage.tokens,
        "learned_from": rewarded.labeller,
        "held_out_prompts": found.prompts,
        "held_out_pairs": found.pairs,
        "accuracy": found.accuracy,
        "accuracy_low": found.interval.0,
        "accuracy_high": found.interval.1,
        "margin": found.margin,
        "calibration_error": found.calibration_error,
        "calibration": found.bins.iter().filter(|bin| bin.pairs > 0).map(|bin| json!({
            "from": bin.lower,
            "to": bin.upper,
            "pairs": bin.pairs,
            "confidence": bin.confidence,
            "accuracy": bin.accuracy,
        })).collect::<Vec<_>>(),
    }))
}
