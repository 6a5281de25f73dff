//! `gigaro sft`: a pretrained model learns to answer.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};
use gigaro_train::checkpoint::Checkpoint;
use serde_json::json;

use crate::failure::Usage;
use crate::flags::RunArgs;
use crate::output::Output;
use crate::pipeline::Job;
use crate::pipeline::sft::sft;
use crate::pipeline::summary::Summary;
use crate::recipe::{Optimizer, Recipe};
use crate::trained::{absolute, chosen_checkpoint, existing, newest_stage};

const EXAMPLE: &str = "\
Examples:
  gigaro sft --checkpoint runs/books --chats dialogues.jsonl --out runs/books-chat
  gigaro sft --checkpoint runs/books --chats dialogues.jsonl --lora 8
  gigaro sft --resume runs/books-chat";

/// Fine-tune a pretrained model on conversations, so that it answers
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// The pretrained model: a checkpoint or the folder of a run [default: the last finished run]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    checkpoint: Option<PathBuf>,

    /// Conversations as JSON lines with `messages`, instead of the small world's dialogues
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    chats: Option<PathBuf>,

    /// Train low-rank adapters of this rank (LoRA) and leave the weights as they are
    #[arg(long, value_name = "RANK", conflicts_with = "resume")]
    lora: Option<NonZeroUsize>,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    let start = Instant::now();
    let job = Job::begin("sft", &args.run, "speedrun", |recipe| choose(args, recipe))?;
    let Some(recipe) = &job.recipe.sft else {
        bail!("the recipe {} has no section [sft]", job.recipe.name);
    };
    let Some(from) = &recipe.from else {
        bail!(
            "the recipe in {} does not say which model to start from ([sft] from)",
            job.out.display()
        );
    };
    let stage = sft(&job, recipe, from, &job.out, output)?;
    let seconds = start.elapsed().as_secs_f64();
    let summary = Summary {
        stages: vec![stage.clone()],
        seconds,
        ..Summary::default()
    };
    let report = summary.write_report(&job)?;
    job.remember()?;
    let (checkpoint, out) = (stage.checkpoint.display(), job.out.display());
    output.say(format_args!(
        "\nModel: {checkpoint}\nReport: {}\nTalk to it: gigaro chat {out}",
        report.display()
    ));
    output.result(&json!({
        "checkpoint": stage.checkpoint,
        "report": report,
        "seconds": seconds,
        "tokens": stage.tokens,
        "validation_loss": stage.validation_loss,
    }))
}

/// Puts the flags of this command into the recipe, and gives the run a name of its own.
fn choose(args: &Args, recipe: &mut Recipe) -> Result<()> {
    let Some(sft) = &mut recipe.sft else {
        return Err(Usage(format!(
            "the recipe {} has no section [sft], so it cannot fine-tune",
            recipe.name
        ))
        .into());
    };
    if sft.from.is_none() || args.checkpoint.is_some() {
        let from = chosen_checkpoint(args.checkpoint.as_deref())?;
        // Before the run has a folder.
        Checkpoint::open(newest_stage(&from))?;
        sft.from = Some(absolute(&from)?);
    }
    if let Some(chats) = &args.chats {
        sft.chats = Some(existing(chats)?);
    }
    if let Some(rank) = args.lora {
        sft.lora_r = Some(rank.into());
        sft.optimizer = Optimizer::Adamw;
    }
    recipe.name.push_str("-sft");
    // The bounds of the recipe are those of the whole road.
    recipe.must_reach = Default::default();
    Ok(())
}
