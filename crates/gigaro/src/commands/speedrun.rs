//! `gigaro speedrun`: the whole road in one command: tokenizer, pretraining, fine-tuning, questions, alignment, report, chat.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use gigaro_train::quantity::Seconds;
use serde_json::{Value, json};

use super::chat::Chat;
use crate::failure::Usage;
use crate::flags::{RunArgs, TextArgs};
use crate::output::Output;
use crate::pipeline::Job;
use crate::pipeline::align::align;
use crate::pipeline::exam::{ExamResult, examine};
use crate::pipeline::job::{PRETRAIN, SFT};
use crate::pipeline::outlook;
use crate::pipeline::prepare::prepare;
use crate::pipeline::pretrain::pretrain;
use crate::pipeline::sft::sft;
use crate::pipeline::summary::Summary;
use crate::recipe::{MustReach, Recipe, Sft};
use crate::trained::{Trained, existing};

const EXAMPLE: &str = "\
Examples:
  gigaro speedrun                        about a quarter of an hour on two cores, then chat
  gigaro speedrun --recipe tiny          seconds, to see that everything works
  gigaro speedrun --text books/ --chats dialogues.jsonl    on your own text and conversations
  gigaro speedrun --resume runs/speedrun go on where it stopped";

/// From text to chat in one command: tokenizer, pretraining, fine-tuning, alignment, evaluation, report, chat
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// End after the report, without a chat
    #[arg(long)]
    no_chat: bool,

    /// Conversations to fine-tune on as JSON lines with `messages`, instead of the small world's dialogues
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    chats: Option<PathBuf>,

    #[command(flatten)]
    text: TextArgs,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    let start = Instant::now();
    let job = Job::begin("speedrun", &args.run, "speedrun", |recipe| {
        choose(args, recipe)
    })?;
    let Some(recipe) = &job.recipe.sft else {
        return Err(no_assistant(&job.recipe).into());
    };
    output.say(format_args!("{}: {}", job.recipe.name, job.recipe.about));
    if let Some(note) = job.recipe.of_two_worlds() {
        output.say(format_args!("\nNote: {note}\n"));
    }
    output.fields("Must reach", &job.recipe.must_reach.lines());
    outlook::tell(&job, output)?;
    let summary = walk(&job, recipe, start, output)?;
    let reached = summary.tell(&job, output);
    let report = summary.write_report(&job)?;
    job.remember()?;
    output.say(format_args!(
        "\nDone in {}. Report: {}",
        Seconds(summary.seconds),
        report.display()
    ));
    let checkpoint = last_checkpoint(&summary);
    let mut object = object(&summary);
    object["checkpoint"] = json!(checkpoint);
    object["report"] = json!(report);
    object["reached"] = json!(reached);
    output.result(&object)?;
    if args.no_chat || output.is_json() || !io::stdin().is_terminal() {
        output.say(format_args!(
            "Talk to it: gigaro chat {}",
            job.out.display()
        ));
        return Ok(());
    }
    talk(&job.recipe, checkpoint, output)
}

/// Puts the flags of this command into the recipe, and drops the bounds that were measured on what they replace.
fn choose(args: &Args, recipe: &mut Recipe) -> Result<()> {
    let own_text = args.text.text.is_some();
    args.text.put_into(&mut recipe.data)?;
    let Some(sft) = &mut recipe.sft else {
        return Err(no_assistant(recipe).into());
    };
    if let Some(chats) = &args.chats {
        sft.chats = Some(existing(chats)?);
    }
    if own_text || args.chats.is_some() {
        let must = std::mem::take(&mut recipe.must_reach);
        recipe.must_reach = MustReach {
            seconds_at_most: must.seconds_at_most,
            validation_loss_at_most: must.validation_loss_at_most.filter(|_| !own_text),
            ..MustReach::default()
        };
    }
    Ok(())
}

fn no_assistant(recipe: &Recipe) -> Usage {
    Usage(format!(
        "the recipe {} has no section [sft], so it ends without an assistant: use `gigaro pretrain`",
        recipe.name
    ))
}

/// All stages and exams, one after the other.
fn walk(job: &Job, recipe: &Sft, start: Instant, output: &Output) -> Result<Summary> {
    let prepared = prepare(job, output)?;
    let (model, steps) = (&job.recipe.model, &job.recipe.pretrain);
    let base = pretrain(
        job,
        model,
        steps,
        &prepared,
        &job.out.join(PRETRAIN),
        output,
    )?;
    let before = exam(job, &base.checkpoint, "before fine-tuning", output)?;
    let tuned = sft(job, recipe, &base.checkpoint, &job.out.join(SFT), output)?;
    let after = exam(job, &tuned.checkpoint, "after fine-tuning", output)?;
    let mut alignment = align(job, &prepared, &base, &tuned, output)?;
    // A resumed run took longer than this process has lived.
    let mut trained = base.seconds + tuned.seconds;
    if let Some(alignment) = &mut alignment {
        let aligned = exam(job, &alignment.ppo.checkpoint, "after alignment", output)?;
        alignment.questions = Some(aligned);
        trained += alignment.rewarded.stage.seconds + alignment.ppo.seconds;
        trained += alignment.small.iter().map(|s| s.seconds).sum::<f64>();
    }
    Ok(Summary {
        stages: vec![base, tuned],
        base: Some(before),
        tuned: Some(after),
        alignment,
        seconds: start.elapsed().as_secs_f64().max(trained),
    })
}

/// The checkpoint of the model that the run ends with.
fn last_checkpoint(summary: &Summary) -> &Path {
    let aligned = summary.alignment.as_ref().map(|a| &a.ppo);
    let last = aligned.or(summary.stages.last());
    last.map_or(Path::new(""), |stage| &stage.checkpoint)
}

/// The run's figures for programs.
fn object(summary: &Summary) -> Value {
    let accuracy = |exam: Option<&ExamResult>| exam.map(|e| e.all.accuracy());
    let mut object = json!({
        "seconds": summary.seconds,
        "base_accuracy": accuracy(summary.base.as_ref()),
        "sft_accuracy": accuracy(summary.tuned.as_ref()),
        "held_out_accuracy": accuracy(summary.answering()),
        "validation_loss": summary.validation_loss(),
        "parameters": summary.stages.last().map(|stage| stage.parameters),
    });
    if let Some(alignment) = &summary.alignment
        && let (Value::Object(all), Value::Object(more)) = (&mut object, alignment.json())
    {
        all.extend(more);
    }
    object
}

fn exam(job: &Job, checkpoint: &Path, when: &str, output: &Output) -> Result<ExamResult> {
    let trained = Trained::open(checkpoint)?;
    let recipe = &job.recipe;
    let Some(result) = examine(
        &trained,
        recipe.data.world_seed,
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
