//! What all stages of a run will cost together, told before the first of them begins.
//!
//! Each stage tells its own plan again when its turn comes (`stage.rs`, `align/memory.rs`), then with the tokenizer's true vocabulary. What has no
//! arithmetic beforehand is left out and said to be: drawing answers, questions, comparisons.

use anyhow::Result;
use gigaro_models::GptConfig;
use gigaro_train::quantity::{Bytes, Count, Seconds};

use super::align::answers::most_answer_tokens;
use super::align::small::scaled;
use super::prepare::TOKENIZER;
use super::pretrain::model_config;
use super::{Job, pretrain, sft, stage};
use crate::commands;
use crate::output::Output;
use crate::recipe::{Ppo, Recipe, Reward, TokenizerKind};

/// About so many different characters a text has, where each is a token.
const CHARACTERS: usize = 128;

/// One stage.
struct Line {
    name: String,
    parameters: u64,
    flops: f64,
    memory_bytes: u64,
}

/// Says what the stages of the job's recipe will cost, one by one and together.
///
/// # Errors
/// If pretraining or fine-tuning would not fit into memory, or the tokenizer cannot be read.
pub(crate) fn tell(job: &Job, output: &Output) -> Result<()> {
    let recipe = &job.recipe;
    let vocab = vocabulary(job)?;
    let mut lines = stages(job, recipe, vocab, "")?;
    if let (Some(small), Some(_)) = (&recipe.small, &recipe.ppo) {
        lines.extend(stages(job, &scaled(recipe, small), vocab, ", small model")?);
    }
    let rate = stage::expected_flops_per_s(job);
    let told = |flops: f64| format!("{flops:.1e} FLOPs, {}", Seconds(flops / rate));
    let mut pairs: Vec<(&str, String)> = Vec::new();
    for line in &lines {
        let (parameters, memory) = (Count(line.parameters as f64), Bytes(line.memory_bytes));
        let cost = told(line.flops);
        pairs.push((
            &line.name,
            format!("{cost}, {memory}, {parameters} parameters"),
        ));
    }
    let all = lines.iter().map(|line| line.flops).sum();
    let most = lines.iter().map(|line| line.memory_bytes).max();
    pairs.push((
        "together",
        format!("{}, at most {}", told(all), Bytes(most.unwrap_or(0))),
    ));
    output.fields("\nPlan of the whole run", &pairs);
    output.say(format_args!(
        "  (time at {:.0} % of this machine's peak, which small models miss; preparing text, drawing answers and examining come on top)",
        100.0 * stage::EXPECTED_SHARE
    ));
    Ok(())
}

/// Tokens in the vocabulary, as far as it is known before the text is read.
fn vocabulary(job: &Job) -> Result<usize> {
    let (own, wanted) = (job.out.join(TOKENIZER), &job.recipe.tokenizer);
    if job.resumed && own.is_file() {
        return Ok(commands::tokenizer::open(&own)?.vocab_size());
    }
    Ok(match (&wanted.path, wanted.kind) {
        (Some(path), _) => commands::tokenizer::open(path)?.vocab_size(),
        (None, TokenizerKind::Bpe) => wanted.vocab_size,
        (None, TokenizerKind::Characters) => CHARACTERS,
    })
}

fn stages(job: &Job, recipe: &Recipe, vocab: usize, whose: &str) -> Result<Vec<Line>> {
    let config = model_config(&recipe.model, vocab);
    let line = |name: &str, flops: f64, memory_bytes: u64| Line {
        name: format!("{name}{whose}"),
        parameters: config.num_params(),
        flops,
        memory_bytes,
    };
    let paces = [
        Some(pretrain::pace(&recipe.pretrain)),
        recipe.sft.as_ref().map(sft::pace),
    ];
    let mut lines = Vec::new();
    for pace in paces.into_iter().flatten() {
        let plan = stage::estimate(job, &config, &pace, None)?;
        lines.push(line(pace.name, plan.flops(), plan.memory.total()));
    }
    // The small model is aligned against the reward model of the big one.
    if let Some(reward) = recipe.reward.as_ref().filter(|_| whose.is_empty()) {
        let rows = reward.batch_size * reward.answers;
        lines.push(line(
            "reward model",
            of_reward(reward, &config),
            held(&config, rows, 4),
        ));
    }
    if let Some(ppo) = &recipe.ppo {
        let rows = ppo.batch_size / ppo.minibatches.max(1);
        lines.push(line("ppo", of_ppo(ppo, &config), held(&config, rows, 6)));
    }
    Ok(lines)
}

/// Answers and prompts of the small world are about as long as each other.
fn exchange_tokens(answer: usize, config: &GptConfig) -> f64 {
    (2 * answer).min(config.max_seq_len) as f64
}

fn of_reward(reward: &Reward, config: &GptConfig) -> f64 {
    let tokens = exchange_tokens(most_answer_tokens(config.max_seq_len), config);
    let answers = (reward.steps * reward.batch_size) as f64 * reward.answers as f64;
    answers * tokens * config.flops_per_token(config.max_seq_len) as f64
}

fn of_ppo(ppo: &Ppo, config: &GptConfig) -> f64 {
    let tokens = exchange_tokens(ppo.max_answer_tokens, config);
    let answers = (ppo.steps * ppo.batch_size) as f64;
    // The policy before its updates, the reference and the reward model each read an answer, a third of training on it.
    let passes = ppo.ppo_epochs as f64 + 1.0;
    answers * tokens * passes * config.flops_per_token(config.max_seq_len) as f64
}

/// Bytes of so many f32 numbers per parameter, and of the activations of so many rows.
fn held(config: &GptConfig, rows: usize, numbers: u64) -> u64 {
    let tokens = rows.saturating_mul(config.max_seq_len);
    let activations = config.memory_estimate(tokens, false).activations;
    (4 * numbers * config.num_params()).saturating_add(activations)
}
