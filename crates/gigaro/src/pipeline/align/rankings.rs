//! Answers and who prefers which: drawn from the fine-tuned model and ranked by the simulated labeller.
//!
//! Preferences from files are read in `preferences.rs`, into the same type.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use gigaro_data::chat::Message;
use gigaro_data::world::{Labeller, Prompt, World};
use gigaro_models::generate::{Completion, FinishReason, SamplingParams};
use gigaro_train::preference::{JudgedAnswer, RankedAnswer, Ranking};
use serde_json::json;

use super::answers::{Asked, answer, most_answer_tokens, said};
use crate::pipeline::{Job, stage};
use crate::recipe::Reward;
use crate::trained::Trained;
use crate::turns::Turns;

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
/// Of the answers to a request for help or harm one is not the model's, but of a hand that misjudged the request, as the rankings
/// of InstructGPT had answers from several sources: a model that rarely refuses what is harmless gives a reward model hardly
/// anything to learn from that this is bad.
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
    let world = World::new(job.recipe.data.world_seed);
    let labeller = Labeller::truth().with_noise(recipe.noise, seed);
    let turns = Turns::of(trained)?;
    let prompts = world.alignment_prompts(seed);
    let asked = Asked::that_fit(recipe.prompts, prompts, &turns, trained.context())?;
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
    let mut completions = answer(job.halt(), trained, &repeated, &params, stage::dtype(job))?;
    let path = dir.join(FILE_NAME);
    let shown = path.display();
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let file = File::create(&path).with_context(|| format!("cannot write {shown}"))?;
    let mut file = BufWriter::new(file);
    let mut all = Vec::with_capacity(asked.prompts.len());
    for (i, prompt) in asked.prompts.iter().enumerate() {
        let group = &mut completions[i * recipe.answers..(i + 1) * recipe.answers];
        if let (Some(text), Some(last)) = (&prompt.misjudged, group.last_mut()) {
            *last = written(prompt, text, &turns)?;
        }
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
        labeller: format!(
            "{}; one answer to each request for help or harm is not the model's, but misjudges it",
            labeller.describe()
        ),
    })
}

/// An answer to a prompt that no model drew.
fn written(prompt: &Prompt, text: &str, turns: &Turns) -> Result<Completion> {
    Ok(Completion {
        tokens: turns.answer(&[Message::user(&prompt.text)], text)?,
        logprobs: Vec::new(),
        text: text.to_owned(),
        finish_reason: FinishReason::Stop,
    })
}

/// The place of each answer, 1 for the best. Answers between which the labeller sees no difference share one: to a person who
/// looks for what is right, two answers that are as wrong and as courteous are level, and ranking them would teach noise.
/// What was cut off comes last.
fn ranks(
    labeller: &Labeller,
    prompt: &Prompt,
    completions: &[Completion],
    texts: &[String],
) -> Vec<u32> {
    let cut_off = |i: usize| completions[i].finish_reason == FinishReason::Length;
    let seen = |i: usize| (cut_off(i), labeller.score(prompt, &texts[i]).total);
    // One answer stands for all that look alike to the labeller.
    let mut first: Vec<usize> = Vec::new();
    for i in 0..texts.len() {
        if !first.iter().any(|&j| seen(j) == seen(i)) {
            first.push(i);
        }
    }
    let standing: Vec<String> = first.iter().map(|&i| texts[i].clone()).collect();
    let order = labeller.rank(prompt, &standing);
    let (whole, cut): (Vec<usize>, Vec<usize>) = order
        .into_iter()
        .map(|place| first[place])
        .partition(|&i| !cut_off(i));
    let places: Vec<usize> = whole.into_iter().chain(cut).collect();
    let rank = |i: usize| places.iter().position(|&j| seen(j) == seen(i));
    (0..texts.len())
        .map(|i| rank(i).map_or(places.len(), |place| place + 1) as u32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_alike_to_the_labeller_is_level_and_what_was_cut_off_comes_last() {
        let prompt = World::new(1)
            .alignment_prompts(1)
            .find(|p| p.question.is_some())
            .expect("a question");
        let right = prompt.ideal.clone();
        let texts = [
            "It is not so.".to_owned(),
            right.clone(),
            "It is like this.".to_owned(),
            format!("Certainly. {right}"),
            right,
        ];
        let completion = |reason| Completion {
            tokens: vec![1],
            logprobs: vec![0.0],
            text: String::new(),
            finish_reason: reason,
        };
        let mut completions = vec![completion(FinishReason::Stop); 5];
        completions[4] = completion(FinishReason::Length);
        let ranks = ranks(&Labeller::truth(), &prompt, &completions, &texts);
        assert_eq!(ranks, [3, 2, 3, 1, 4]);
    }
}
