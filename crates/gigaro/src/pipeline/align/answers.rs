//! Many prompts answered by one model, many at a time.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use gigaro_data::chat::{Message, message_text};
use gigaro_data::world::Prompt;
use gigaro_models::generate::{
    BatchRequest, Completion, FinishReason, SamplingParams, generate_batch,
};
use gigaro_serve::engine::Words;
use gigaro_tensor::{DType, Generator, autocast};

use crate::pipeline::job::Halt;
use crate::trained::Trained;
use crate::turns::Turns;

/// Replies that are written at the same time.
pub(crate) const SLOTS: usize = 64;

/// Most tokens of an answer that is ranked or compared: 64, or half of a short context.
pub(crate) fn most_answer_tokens(context: usize) -> usize {
    64.min(context / 2)
}

/// Of the prompts drawn, how many times as many are looked at as are wanted.
const DRAWS: usize = 8;

/// The prompts of the small world as a model reads them, and the way back.
pub(crate) struct Asked {
    /// What is asked.
    pub(crate) prompts: Vec<Prompt>,
    /// Token ids, one list per prompt.
    pub(crate) tokens: Vec<Vec<u32>>,
    by_tokens: HashMap<Vec<u32>, usize>,
}

impl Asked {
    /// Writes each prompt as the one message of a conversation.
    ///
    /// # Errors
    /// If the model's template refuses it.
    pub(crate) fn new(prompts: Vec<Prompt>, turns: &Turns) -> Result<Self> {
        let written = |p: &Prompt| turns.prompt(&[Message::user(&p.text)]);
        let tokens: Vec<Vec<u32>> = prompts.iter().map(written).collect::<Result<_, _>>()?;
        Ok(Self {
            by_tokens: tokens.iter().cloned().zip(0..).collect(),
            tokens,
            prompts,
        })
    }

    /// The first `n` prompts that leave at least half of the context for the answer.
    ///
    /// # Errors
    /// If none does, or the model's template refuses them.
    pub(crate) fn that_fit(
        n: usize,
        prompts: impl Iterator<Item = Prompt>,
        turns: &Turns,
        context: usize,
    ) -> Result<Self> {
        let mut fitting = Vec::new();
        for prompt in prompts.take(n * DRAWS) {
            if fitting.len() == n {
                break;
            }
            if turns.prompt(&[Message::user(&prompt.text)])?.len() <= context / 2 {
                fitting.push(prompt);
            }
        }
        let asked = Self::new(fitting, turns)?;
        if asked.tokens.is_empty() {
            bail!(
                "no prompt leaves half of the context of {context} tokens for its answer: the model needs a longer one"
            );
        }
        Ok(asked)
    }

    /// Prompts in place of whose words there are their numbers.
    #[cfg(test)]
    pub(crate) fn numbered(prompts: Vec<Prompt>) -> Self {
        let tokens: Vec<Vec<u32>> = (0..prompts.len() as u32).map(|i| vec![i]).collect();
        Self {
            by_tokens: tokens.iter().cloned().zip(0..).collect(),
            tokens,
            prompts,
        }
    }

    /// The prompt that was written so.
    pub(crate) fn prompt(&self, tokens: &[u32]) -> Option<&Prompt> {
        Some(&self.prompts[*self.by_tokens.get(tokens)?])
    }
}

/// What a model says to each prompt; nothing to one that is longer than it can read. `params` is for all of them but for the seed, of which each gets its own.
///
/// # Errors
/// If the weights give no usable logits, or the user stops it.
pub(crate) fn answer(
    halt: Halt<'_>,
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
    let readable = |(_, p): &(usize, &Vec<u32>)| p.len() < trained.context();
    let asked = || prompts.iter().enumerate().filter(readable);
    let requests: Vec<BatchRequest> = asked().map(request).collect();
    let mut go_on = |_: usize| !halt.stop.is_requested();
    let words = Words(trained.tokenizer.clone());
    let written = autocast(dtype, || {
        generate_batch(&trained.model, &requests, SLOTS, &words, &mut go_on)
    });
    let shown = trained.dir.display();
    match written.with_context(|| format!("cannot answer with {shown}"))? {
        Some(completions) => {
            let mut all = vec![nothing(); prompts.len()];
            let places = asked().map(|(i, _)| i);
            places.zip(completions).for_each(|(i, done)| all[i] = done);
            Ok(all)
        }
        None => Err(halt.interrupted(&format!("Stopped while answering with {shown}"))),
    }
}

/// The answer of a model that could not read the prompt.
fn nothing() -> Completion {
    Completion {
        tokens: Vec::new(),
        logprobs: Vec::new(),
        text: String::new(),
        finish_reason: FinishReason::Length,
    }
}

/// The text of an answer as the user reads it.
pub(crate) fn said(completion: &Completion) -> String {
    message_text(&completion.text).trim_end().to_owned()
}
