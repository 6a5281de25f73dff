//! `gigaro compare`: models on the same held-out prompts: what each does, and whose answers are preferred.

mod judges;

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use self::judges::JudgeArgs;
use crate::flags::ComputeArgs;
use crate::interrupt;
use crate::output::Output;
use crate::pipeline::align::compare::{Comparison, Exam, Manner};
use crate::pipeline::align::steps_page;
use crate::pipeline::job::{Halt, recipe_of};
use crate::recipe::WORLD_SEED;
use crate::trained::Trained;

const EXAMPLE: &str = "\
Examples:
  gigaro compare runs/speedrun/ppo runs/speedrun/sft runs/speedrun/pretrain
  gigaro compare runs/a-dpo runs/a-kto --judge reward:runs/judge --report dpo-kto.html
  gigaro compare runs/a-dpo runs/a-kto --judge http://127.0.0.1:8080/v1 --judge-model qwen3 --prompts 100";

/// Compare models on the same held-out prompts of the small world: behaviour, win rates, requests in disguise
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// Two models or more: checkpoints or folders of runs; each is held against each
    #[arg(required = true, num_args = 2.., value_name = "MODEL")]
    models: Vec<PathBuf>,

    /// Held-out prompts
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    prompts: u32,

    #[command(flatten)]
    judge: JudgeArgs,

    /// Page with tables and answers side by side
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    args.compute.machine.apply()?;
    let models: Vec<Trained> = args
        .models
        .iter()
        .map(|path| Trained::open(path))
        .collect::<Result<_>>()?;
    let mut judge = args.judge.judge(output)?;
    // The world that the models learned about is that of their run.
    let recipe = recipe_of(&models[0].dir)?;
    let world_seed = recipe.map_or(WORLD_SEED, |recipe| recipe.data.world_seed);
    let seed = args.compute.seed.unwrap_or(1);
    let stop = interrupt::catch("stopping")?;
    let halt = Halt {
        stop: &stop,
        job: None,
    };
    let mut comparison = Comparison::new(Exam::new(world_seed, args.prompts as usize));
    let names = names(&args.models);
    for (name, trained) in names.iter().zip(&models) {
        comparison.add(halt, name, trained, (Manner::Chat, true), output)?;
    }
    let pairs: Vec<(&str, &str)> = (0..names.len())
        .flat_map(|i| (i + 1..names.len()).map(move |j| (i, j)))
        .map(|(i, j)| (names[i].as_str(), names[j].as_str()))
        .collect();
    output.say(format_args!("\nJudge: {}", judge.name()));
    comparison.judge(halt, judge.as_mut(), &pairs, seed, output)?;
    if let Some(path) = &args.report {
        steps_page::write_comparison(path, &comparison)?;
        output.say(format_args!("\nReport: {}", path.display()));
    }
    let mut object = comparison.json();
    object["prompts"] = json!(args.prompts);
    object["seed"] = json!(seed);
    object["world_seed"] = json!(world_seed);
    object["judge"] = json!(judge.name());
    object["judge_remark"] = json!(judge.remark());
    object["report"] = json!(args.report);
    output.result(&object)
}

/// The models as the user named them; one that is named again gets a number.
fn names(paths: &[PathBuf]) -> Vec<String> {
    let name = |(i, path): (usize, &PathBuf)| match paths[..i].iter().filter(|p| *p == path).count()
    {
        0 => path.display().to_string(),
        before => format!("{} ({})", path.display(), before + 1),
    };
    paths.iter().enumerate().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_is_named_twice_gets_a_number() {
        let paths = ["a", "b", "a"].map(PathBuf::from);
        assert_eq!(names(&paths), ["a", "b", "a (2)"]);
    }
}
