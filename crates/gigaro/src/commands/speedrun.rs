//! `gigaro speedrun`: the whole road in one command: tokenizer, pretraining, fine-tuning, questions, report, chat.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};
use gigaro_train::quantity::Seconds;
use serde_json::json;

use super::chat::Chat;
use crate::flags::RunArgs;
use crate::output::Output;
use crate::pipeline::Job;
use crate::pipeline::exam::{ExamResult, examine};
use crate::pipeline::job::{PRETRAIN, SFT};
use crate::pipeline::prepare::prepare;
use crate::pipeline::pretrain::pretrain;
use crate::pipeline::sft::sft;
use crate::pipeline::summary::Summary;
use crate::recipe::Recipe;
use crate::trained::Trained;

const EXAMPLE: &str = "\
Examples:
  gigaro speedrun                        ten minutes on two cores, then chat
  gigaro speedrun --recipe tiny          seconds, to see that everything works
  gigaro speedrun --text books/          on your own text
  gigaro speedrun --resume runs/speedrun go on where it stopped";

/// From text to chat in one command: tokenizer, pretraining, fine-tuning, evaluation, report, chat
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// End after the report, without a chat
    #[arg(long)]
    no_chat: bool,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    let start = Instant::now();
    let job = Job::begin("speedrun", &args.run, "speedrun", |_| Ok(()))?;
    let Some(recipe) = &job.recipe.sft else {
        bail!(
            "the recipe {} has no section [sft], so it ends without an assistant: use `gigaro pretrain`",
            job.recipe.name
        );
    };
    output.say(format_args!("{}: {}", job.recipe.name, job.recipe.about));
    output.fields("Must reach", &job.recipe.must_reach.lines());
    let prepared = prepare(&job, output)?;
    let base_stage = pretrain(&job, &prepared, &job.out.join(PRETRAIN), output)?;
    let base = exam(&job, &base_stage.checkpoint, "before fine-tuning", output)?;
    let sft_stage = sft(
        &job,
        recipe,
        &base_stage.checkpoint,
        &job.out.join(SFT),
        output,
    )?;
    let tuned = exam(&job, &sft_stage.checkpoint, "after fine-tuning", output)?;
    // A resumed run took longer than this process has lived.
    let before = base_stage.seconds + sft_stage.seconds;
    let seconds = start.elapsed().as_secs_f64().max(before);
    let summary = Summary {
        stages: vec![base_stage, sft_stage.clone()],
        base: Some(base),
        tuned: Some(tuned),
        seconds,
    };
    let reached = summary.tell(&job, output);
    let report = summary.write_report(&job)?;
    job.remember()?;
    output.say(format_args!(
        "\nDone in {}. Report: {}",
        Seconds(seconds),
        report.display()
    ));
    let accuracy = |exam: &Option<ExamResult>| exam.as_ref().map(|e| e.all.accuracy());
    output.result(&json!({
        "seconds": seconds,
        "base_accuracy": accuracy(&summary.base),
        "held_out_accuracy": accuracy(&summary.tuned),
        "validation_loss": summary.validation_loss(),
        "parameters": sft_stage.parameters,
        "checkpoint": sft_stage.checkpoint,
        "report": report,
        "reached": reached,
    }))?;
    if args.no_chat || output.is_json() || !io::stdin().is_terminal() {
        output.say(format_args!(
            "Talk to it: gigaro chat {}",
            job.out.display()
        ));
        return Ok(());
    }
    talk(&job.recipe, &sft_stage.checkpoint, output)
}

fn exam(job: &Job, checkpoint: &Path, when: &str, output: &Output) -> Result<ExamResult> {
    let trained = Trained::open(checkpoint)?;
    let recipe = &job.recipe;
    let Some(result) = examine(
        &trained,
        recipe.run.seed,
        &recipe.evaluate,
        crate::flags::Precision::F32,
        &job.stop,
    )?
    else {
        return Err(job.interrupted(&format!(
            "Stopped while answering questions; the model is saved in {}",
            checkpoint.display()
        )));
    };
    output.fields(&format!("\nHeld-out questions {when}"), &result.lines());
    Ok(result)
}

fn talk(recipe: &Recipe, checkpoint: &Path, output: &Output) -> Result<()> {
    let trained = Trained::open(checkpoint)?;
    output.say("");
    Chat::new(
        &trained,
        recipe.sampling.clone(),
        crate::flags::Precision::F32,
        None,
    )?
    .run(output)
}
