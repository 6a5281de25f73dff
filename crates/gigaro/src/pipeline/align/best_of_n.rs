//! Best of N: several answers to each prompt, the best by a reward model kept as a conversation, and fine-tuning on what was kept.
//!
//! The conversations stay in the run's folder as JSON lines that `gigaro sft --chats` reads.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use gigaro_data::chat::Message;
use gigaro_models::RewardModel;
use gigaro_serve::engine::Words;
use gigaro_tensor::{Generator, autocast};
use gigaro_train::best_of_n::{Chosen, best_of_n as choose, kl_of_best_of_n};
use gigaro_train::rollout::Sampling;
use serde_json::json;

use super::answers::{Asked, SLOTS};
use super::online::{asked, sampling};
use super::reward;
use super::scorers::RewardScorer;
use crate::output::Output;
use crate::pipeline::record;
use crate::pipeline::sft::sft;
use crate::pipeline::{Job, StageResult, stage};
use crate::recipe::{Align, Optimizer, Sft};
use crate::trained::Trained;

/// The kept answers in a run's folder.
pub(crate) const FILE_NAME: &str = "best_of_n.jsonl";

/// Fine-tunes the model in `from` on the best of its own answers by the reward model in `judge`, into the stage's folder `dir`.
///
/// # Errors
/// If the two do not belong together, memory or disk do not suffice, training breaks down, or the user stops it.
pub(crate) fn best_of_n(
    job: &Job,
    recipe: &Align,
    from: &Trained,
    judge: &Path,
    dir: &Path,
    output: &Output,
) -> Result<StageResult> {
    let rewards = reward::open_for(judge, from)?;
    let path = dir.join(FILE_NAME);
    // Written at once when all is drawn, so what is there is whole.
    if !(job.resumed && path.is_file()) {
        draw(job, recipe, from, &rewards, &path, output)?;
    }
    drop(rewards);
    let recipe = Sft {
        from: Some(from.dir.clone()),
        chats: Some(path),
        world_dialogues: 0,
        steps: recipe.steps,
        batch_size: recipe.batch_size,
        optimizer: Optimizer::Adamw,
        learning_rate: recipe.learning_rate,
        muon_learning_rate: recipe.learning_rate,
        embedding_learning_rate: None,
        warmup_steps: recipe.warmup_steps,
        weight_decay: 0.0,
        save_every: recipe.eval_every,
        lora_r: None,
        lora_alpha: None,
        lora_targets: None,
    };
    sft(job, &recipe, &from.dir, dir, output)
}

/// Draws answers, keeps the best, and writes them as conversations.
fn draw(
    job: &Job,
    recipe: &Align,
    from: &Trained,
    rewards: &RewardModel,
    path: &Path,
    output: &Output,
) -> Result<()> {
    let (world, seed) = (job.recipe.data.world_seed, job.recipe.run.seed);
    let asked = asked(recipe, recipe.prompts, from, (world, seed ^ 1))?;
    let (n, prompts) = (recipe.answers, asked.prompts.len());
    output.say(format_args!(
        "\nDrawing {n} answers to each of {prompts} prompts; at most {:.2} nats per answer from the start",
        kl_of_best_of_n(n)
    ));
    let mut scorer = RewardScorer {
        model: rewards,
        missing_eos_penalty: Some(recipe.missing_eos_penalty),
    };
    let words = Words(from.tokenizer.clone());
    let streams = Generator::new(seed);
    let mut kept: Vec<Chosen> = Vec::with_capacity(prompts);
    for (i, part) in asked.tokens.chunks(SLOTS).enumerate() {
        job.check_stop("Stopped while drawing answers")?;
        let sampling = Sampling {
            prompts: part.len(),
            ..sampling(recipe, streams.fork(i as u64).next_u64())
        };
        let best = autocast(stage::dtype(job), || {
            choose(&from.model, part, &sampling, &mut scorer, &words)
        });
        kept.extend(best?);
    }
    let mean = |scores: &mut dyn Iterator<Item = f64>| {
        let (sum, count) = scores.fold((0.0, 0), |(sum, n), score| (sum + score, n + 1));
        sum / f64::from(count.max(1))
    };
    output.fields(
        "Mean score by the reward model",
        &[
            (
                "of all answers",
                format!(
                    "{:.3}",
                    mean(&mut kept.iter().flat_map(|c| c.scores.iter().copied()))
                ),
            ),
            (
                "of those kept",
                format!("{:.3}", mean(&mut kept.iter().map(|c| c.score))),
            ),
        ],
    );
    write(path, &asked, &kept)
}

/// One conversation per line, with its scores; the file appears whole or not at all.
fn write(path: &Path, asked: &Asked, kept: &[Chosen]) -> Result<()> {
    let mut lines = String::new();
    for (prompt, chosen) in asked.prompts.iter().zip(kept) {
        let conversation = chosen.conversation(&[Message::user(&prompt.text)]);
        let line = json!({
            "messages": conversation.messages,
            "score": chosen.score,
            "scores": chosen.scores,
        });
        writeln!(lines, "{line}").expect("memory takes text");
    }
    record::replace(path, &lines)
}
