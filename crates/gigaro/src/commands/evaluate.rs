//! `gigaro evaluate`: how many held-out questions a model answers exactly.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};

use crate::failure::Interrupted;
use crate::flags::{ComputeArgs, Precision};
use crate::interrupt;
use crate::output::Output;
use crate::pipeline::exam::{Answered, examine};
use crate::pipeline::job::recipe_of;
use crate::recipe::{Evaluate, WORLD_SEED};
use crate::trained::{Trained, chosen_checkpoint};

const EXAMPLE: &str = "\
Examples:
  gigaro evaluate
  gigaro evaluate runs/speedrun --questions-per-kind 50 --json | tail -n 1";

/// Ask a model held-out questions about the small world, whose true answers are known
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// A checkpoint, the folder of a run, a Hugging Face folder or a .gguf file [default: the last finished run]
    checkpoint: Option<PathBuf>,

    /// At most this many questions of each kind
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    questions_per_kind: Option<u32>,

    /// Show every question with its answer
    #[arg(long)]
    answers: bool,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    args.compute.set_threads();
    let trained = Trained::open(&chosen_checkpoint(args.checkpoint.as_deref())?)?;
    let recipe = recipe_of(&trained.dir)?;
    // The world that the model learned about is that of its run.
    let world_seed = recipe.as_ref().map_or(WORLD_SEED, |r| r.data.world_seed);
    let mut asked = recipe.map_or_else(Evaluate::default, |r| r.evaluate);
    asked.questions_per_kind = args
        .questions_per_kind
        .map_or(asked.questions_per_kind, |n| n as usize);
    let stop = interrupt::catch("stopping")?;
    let dtype = args.compute.dtype.unwrap_or(Precision::F32);
    let Some(exam) = examine(&trained, world_seed, &asked, dtype, &stop)? else {
        return Err(
            Interrupted("stopped before the last question; nothing was saved".into()).into(),
        );
    };
    if args.answers {
        exam.answers
            .iter()
            .for_each(|answered| show(answered, output));
    }
    output.fields(
        &format!("Held-out questions, {}", trained.dir.display()),
        &exam.lines(),
    );
    let mut object = exam.json();
    object["held_out_accuracy"] = json!(exam.all.accuracy());
    object["checkpoint"] = json!(trained.dir);
    if args.answers {
        object["answers"] = exam.answers.iter().map(answer_json).collect();
    }
    output.result(&object)
}

fn show(answered: &Answered, output: &Output) {
    let mark = if answered.right { "right" } else { "WRONG" };
    let (question, answer, truth) = (
        &answered.question.text,
        &answered.answer,
        &answered.question.answer,
    );
    output.say(format_args!("{mark}  {question}\n       {answer}"));
    if !answered.right {
        output.say(format_args!("       (true: {truth})"));
    }
}

fn answer_json(answered: &Answered) -> Value {
    json!({
        "kind": answered.question.kind,
        "question": answered.question.text,
        "answer": answered.answer,
        "truth": answered.question.answer,
        "right": answered.right,
    })
}
