//! Tasks of a file, put to a model as EleutherAI's lm-evaluation-harness puts them: so that its figures, got through the API of a
//! served model, are these to the last item.
//!
//! A choice is scored by the log-probability of a space and its text after the question; words are drawn greedily up to the end of the line.
//! The text stands alone: no token before it, no chat format. What counts as right is in `gigaro_train::evaluate`.

use anyhow::{Context, Result};
use gigaro_data::tasks::{Task, TaskAnswer};
use gigaro_models::generate::logprobs::top_logprobs;
use gigaro_models::generate::{BatchRequest, SamplingParams};
use gigaro_nn::Mode;
use gigaro_tensor::{DType, Tensor, autocast, no_grad};
use gigaro_train::evaluate::{ChoiceScore, TaskScore};
use gigaro_train::interrupt::StopFlag;
use indicatif::ProgressBar;

use crate::flags::Precision;
use crate::output::Output;
use crate::trained::Trained;

/// Most tokens of an answer in words.
const MAX_ANSWER_TOKENS: usize = 32;

/// What the model makes of each task, in order; `None` if the user stopped it.
///
/// # Errors
/// If the weights give no usable logits.
pub(crate) fn put(
    trained: &Trained,
    tasks: &[Task],
    dtype: Precision,
    stop: &StopFlag,
) -> Result<Option<Vec<TaskScore>>> {
    let bar = Output::has_bars().then(|| ProgressBar::new(tasks.len() as u64));
    let Some(written) = write(trained, tasks, dtype, stop)? else {
        return Ok(None);
    };
    let mut written = written.into_iter();
    let mut scores = Vec::with_capacity(tasks.len());
    for task in tasks {
        if stop.is_requested() {
            return Ok(None);
        }
        scores.push(match &task.answer {
            TaskAnswer::Choice { choices, right } => TaskScore::Choice {
                scores: choices
                    .iter()
                    .map(|choice| score(trained, &task.question, choice, dtype))
                    .collect(),
                right: *right,
            },
            TaskAnswer::Words(truth) => TaskScore::Words {
                written: written
                    .next()
                    .context("an answer in words is missing: this is a bug of gigaro")?,
                truth: truth.clone(),
            },
        });
        if let Some(bar) = &bar {
            bar.inc(1);
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Ok(Some(scores))
}

/// The answers in words, of the tasks that want them.
fn write(
    trained: &Trained,
    tasks: &[Task],
    dtype: Precision,
    stop: &StopFlag,
) -> Result<Option<Vec<String>>> {
    let params = SamplingParams {
        max_tokens: MAX_ANSWER_TOKENS,
        stop: vec!["\n".to_owned()],
        ..SamplingParams::greedy()
    };
    // Of a question that is too long the end counts, and the answer needs room.
    let longest = trained
        .context()
        .saturating_sub(MAX_ANSWER_TOKENS + 1)
        .max(1);
    let wanted = tasks.iter().filter_map(|task| match task.answer {
        TaskAnswer::Words(_) => Some(&task.question),
        TaskAnswer::Choice { .. } => None,
    });
    let requests: Vec<BatchRequest> = wanted
        .map(|question| BatchRequest {
            prompt: last(&trained.tokenizer.encode(question), longest).to_vec(),
            params: params.clone(),
        })
        .collect();
    let completions = trained.continue_all(&requests, dtype, &mut |_| !stop.is_requested())?;
    Ok(completions.map(|all| all.into_iter().map(|completion| completion.text).collect()))
}

/// The log-probability of a choice after a question.
///
/// The two are tokenised together and then cut where the question alone would end: a token that reaches over the border counts as the
/// question's.
fn score(trained: &Trained, question: &str, choice: &str, dtype: Precision) -> ChoiceScore {
    // Space at the end of a question belongs to what follows.
    let context = question.trim_end();
    let whole = trained.tokenizer.encode(&format!("{question} {choice}"));
    let first = trained.tokenizer.encode(context).len().min(whole.len());
    let scored = whole.len() - first;
    // One token of the context is left for a reply, as a server needs it.
    let text = last(&whole, trained.context().saturating_sub(1).max(1));
    let logprobs = token_logprobs(trained, text, dtype);
    let from = logprobs.len().saturating_sub(scored);
    ChoiceScore {
        log_likelihood: logprobs[from..]
            .iter()
            .map(|&logprob| f64::from(logprob))
            .sum(),
        characters: choice.chars().count(),
    }
}

/// Of a text's tokens from the second on.
fn token_logprobs(trained: &Trained, text: &[u32], dtype: Precision) -> Vec<f32> {
    if text.len() < 2 {
        return Vec::new();
    }
    let ids: Vec<i64> = text.iter().map(|&id| id.into()).collect();
    let ids = Tensor::from_vec(ids, [1, text.len()]);
    let logits = autocast(dtype.dtype(), || {
        no_grad(|| trained.model.forward(&ids, &Mode::Eval))
    });
    let logits = logits.to_dtype(DType::F32).to_vec::<f32>();
    logits
        .chunks(trained.model.config.vocab_size)
        .zip(&text[1..])
        .map(|(row, &token)| top_logprobs(row, token, 0).chosen)
        .collect()
}

/// The last of the tokens, at most `most`.
fn last(ids: &[u32], most: usize) -> &[u32] {
    &ids[ids.len().saturating_sub(most)..]
}
