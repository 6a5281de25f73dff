//! `gigaro pretrain`: a model from nothing, on the small world or on your own text.

use std::time::Instant;

use anyhow::Result;
use serde_json::json;

use crate::flags::{RunArgs, TextArgs};
use crate::output::Output;
use crate::pipeline::Job;
use crate::pipeline::prepare::prepare;
use crate::pipeline::pretrain::pretrain;
use crate::pipeline::summary::Summary;

const EXAMPLE: &str = "\
Examples:
  gigaro pretrain --recipe shakespeare_char --text shakespeare.txt
  gigaro pretrain --text books/ --out runs/books --dtype bf16
  gigaro pretrain --resume runs/books";

/// Train a model from nothing to go on with text
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(flatten)]
    text: TextArgs,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    let start = Instant::now();
    let job = Job::begin("pretrain", &args.run, "speedrun", |recipe| {
        args.text.put_into(&mut recipe.data)
    })?;
    let prepared = prepare(&job, output)?;
    let (model, recipe) = (&job.recipe.model, &job.recipe.pretrain);
    let stage = pretrain(&job, model, recipe, &prepared, &job.out, output)?;
    let seconds = start.elapsed().as_secs_f64();
    let summary = Summary {
        stages: vec![stage.clone()],
        seconds,
        ..Summary::default()
    };
    let reached = summary.tell(&job, output);
    let report = summary.write_report(&job)?;
    job.remember()?;
    let (checkpoint, out) = (stage.checkpoint.display(), job.out.display());
    output.say(format_args!(
        "\nModel: {checkpoint}\nReport: {}\nTry it: gigaro generate --checkpoint {out} \"Once\"",
        report.display()
    ));
    output.result(&json!({
        "checkpoint": stage.checkpoint,
        "report": report,
        "seconds": seconds,
        "tokens": stage.tokens,
        "parameters": stage.parameters,
        "validation_loss": stage.validation_loss,
        "reached": reached,
    }))
}
