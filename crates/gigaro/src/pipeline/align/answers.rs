//! Many prompts answered by one model, many at a time.

use std::collections::HashMap;

use anyhow::{Context, Result};
use gigaro_data::chat::{ChatFormat, Message, message_text};
use gigaro_data::world::Prompt;
use gigaro_models::generate::{BatchRequest, Completion, SamplingParams, generate_batch};
use gigaro_tensor::{DType, Generator, autocast};

use crate::pipeline::Job;
use crate::trained::{Trained, Words};

/// Replies that are written at the same time.
pub(crate) const SLOTS: usize = 64;

/// The prompts of the small world as a model reads them, and the way back.
pub(crate) struct Asked {
    /// Token ids, one per prompt.
    pub(crate) tokens: Vec<Vec<u32>>,
    by_tokens: HashMap<Vec<u32>, Prompt>,
}

impl Asked {
    /// Writes each prompt as the one message of a conversation.
    pub(crate) fn new(prompts: &[Prompt], format: &ChatFormat) -> Self {
        let written = |p: &Prompt| format.prompt(&[Message::user(&p.text)]);
        let tokens: Vec<Vec<u32>> = prompts.iter().map(written).collect();
        let pairs = tokens.iter().cloned().zip(prompts.iter().cloned());
        Self {
            by_tokens: pairs.collect(),
            tokens,
        }
    }

    /// The prompt that was written so.
    pub(crate) fn prompt(&self, tokens: &[u32]) -> Option<&Prompt> {
        self.by_tokens.get(tokens)
    }
}

/// What a model says to each prompt. `params` is for all of them but for the seed, of which each gets its own.
///
/// # Errors
/// If the weights give no usable logits, or the user stops it.
pub(crate) fn answer(
    job: &Job,
    trained: &Trained,
    prompts: &[Vec<u32>],
    params: &SamplingParams,
    dtype: DType,
) -> Result<Vec<Completion>> {
    let stream = Generator::new(params.seed);
    let request = |(i, prompt): (usize, &Vec<u32>)| BatchRequest {
        prompt: prompt.clone(),
        params: SamplingParams {
            seed: stream.fork(i as u64).next_u64(),
            ..params.clone()
        },
    };
    let requests: Vec<BatchRequest> = prompts.iter().enumerate().map(request).collect();
    let mut go_on = |_: usize| !job.stop.is_requested();
    let words = Words(&trained.tokenizer);
    let written = autocast(dtype, || {
        generate_batch(&trained.model, &requests, SLOTS, &words, &mut go_on)
    });
    let shown = trained.dir.display();
    match written.with_context(|| format!("cannot answer with {shown}"))? {
        Some(completions) => Ok(completions),
        None => Err(job.interrupted(&format!("Stopped while answering with {shown}"))),
    }
}

/// The text of an answer as the user reads it.
pub(crate) fn said(completion: &Completion) -> String {
    message_text(&completion.text).trim_end().to_owned()
}
