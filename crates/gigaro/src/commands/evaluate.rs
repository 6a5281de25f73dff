//! `gigaro evaluate`: how many held-out questions a model answers exactly, or how it does on the tasks of a file.

use std::path::PathBuf;

use anyhow::Result;
use gigaro_data::tasks::{self, Task};
use gigaro_train::evaluate::{TaskReport, TaskScore};
use serde_json::{Value, json};

use crate::failure::Interrupted;
use crate::flags::{ComputeArgs, Precision};
use crate::interrupt;
use crate::output::Output;
use crate::pipeline::exam::{Answered, examine};
use crate::pipeline::job::recipe_of;
use crate::pipeline::tasks::put;
use crate::recipe::{Evaluate, WORLD_SEED};
use crate::trained::{Trained, chosen_checkpoint};

const EXAMPLE: &str = "\
Examples:
  gigaro evaluate
  gigaro evaluate runs/speedrun --questions-per-kind 50 --json | tail -n 1
  gigaro evaluate --tasks tasks.jsonl      choices and answers as lm-evaluation-harness scores them";

/// Ask a model questions whose true answers are known: held-out ones about the small world, or those of a file
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// A checkpoint, the folder of a run, a Hugging Face folder or a .gguf file [default: the last finished run]
    checkpoint: Option<PathBuf>,

    /// At most this many questions of each kind
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    questions_per_kind: Option<u32>,

    /// Questions in JSONL instead: `question`, `choices` and the number of the right one in `answer`, scored by probability; or `question`
    /// and `answer`, to be answered in these words
    #[arg(long, value_name = "FILE", conflicts_with = "questions_per_kind")]
    tasks: Option<PathBuf>,

    /// Show every question with its answer
    #[arg(long)]
    answers: bool,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    args.compute.machine.apply()?;
    let tasks = args.tasks.as_ref().map(tasks::read).transpose()?;
    let trained = Trained::open(&chosen_checkpoint(args.checkpoint.as_deref())?)?;
    if let Some(tasks) = tasks {
        return put_tasks(args, &trained, &tasks, output);
    }
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
        return Err(interrupted());
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

fn interrupted() -> anyhow::Error {
    Interrupted("stopped before the last question; nothing was saved".into()).into()
}

/// The same for the tasks of a file.
fn put_tasks(args: &Args, trained: &Trained, tasks: &[Task], output: &Output) -> Result<()> {
    let stop = interrupt::catch("stopping")?;
    let dtype = args.compute.dtype.unwrap_or(Precision::F32);
    let Some(scores) = put(trained, tasks, dtype, &stop)? else {
        return Err(interrupted());
    };
    let report = TaskReport::of(&scores);
    let figures: Vec<_> = report
        .figures()
        .map(|(name, share)| (name, share.to_string()))
        .collect();
    if args.answers {
        for (task, score) in tasks.iter().zip(&scores) {
            let mark = if score.is_right() { "right" } else { "WRONG" };
            output.say(format_args!("{mark}  {}", task.question));
        }
    }
    output.fields(&format!("Tasks, {}", trained.dir.display()), &figures);
    let mut object = report.json();
    object["tasks"] = json!(tasks.len());
    object["checkpoint"] = json!(trained.dir);
    if args.answers {
        let all = tasks.iter().zip(&scores);
        object["answers"] = all.map(|(task, score)| score_json(task, score)).collect();
    }
    output.result(&object)
}

fn score_json(task: &Task, score: &TaskScore) -> Value {
    let mut object = json!({ "question": task.question, "right": score.is_right() });
    match score {
        TaskScore::Choice { scores, .. } => {
            let of_each = scores.iter().map(|score| score.log_likelihood);
            object["log_likelihoods"] = of_each.collect();
            object["right_for_length"] = json!(score.is_right_for_length());
        }
        TaskScore::Words { written, .. } => object["answer"] = json!(written),
    }
    object
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
