//! Answers and who prefers which: drawn from the fine-tuned model and ranked by the simulated labeller.
//!
//! Preferences from files are read in `preferences.rs`, into the same type.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use gigaro_data::chat::ChatFormat;
use gigaro_data::world::{Labeller, Prompt, World};
use gigaro_models::generate::{Completion, FinishReason, SamplingParams};
use gigaro_train::preference::{JudgedAnswer, RankedAnswer, Ranking};
use serde_json::json;

use super::answers::{Asked, answer, most_answer_tokens, said};
use crate::pipeline::{Job, stage};
use crate::recipe::Reward;
use crate::trained::Trained;

/// The rankings of a run, in the folder of its reward model.
pub(crate) const FILE_NAME: &str = "rankings.jsonl";

/// Prompts with ranked answers, and who ranked them.
pub(crate) struct Rankings {
    pub(crate) all: Vec<Ranking>,
    /// Answers that were judged alone, as good or bad.
    pub(crate) judged: Vec<JudgedAnswer>,
    /// In a few words.
    pub(crate) labeller: String,
}

/// Has the model in `trained` answer training prompts of the small world `answers` times each, and the simulated labeller rank
/// the answers. They are written to `dir` as well.
///
/// # Errors
/// If the model cannot answer, the disk refuses, or the user stops it.
pub(crate) fn simulated(
    job: &Job,
    recipe: &Reward,
    trained: &Trained,
    dir: &Path,
) -> Result<Rankings> {
    let seed = job.recipe.run.seed;
    let world = World::new(seed);
    let labeller = Labeller::truth().with_noise(recipe.noise, seed);
    let format = ChatFormat::new(&trained.tokenizer)?;
    let prompts = world.alignment_prompts(seed);
    let asked = Asked::that_fit(recipe.prompts, prompts, &format, trained.context())?;
    let repeated: Vec<Vec<u32>> = asked
        .tokens
        .iter()
        .flat_map(|tokens| std::iter::repeat_n(tokens.clone(), recipe.answers))
        .collect();
    let params = SamplingParams {
        max_tokens: most_answer_tokens(trained.context()),
        temperature: recipe.temperature as f32,
        seed,
        ..SamplingParams::default()
    };
    let completions = answer(job.halt(), trained, &repeated, &params, stage::dtype(job))?;
    let path = dir.join(FILE_NAME);
    let shown = path.display();
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let file = File::create(&path).with_context(|| format!("cannot write {shown}"))?;
    let mut file = BufWriter::new(file);
    let mut all = Vec::with_capacity(asked.prompts.len());
    for (i, prompt) in asked.prompts.iter().enumerate() {
        let group = &completions[i * recipe.answers..(i + 1) * recipe.answers];
        let texts: Vec<String> = group.iter().map(said).collect();
        let ranks = ranks(&labeller, prompt, group, &texts);
        let line = json!({ "prompt": prompt.text, "answers": texts, "ranks": ranks });
        writeln!(file, "{line}").with_context(|| format!("cannot write {shown}"))?;
        let answers = group
            .iter()
            .zip(&ranks)
            .map(|(completion, &rank)| RankedAnswer {
                tokens: completion.tokens.clone(),
                rank,
            });
        all.push(Ranking {
            prompt: asked.tokens[i].clone(),
            answers: answers.collect(),
        });
    }
    file.flush()
        .with_context(|| format!("cannot write {shown}"))?;
    Ok(Rankings {
        all,
        judged: Vec::new(),
        labeller: labeller.describe(),
    })
}

/// The place of each answer, 1 for the best; equal texts share one, and what was cut off comes last.
fn ranks(
    labeller: &Labeller,
    prompt: &Prompt,
    completions: &[Completion],
    texts: &[String],
) -> Vec<u32> {
    let order = labeller.rank(prompt, texts);
    let mut ranks = vec![0; texts.len()];
    let mut rank = 0;
    let cut_off = |i: usize| completions[i].finish_reason == FinishReason::Length;
    let (whole, cut): (Vec<usize>, Vec<usize>) = order.into_iter().partition(|&i| !cut_off(i));
    let mut before: Option<usize> = None;
    for i in whole.into_iter().chain(cut) {
        // The labeller's error is drawn per text, so equal texts follow each other.
        let same = before.is_some_and(|j| texts[i] == texts[j] && cut_off(i) == cut_off(j));
        if !same {
            rank += 1;
        }
        ranks[i] = rank;
        before = Some(i);
    }
    ranks
}
