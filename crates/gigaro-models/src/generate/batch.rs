//! Continuous batching: many requests, so many at a time, and the next prompt takes a row as soon as a reply has ended.
//!
//! A step reads one token for each reply under way, and the whole prompt of each new one, in a single call of the model, which
//! then reads its weights once for all (Yu et al. 2022, "Orca", OSDI). A completion depends on its own request alone: its random
//! stream starts from its own seed, and the model's rows do not depend on each other.
//!
//! Not a server's queue: the requests are known beforehand, and nothing is streamed. One streamed reply is `decoder.rs`.

use gigaro_tensor::Tensor;
use gigaro_tensor::cpu::threads::parallel_chunks_mut;

use super::draft::Draft;
use super::drawn::each_token_logprob;
use super::{FinishReason, SampleError, Sampled, SamplingParams, Vocabulary};
use crate::gpt::{DecodePart, Gpt, KvCache};

/// Tokens of new prompts that one step reads at most, unless a single prompt is longer: bounds the memory of a step.
const PROMPT_TOKENS: usize = 1024;

/// A prompt and how to go on with it.
#[derive(Clone, Debug)]
pub struct BatchRequest {
    /// The tokens to continue.
    pub prompt: Vec<u32>,
    /// How; `logprobs` is not read, since every completion has those of its tokens.
    pub params: SamplingParams,
}

/// What a request led to.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// The tokens that were drawn, including the one that ended the reply, if one did.
    pub tokens: Vec<u32>,
    /// Of each token, under the distribution that it was drawn from:
    /// [`token_logprobs`](super::token_logprobs) at the request's temperature.
    pub logprobs: Vec<f32>,
    /// The text, without what ended it.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
}

/// A reply that occupies a row of the cache.
struct Writing<'a> {
    /// Its place in the list of requests.
    index: usize,
    request: &'a BatchRequest,
    draft: Draft,
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
    drawn: Option<Result<Sampled, SampleError>>,
}

impl<'a> Writing<'a> {
    fn new(index: usize, request: &'a BatchRequest) -> Self {
        Self {
            index,
            request,
            draft: Draft::new(&request.prompt, &request.params),
            tokens: Vec::new(),
            logprobs: Vec::new(),
            drawn: None,
        }
    }

    /// What the model has to read next: the prompt, then the token drawn last.
    fn unread(&self) -> &[u32] {
        match self.tokens.len() {
            0 => &self.request.prompt,
            n => &self.tokens[n - 1..],
        }
    }

    fn complete(mut self, finish_reason: FinishReason) -> Completion {
        self.draft.finish();
        Completion {
            text: self.draft.text().to_owned(),
            tokens: self.tokens,
            logprobs: self.logprobs,
            finish_reason,
        }
    }
}

/// Completes all `requests`, at most `slots` of them at a time, in their order. `go_on` is asked after every step with the number
/// of requests that are done; `None` if it says no.
///
/// Text and reason are those that [`reply`](super::reply()) gives a request alone.
///
/// # Errors
/// If the model's logits are not finite or nothing may be sampled, for any of the requests.
/// # Panics
/// If `slots` is 0, or a prompt is empty or longer than the context.
#[track_caller]
pub fn generate_batch(
    model: &Gpt,
    requests: &[BatchRequest],
    slots: usize,
    vocabulary: &dyn Vocabulary,
    go_on: &mut dyn FnMut(usize) -> bool,
) -> Result<Option<Vec<Completion>>, SampleError> {
    generate_batch_watched(model, requests, slots, vocabulary, &mut |_, _| {}, go_on)
}

/// Sees what the last layer leaves before each token that is drawn: the places of the requests in their list, and a row of `(n, C)`
/// for each of them, the one that its next token's logits are projected from. A head for values reads it, for one.
pub type Watch<'a> = dyn FnMut(&[usize], &Tensor) + 'a;

/// As [`generate_batch`], with somebody who watches.
///
/// # Errors
/// As [`generate_batch`].
/// # Panics
/// As [`generate_batch`].
#[track_caller]
pub fn generate_batch_watched(
    model: &Gpt,
    requests: &[BatchRequest],
    slots: usize,
    vocabulary: &dyn Vocabulary,
    watch: &mut Watch<'_>,
    go_on: &mut dyn FnMut(usize) -> bool,
) -> Result<Option<Vec<Completion>>, SampleError> {
    check(model, requests, slots);
    let slots = slots.min(requests.len());
    let longest = requests
        .iter()
        .map(|r| r.prompt.len().saturating_add(r.params.max_tokens));
    let mut cache = KvCache::with_capacity(model, slots, longest.max().unwrap_or(0));
    let mut rows: Vec<Option<Writing<'_>>> = (0..slots).map(|_| None).collect();
    let mut waiting = requests.iter().enumerate().peekable();
    let mut completions: Vec<Option<Completion>> = vec![None; requests.len()];
    let mut done = 0;
    while done < requests.len() {
        let mut budget = PROMPT_TOKENS;
        for row in rows.iter_mut().filter(|row| row.is_none()) {
            let fits = |(_, r): &(usize, &BatchRequest)| {
                budget == PROMPT_TOKENS || r.prompt.len() <= budget
            };
            let Some((index, request)) = waiting.next_if(fits) else {
                break;
            };
            budget = budget.saturating_sub(request.prompt.len());
            *row = Some(Writing::new(index, request));
        }
        step(model, &mut rows, &mut cache, watch)?;
        for (row, place) in rows.iter_mut().enumerate() {
            let Some(writing) = place else { continue };
            let token = writing.tokens[writing.tokens.len() - 1];
            let taken = writing.draft.take(token, cache.room(row), vocabulary);
            if let Some(reason) = taken.finish_reason
                && let Some(writing) = place.take()
            {
                let index = writing.index;
                completions[index] = Some(writing.complete(reason));
                cache.truncate(row, 0);
                done += 1;
            }
        }
        if !go_on(done) {
            return Ok(None);
        }
    }
    Ok(Some(completions.into_iter().flatten().collect()))
}

#[track_caller]
fn check(model: &Gpt, requests: &[BatchRequest], slots: usize) {
    assert!(slots > 0, "generate_batch: needs at least one slot");
    let context = model.config.max_seq_len;
    for (i, request) in requests.iter().enumerate() {
        let n = request.prompt.len();
        assert!(
            (1..=context).contains(&n),
            "generate_batch: the prompt of request {i} has {n} tokens, but must have 1 to {context}"
        );
    }
}

/// Reads what is unread in every row and draws a token for each.
fn step(
    model: &Gpt,
    rows: &mut [Option<Writing<'_>>],
    cache: &mut KvCache,
    watch: &mut Watch<'_>,
) -> Result<(), SampleError> {
    let under_way = rows
        .iter()
        .enumerate()
        .filter_map(|(row, writing)| Some((row, writing.as_ref()?)));
    let (parts, indices): (Vec<DecodePart<'_>>, Vec<usize>) = under_way
        .map(|(row, writing)| {
            let part = DecodePart {
                row,
                ids: writing.unread(),
                logits: 1,
            };
            (part, writing.index)
        })
        .unzip();
    let mut seen = 0;
    let logits = model.decode_watched(&parts, cache, &mut |hidden| {
        let n = hidden.size(0);
        watch(&indices[seen..seen + n], hidden);
        seen += n;
    }); // (n, V)
    let mut writings: Vec<&mut Writing<'_>> = rows.iter_mut().flatten().collect();
    let (values, v) = (logits.to_vec::<f32>(), logits.size(1));
    // Drawing goes through the whole vocabulary, some of it in f64, so all threads take part.
    parallel_chunks_mut(&mut writings, 1, |i, writing| {
        let row = &values[i * v..(i + 1) * v];
        writing[0].drawn = Some(writing[0].draft.draw(row));
    });
    let mut tokens = Vec::new();
    for writing in &mut writings {
        let drawn = writing.drawn.take().expect("each was just drawn for");
        tokens.push(i64::from(drawn?.token));
    }
    let temperatures: Vec<f32> = writings
        .iter()
        .map(|w| w.request.params.temperature)
        .collect();
    let n = tokens.len();
    let logprobs = each_token_logprob(&logits, &Tensor::from_slice(&tokens, [n]), &temperatures);
    for ((writing, token), logprob) in writings.iter_mut().zip(tokens).zip(logprobs.to_vec()) {
        writing.tokens.push(token as u32);
        writing.logprobs.push(logprob);
    }
    Ok(())
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
