//! What a caller may ask of the sampler, and the sentences for what makes no sense.
//!
//! Names, meanings and defaults are those of the ecosystem (OpenAI's API, vLLM, Hugging Face `generate`), so that a request
//! written for one of them means the same here. How the numbers act on logits is in `sampler.rs`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Most alternatives per token whose log-probabilities can be asked for.
pub(super) const MAX_TOP_LOGPROBS: usize = 100;

/// How one reply is drawn from a model. `Default` is plain sampling at temperature 1 without any filter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingParams {
    /// Most tokens in the reply.
    pub max_tokens: usize,
    /// Divides the logits; 0 always takes the most probable token, and none of the filters or the seed matter then.
    pub temperature: f32,
    /// Keep the `top_k` most probable tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the smallest set of most probable tokens whose probabilities reach `top_p`; 1 keeps all.
    pub top_p: f32,
    /// Keep the tokens at least `min_p` times as probable as the most probable one; 0 keeps all.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens of the prompt or the reply; 1 does nothing.
    pub repetition_penalty: f32,
    /// Subtracted from the logits of tokens that stand in the reply; 0 does nothing.
    pub presence_penalty: f32,
    /// Subtracted from the logit of a token once for each time it stands in the reply; 0 does nothing.
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens; -100 bans a token, 100 all but forces it.
    pub logit_bias: BTreeMap<u32, f32>,
    /// The reply ends before the first of these strings, which is not part of it.
    pub stop: Vec<String>,
    /// Starts this request's own random stream: the same seed gives the same reply.
    pub seed: u64,
    /// `Some(n)`: report the log-probability of each chosen token and of the `n` most probable ones.
    pub logprobs: Option<usize>,
    /// Do not end at an end-of-text token.
    pub ignore_eos: bool,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            max_tokens: 256,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: BTreeMap::new(),
            stop: Vec::new(),
            seed: 0,
            logprobs: None,
            ignore_eos: false,
        }
    }
}

impl SamplingParams {
    /// Always the most probable token: the same reply every time.
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            ..Self::default()
        }
    }

    /// Whether the reply is the most probable token at each step, so that no random number is read.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }

    /// Checks every field against its range.
    ///
    /// # Errors
    /// The first field that makes no sense, as a sentence with its name, its value and its range.
    pub fn validate(&self, vocab_size: usize) -> Result<(), ParamsError> {
        in_range(
            "temperature",
            self.temperature,
            self.temperature >= 0.0,
            "0 (always the most probable token) or more",
        )?;
        in_range(
            "top_p",
            self.top_p,
            self.top_p > 0.0 && self.top_p <= 1.0,
            "more than 0 and at most 1 (1 keeps all tokens)",
        )?;
        in_range(
            "min_p",
            self.min_p,
            (0.0..=1.0).contains(&self.min_p),
            "between 0 (keeps all tokens) and 1",
        )?;
        in_range(
            "repetition_penalty",
            self.repetition_penalty,
            self.repetition_penalty > 0.0,
            "more than 0 (1 does nothing)",
        )?;
        for (name, value) in [
            ("presence_penalty", self.presence_penalty),
            ("frequency_penalty", self.frequency_penalty),
        ] {
            in_range(
                name,
                value,
                (-2.0..=2.0).contains(&value),
                "between -2 and 2 (0 does nothing)",
            )?;
        }
        for (&token, &bias) in &self.logit_bias {
            in_range(
                "logit_bias",
                bias,
                (-100.0..=100.0).contains(&bias),
                "between -100 (bans the token) and 100",
            )?;
            if token as usize >= vocab_size {
                return Err(ParamsError::UnknownToken { token, vocab_size });
            }
        }
        if self.max_tokens == 0 {
            return Err(ParamsError::NoTokens);
        }
        if let Some(index) = self.stop.iter().position(String::is_empty) {
            return Err(ParamsError::EmptyStop { index });
        }
        match self.logprobs {
            Some(asked) if asked > MAX_TOP_LOGPROBS => Err(ParamsError::TooManyLogprobs { asked }),
            _ => Ok(()),
        }
    }
}

fn in_range(
    name: &'static str,
    value: f32,
    holds: bool,
    range: &'static str,
) -> Result<(), ParamsError> {
    if holds && value.is_finite() {
        Ok(())
    } else {
        Err(ParamsError::OutOfRange { name, value, range })
    }
}

/// A request that cannot be served, in a sentence for whoever wrote it.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ParamsError {
    /// A number outside its range.
    #[error("{name} is {value}, but must be {range}")]
    OutOfRange {
        /// The field.
        name: &'static str,
        /// What was given.
        value: f32,
        /// What is allowed, in words.
        range: &'static str,
    },
    /// A token that the vocabulary does not have.
    #[error("logit_bias names token {token}, but the vocabulary has only the tokens 0 to {}", vocab_size.saturating_sub(1))]
    UnknownToken {
        /// The token.
        token: u32,
        /// Size of the vocabulary, in tokens.
        vocab_size: usize,
    },
    /// A reply of no tokens.
    #[error("max_tokens is 0, but a reply needs at least 1 token")]
    NoTokens,
    /// A stop string of no characters would end every reply at once.
    #[error("stop string number {} is empty, which would end every reply at once: leave it out", index + 1)]
    EmptyStop {
        /// Its place in the list, from 0.
        index: usize,
    },
    /// More alternatives than are reported.
    #[error(
        "logprobs is {asked}, but at most {MAX_TOP_LOGPROBS} alternatives per token are reported"
    )]
    TooManyLogprobs {
        /// What was given.
        asked: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut SamplingParams)) -> String {
        let mut params = SamplingParams::default();
        change(&mut params);
        params
            .validate(10)
            .expect_err("must be refused")
            .to_string()
    }

    #[test]
    fn defaults_and_greedy_are_valid() {
        assert_eq!(SamplingParams::default().validate(10), Ok(()));
        assert_eq!(SamplingParams::greedy().validate(10), Ok(()));
    }

    #[test]
    fn each_field_out_of_range_is_refused_by_name() {
        assert_eq!(
            refusal(|p| p.temperature = -1.0),
            "temperature is -1, but must be 0 (always the most probable token) or more"
        );
        assert!(refusal(|p| p.temperature = f32::INFINITY).starts_with("temperature is inf"));
        assert!(refusal(|p| p.temperature = f32::NAN).starts_with("temperature is NaN"));
        assert!(refusal(|p| p.top_p = 0.0).starts_with("top_p is 0,"));
        assert!(refusal(|p| p.top_p = 1.5).starts_with("top_p is 1.5"));
        assert!(refusal(|p| p.min_p = -0.1).starts_with("min_p"));
        assert!(refusal(|p| p.repetition_penalty = 0.0).starts_with("repetition_penalty"));
        assert!(refusal(|p| p.presence_penalty = 2.5).starts_with("presence_penalty"));
        assert!(refusal(|p| p.frequency_penalty = f32::NAN).starts_with("frequency_penalty"));
        assert!(refusal(|p| p.max_tokens = 0).starts_with("max_tokens"));
        assert!(refusal(|p| p.logprobs = Some(101)).starts_with("logprobs is 101"));
        assert!(
            refusal(|p| p.stop = vec!["a".into(), String::new()])
                .starts_with("stop string number 2")
        );
        assert!(refusal(|p| p.logit_bias = [(3, 101.0)].into()).starts_with("logit_bias is 101"));
        assert_eq!(
            refusal(|p| p.logit_bias = [(10, 1.0)].into()),
            "logit_bias names token 10, but the vocabulary has only the tokens 0 to 9"
        );
    }
}
