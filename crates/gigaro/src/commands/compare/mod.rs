//! `gigaro compare`: models on the same held-out prompts: what each does, and whose answers are preferred.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Result;
use gigaro_data::Tokenizer;
use gigaro_data::chat::{ChatFormat, Message};
use gigaro_data::world::Prompt;
use gigaro_train::answers::Answer;
use gigaro_train::evaluate::{Judge, ScoreJudge};
use gigaro_train::reward::frozen_rewards;
use serde_json::json;

use crate::flags::ComputeArgs;
use crate::interrupt;
use crate::output::Output;
use crate::pipeline::align::compare::{Comparison, Exam, Manner, truth};
use crate::pipeline::align::{reward, steps_page};
use crate::pipeline::job::{Halt, recipe_of};
use crate::trained::Trained;

const EXAMPLE: &str = "\
Examples:
  gigaro compare runs/speedrun/ppo runs/speedrun/sft runs/speedrun/pretrain
  gigaro compare runs/a-dpo runs/a-kto --judge reward:runs/judge --report dpo-kto.html";

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

    /// Who judges: `truth`, the small world's own, or `reward:DIR`, a reward model that none of them was trained against
    #[arg(long, value_name = "WHO", default_value = "truth")]
    judge: Who,

    /// Page with tables and answers side by side
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

/// Who judges.
#[derive(Clone, Debug)]
enum Who {
    Truth,
    Reward(PathBuf),
}

impl FromStr for Who {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "truth" => Ok(Self::Truth),
            Some(("reward", dir)) if !dir.is_empty() => Ok(Self::Reward(dir.into())),
            _ => Err("give `truth`, or `reward:DIR` with the folder of a reward model".into()),
        }
    }
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    args.compute.set_threads();
    let models: Vec<Trained> = args
        .models
        .iter()
        .map(|path| Trained::open(path))
        .collect::<Result<_>>()?;
    let mut judge: Box<dyn Judge> = match &args.judge {
        Who::Truth => Box::new(truth()),
        Who::Reward(dir) => by_reward(dir)?,
    };
    // The world that the models learned about is that of the run's seed.
    let recipe = recipe_of(&models[0].dir)?;
    let own = recipe.map_or(1, |recipe| recipe.run.seed);
    let seed = args.compute.seed.unwrap_or(own);
    let stop = interrupt::catch("stopping")?;
    let halt = Halt {
        stop: &stop,
        job: None,
    };
    let mut comparison = Comparison::new(Exam::new(seed, args.prompts as usize));
    let names = names(&args.models);
    for (name, trained) in names.iter().zip(&models) {
        comparison.add(halt, name, trained, (Manner::Chat, true), output)?;
    }
    let pairs: Vec<(&str, &str)> = (0..names.len())
        .flat_map(|i| (i + 1..names.len()).map(move |j| (i, j)))
        .map(|(i, j)| (names[i].as_str(), names[j].as_str()))
        .collect();
    output.say(format_args!("\nJudge: {}", judge.name()));
    comparison.judge(judge.as_mut(), &pairs, seed, output)?;
    if let Some(path) = &args.report {
        steps_page::write_comparison(path, &comparison)?;
        output.say(format_args!("\nReport: {}", path.display()));
    }
    let mut object = comparison.json();
    object["prompts"] = json!(args.prompts);
    object["seed"] = json!(seed);
    object["judge"] = json!(judge.name());
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

/// A reward model as judge. It reads text in tokens of its own, so it need not share the models' tokenizer.
fn by_reward(dir: &Path) -> Result<Box<dyn Judge>> {
    let (model, json) = reward::open(dir)?;
    let place = format!("the tokenizer of {}", dir.display());
    let format = ChatFormat::new(&Tokenizer::from_json(&json, &place)?)?;
    let context = model.trunk.config.max_seq_len;
    // A model meets several others with the same answers.
    let known: RefCell<HashMap<(String, String), f64>> = RefCell::default();
    let score = move |prompt: &Prompt, answer: &str| -> gigaro_train::Result<f64> {
        let key = (prompt.text.clone(), answer.to_owned());
        if let Some(score) = known.borrow().get(&key) {
            return Ok(*score);
        }
        let asked = format.prompt(&[Message::user(&prompt.text)]);
        let mut tokens = format.answer(answer);
        tokens.truncate(context.saturating_sub(asked.len()));
        // What the judge cannot read decides nothing.
        let score = if tokens.is_empty() {
            f64::NAN
        } else {
            let answer = Answer {
                prompt: &asked,
                tokens: &tokens,
            };
            f64::from(frozen_rewards(&model, &[answer], 1)[0])
        };
        known.borrow_mut().insert(key, score);
        Ok(score)
    };
    let name = format!("reward model in {}", dir.display());
    Ok(Box::new(ScoreJudge::new(name, score)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_judge_is_the_truth_or_a_reward_model() {
        assert!(matches!("truth".parse(), Ok(Who::Truth)));
        let folder = "reward:runs/a:b".parse();
        assert!(matches!(folder, Ok(Who::Reward(dir)) if dir == Path::new("runs/a:b")));
        for wrong in ["", "reward", "reward:", "human:me"] {
            let said = wrong.parse::<Who>().expect_err(wrong);
            assert!(said.contains("reward:DIR"), "{said}");
        }
    }

    #[test]
    fn a_model_that_is_named_twice_gets_a_number() {
        let paths = ["a", "b", "a"].map(PathBuf::from);
        assert_eq!(names(&paths), ["a", "b", "a (2)"]);
    }
}
