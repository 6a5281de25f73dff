//! Questions about the small world whose true answers are known: an answer is right or wrong, exactly.
//!
//! The questions were never asked where the model learned. Answers are drawn greedily, so the result is the same every time.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;
use gigaro_data::chat::{Message, message_text};
use gigaro_data::world::{HeldOut, Question, World};
use gigaro_models::generate::{BatchRequest, SamplingParams};
use gigaro_train::interrupt::StopFlag;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::flags::Precision;
use crate::output::Output;
use crate::recipe::Evaluate;
use crate::trained::Trained;
use crate::turns::Turns;

/// How many questions of a group were asked, and how many answered rightly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Score {
    pub(crate) asked: usize,
    pub(crate) right: usize,
}

impl Score {
    /// The share of right answers; 0 if nothing was asked.
    pub(crate) fn accuracy(self) -> f64 {
        self.right as f64 / self.asked.max(1) as f64
    }

    fn count(&mut self, right: bool) {
        self.asked += 1;
        self.right += usize::from(right);
    }
}

/// A question with what the model said to it.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub(crate) question: Question,
    pub(crate) answer: String,
    pub(crate) right: bool,
}

/// An exam that was taken to its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExamResult {
    pub(crate) all: Score,
    /// By what is asked: `capital`, `sum` ..
    pub(crate) by_kind: BTreeMap<&'static str, Score>,
    /// By why the question is held out.
    pub(crate) by_reason: BTreeMap<&'static str, Score>,
    pub(crate) answers: Vec<Answered>,
    pub(crate) seconds: f64,
}

/// Asks the held-out questions of the world of `world_seed`; `None` if the user stopped it.
///
/// # Errors
/// If the model's tokenizer has no tokens for turns and no chat template (or a damaged one), or its weights give no usable logits.
pub(crate) fn examine(
    trained: &Trained,
    world_seed: u64,
    recipe: &Evaluate,
    dtype: Precision,
    stop: &StopFlag,
) -> Result<Option<ExamResult>> {
    let start = Instant::now();
    let questions = World::new(world_seed).exam(recipe.questions_per_kind);
    let turns = Turns::of(trained)?;
    let params = SamplingParams {
        max_tokens: recipe.max_answer_tokens,
        ..SamplingParams::greedy()
    };
    let requests = questions.iter().map(|question| {
        Ok(BatchRequest {
            prompt: turns.prompt(&[Message::user(&question.text)])?,
            params: params.clone(),
        })
    });
    let mut requests: Vec<BatchRequest> = requests.collect::<Result<_>>()?;
    // A question longer than the model can read is one it cannot answer.
    let readable = |r: &BatchRequest| r.prompt.len() < trained.context();
    let fits: Vec<bool> = requests.iter().map(readable).collect();
    requests.retain(readable);
    let bar = Output::has_bars().then(|| ProgressBar::new(requests.len() as u64));
    let mut go_on = |done: usize| {
        if let Some(bar) = &bar {
            bar.set_position(done as u64);
        }
        !stop.is_requested()
    };
    let completions = trained.continue_all(&requests, dtype, &mut go_on)?;
    let Some(completions) = completions else {
        return Ok(None);
    };
    let mut completions = completions.into_iter();
    let mut result = ExamResult::default();
    for (question, fits) in questions.into_iter().zip(fits) {
        let completion = fits.then(|| completions.next()).flatten();
        let answer = completion.map_or_else(String::new, |c| message_text(&c.text).to_string());
        result.count(question, answer);
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    result.seconds = start.elapsed().as_secs_f64();
    Ok(Some(result))
}

impl ExamResult {
    fn count(&mut self, question: Question, answer: String) {
        let right = question.is_correct(&answer);
        let reason = match question.reason {
            Some(HeldOut::Fact) => "fact told but never asked",
            Some(HeldOut::Phrasing) => "known fact in new words",
            Some(HeldOut::Argument) => "new word, sum or list",
            None => "seen in training",
        };
        self.all.count(right);
        self.by_kind.entry(question.kind).or_default().count(right);
        self.by_reason.entry(reason).or_default().count(right);
        self.answers.push(Answered {
            question,
            answer,
            right,
        });
    }

    /// The result in lines for a person.
    pub(crate) fn lines(&self) -> Vec<(&'static str, String)> {
        let score =
            |s: &Score| format!("{:.1} % ({} of {})", 100.0 * s.accuracy(), s.right, s.asked);
        let groups = self.by_reason.iter().map(|(name, s)| (*name, score(s)));
        std::iter::once(("exactly right", score(&self.all)))
            .chain(groups)
            .collect()
    }

    /// The result for a program.
    pub(crate) fn json(&self) -> Value {
        let group = |scores: &BTreeMap<&'static str, Score>| -> Value {
            let one =
                |s: &Score| json!({ "asked": s.asked, "right": s.right, "accuracy": s.accuracy() });
            scores
                .iter()
                .map(|(name, s)| ((*name).to_owned(), one(s)))
                .collect::<serde_json::Map<String, Value>>()
                .into()
        };
        json!({
            "accuracy": self.all.accuracy(),
            "asked": self.all.asked,
            "right": self.all.right,
            "by_kind": group(&self.by_kind),
            "by_reason": group(&self.by_reason),
            "seconds": self.seconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn true_answers_are_right_and_others_wrong_in_every_group() {
        let mut result = ExamResult::default();
        for question in World::new(1).exam(1) {
            let truth = question.answer.clone();
            result.count(question.clone(), truth);
            result.count(question, "surely not this".into());
        }
        assert!(result.all.asked > 50);
        for score in result
            .by_kind
            .values()
            .chain(result.by_reason.values())
            .chain([&result.all])
        {
            assert_eq!(score.right * 2, score.asked);
        }
        assert_eq!(result.json()["accuracy"], 0.5);
        assert_eq!(Score::default().accuracy(), 0.0);
    }
}
