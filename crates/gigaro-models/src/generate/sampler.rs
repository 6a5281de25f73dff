//! From a row of logits to one token.
//!
//! The steps and their order are the ecosystem's (vLLM for bias and penalties, Hugging Face for the filters):
//!
//! 1. logit bias, added;
//! 2. repetition penalty, over tokens of prompt and reply (Keskar et al. 2019, <https://arxiv.org/abs/1909.05858>);
//! 3. frequency and presence penalty, over tokens of the reply only (OpenAI's definition);
//! 4. tokens that a grammar does not allow are excluded, so that penalties and bias cannot bring them back;
//! 5. temperature; 0 ends here with the largest logit, the smaller token on a tie;
//! 6. top-k (Fan et al. 2018, <https://arxiv.org/abs/1805.04833>);
//! 7. top-p over what top-k left (Holtzman et al. 2019, <https://arxiv.org/abs/1904.09751>);
//! 8. min-p (Nguyen et al. 2024, <https://arxiv.org/abs/2407.01082>);
//! 9. one draw from what is left, with a uniform number that the caller takes from the request's own stream.
//!
//! Log-probabilities come from the raw logits, before step 1 (`logprobs.rs`). The random stream itself is not here.

use std::collections::BTreeMap;

use thiserror::Error;

use super::logprobs::{TokenLogprobs, descending, top_logprobs};
use super::{SamplingParams, TokenMask, softmax_draw};

/// A vocabulary that is long.
const LONG: usize = 8192;
/// How many candidates top-p sorts first; a probable token is nearly always among them.
const FIRST_SORTED: usize = 128;

/// Draws the tokens of one reply and remembers them for the penalties.
#[derive(Clone, Debug)]
pub struct Sampler {
    params: SamplingParams,
    /// Each token of prompt and reply, and how often it stands in the reply.
    counts: BTreeMap<u32, u32>,
    /// Logits after bias and penalties `(V)`; kept to spare the allocation.
    adjusted: Vec<f32>,
    candidates: Vec<Candidate>,
}

/// A token that may still be drawn.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    token: u32,
    /// Logit less the largest one, over the temperature: at most 0.
    z: f32,
    /// Its probability over that of the most probable token.
    weight: f64,
}

/// A drawn token.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    /// The token.
    pub token: u32,
    /// Log-probabilities under the model, where the request asks for them.
    pub logprobs: Option<TokenLogprobs>,
}

/// Logits that no token can be drawn from: the weights are at fault, not the request.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum SampleError {
    /// A logit that is NaN or plus infinity.
    #[error(
        "the model gave {value} as the logit of token {token}: its weights are damaged or its training diverged; try an earlier checkpoint"
    )]
    NonFinite {
        /// The token.
        token: usize,
        /// The logit.
        value: f32,
    },
    /// Every token has probability zero.
    #[error(
        "every token is excluded, so there is nothing to draw: loosen logit_bias, or check the checkpoint with `gigaro info`"
    )]
    NothingLeft,
}

impl Sampler {
    /// A sampler for one reply to `prompt`; `params` are taken as validated.
    pub fn new(params: SamplingParams, prompt: &[u32]) -> Self {
        let counts = prompt.iter().map(|&token| (token, 0)).collect();
        Self {
            params,
            counts,
            adjusted: Vec::new(),
            candidates: Vec::new(),
        }
    }

    /// What this reply was asked to be.
    pub fn params(&self) -> &SamplingParams {
        &self.params
    }

    /// Draws the next token from raw logits `(V)` and counts it as part of the reply.
    ///
    /// `uniform` is in `[0, 1)` and not read when the temperature is 0.
    ///
    /// # Errors
    /// If a logit is NaN or plus infinity, or no token has any probability.
    pub fn sample(&mut self, logits: &[f32], uniform: f32) -> Result<Sampled, SampleError> {
        self.sample_among(logits, uniform, None)
    }

    /// As [`Sampler::sample`], among the tokens of a mask only. Log-probabilities stay those of the model, which knows no mask.
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn sample_among(
        &mut self,
        logits: &[f32],
        uniform: f32,
        allowed: Option<TokenMask<'_>>,
    ) -> Result<Sampled, SampleError> {
        let token = self.draw(logits, uniform, allowed)?;
        self.observe(token);
        let logprobs = self
            .params
            .logprobs
            .map(|top_n| top_logprobs(logits, token, top_n));
        Ok(Sampled { token, logprobs })
    }

    /// Counts a token of the reply that was not drawn here.
    pub fn observe(&mut self, token: u32) {
        *self.counts.entry(token).or_insert(0) += 1;
    }

    fn draw(
        &mut self,
        logits: &[f32],
        uniform: f32,
        allowed: Option<TokenMask<'_>>,
    ) -> Result<u32, SampleError> {
        if let Some(token) = logits
            .iter()
            .position(|x| x.is_nan() || *x == f32::INFINITY)
        {
            return Err(SampleError::NonFinite {
                token,
                value: logits[token],
            });
        }
        self.adjust(logits);
        if let Some(allowed) = allowed {
            allowed.exclude(&mut self.adjusted);
        }
        let best = argmax(&self.adjusted).ok_or(SampleError::NothingLeft)?;
        if self.params.is_greedy() {
            return Ok(best as u32);
        }
        let max = self.adjusted[best];
        if self.draws_from_all() {
            return Ok(
                softmax_draw::draw(&self.adjusted, max, self.params.temperature, uniform) as u32,
            );
        }
        self.collect_candidates(max);
        self.keep_top_k();
        self.weigh();
        self.keep_top_p();
        self.keep_min_p();
        Ok(self.pick(uniform))
    }

    /// Whether no filter leaves tokens out, and there are so many that it is worth not to keep each as a candidate.
    fn draws_from_all(&self) -> bool {
        let SamplingParams {
            top_k,
            top_p,
            min_p,
            ..
        } = self.params;
        top_k == 0 && top_p >= 1.0 && min_p <= 0.0 && self.adjusted.len() >= LONG
    }

    /// Steps 1 to 3: bias and penalties.
    fn adjust(&mut self, logits: &[f32]) {
        let Self {
            params,
            counts,
            adjusted,
            ..
        } = self;
        adjusted.clear();
        adjusted.extend_from_slice(logits);
        for (&token, &bias) in &params.logit_bias {
            if let Some(x) = adjusted.get_mut(token as usize) {
                *x += bias;
            }
        }
        for (&token, &count) in counts.iter() {
            let Some(x) = adjusted.get_mut(token as usize) else {
                continue;
            };
            *x = if *x > 0.0 {
                *x / params.repetition_penalty
            } else {
                *x * params.repetition_penalty
            };
            if count > 0 {
                *x -= params.frequency_penalty * count as f32 + params.presence_penalty;
            }
        }
    }

    /// Step 5. Subtracting the largest logit first keeps tiny temperatures from overflowing.
    fn collect_candidates(&mut self, max: f32) {
        let Self {
            params,
            adjusted,
            candidates,
            ..
        } = self;
        let with_probability = adjusted
            .iter()
            .enumerate()
            .filter(|(_, x)| **x > f32::NEG_INFINITY);
        candidates.clear();
        candidates.extend(with_probability.map(|(token, &x)| Candidate {
            token: token as u32,
            z: (x - max) / params.temperature,
            weight: 0.0,
        }));
    }

    /// Step 6.
    fn keep_top_k(&mut self) {
        let k = self.params.top_k;
        if k > 0 && k < self.candidates.len() {
            self.candidates.select_nth_unstable_by(k - 1, more_probable);
            self.candidates.truncate(k);
            // Back into the order of the vocabulary: selection leaves them in none.
            self.candidates.sort_unstable_by_key(|c| c.token);
        }
    }

    fn weigh(&mut self) {
        for candidate in &mut self.candidates {
            candidate.weight = f64::from(candidate.z).exp();
        }
    }

    /// Step 7. Sorts only as much of the front as the mass asks for, since a vocabulary is long and the answer is short.
    fn keep_top_p(&mut self) {
        if self.params.top_p >= 1.0 {
            return;
        }
        let candidates = &mut self.candidates;
        let wanted =
            f64::from(self.params.top_p) * candidates.iter().map(|c| c.weight).sum::<f64>();
        let (mut mass, mut kept, mut sorted) = (0.0, 0, 0);
        while mass < wanted && kept < candidates.len() {
            if kept == sorted {
                let end = (sorted.max(FIRST_SORTED / 4) * 4).min(candidates.len());
                if end < candidates.len() {
                    candidates[sorted..].select_nth_unstable_by(end - sorted - 1, more_probable);
                }
                candidates[sorted..end].sort_unstable_by(more_probable);
                sorted = end;
            }
            mass += candidates[kept].weight;
            kept += 1;
        }
        candidates.truncate(kept);
    }

    /// Step 8. The most probable token has weight 1, so weights compare directly.
    fn keep_min_p(&mut self) {
        let min_p = f64::from(self.params.min_p);
        if min_p > 0.0 {
            self.candidates.retain(|c| c.weight >= min_p);
        }
    }

    /// Step 9. The most probable token is always among the candidates, so the total is at least 1.
    fn pick(&self, uniform: f32) -> u32 {
        let target = f64::from(uniform) * self.candidates.iter().map(|c| c.weight).sum::<f64>();
        let (mut mass, mut last) = (0.0, None);
        for candidate in self.candidates.iter().filter(|c| c.weight > 0.0) {
            mass += candidate.weight;
            last = Some(candidate.token);
            if mass > target {
                break;
            }
        }
        last.expect("the most probable token survives every filter")
    }
}

/// The place of the largest logit, the first on a tie; `None` if all are `-inf`.
fn argmax(logits: &[f32]) -> Option<usize> {
    let mut best = None;
    let mut largest = f32::NEG_INFINITY;
    for (i, &x) in logits.iter().enumerate() {
        if x > largest {
            (best, largest) = (Some(i), x);
        }
    }
    best
}

fn more_probable(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    descending((a.z, a.token), (b.z, b.token))
}

#[cfg(test)]
#[path = "sampler_tests.rs"]
mod tests;
