//! A reply in the making: what happens between the logits of one token and the reading of the next.
//!
//! It knows no model. [`reply`](super::reply()) runs one of these and [`generate_batch`](super::generate_batch) many, so that a request ends with the
//! same words in either. A server steps drafts of its own (`gigaro-serve`).

use gigaro_tensor::Generator;

use super::{
    FinishReason, ReplyText, SampleError, Sampled, Sampler, SamplingParams, TokenMask, Vocabulary,
};

/// The state of one reply.
pub struct Draft {
    /// The request's own random stream.
    generator: Generator,
    sampler: Sampler,
    text: ReplyText,
    /// Tokens taken in.
    taken: usize,
}

/// What a token led to.
pub struct Taken {
    /// Text that has become certain.
    pub piece: String,
    /// Why the reply is over, if it is.
    pub finish_reason: Option<FinishReason>,
}

impl Draft {
    /// An empty reply to `prompt`.
    pub fn new(prompt: &[u32], params: &SamplingParams) -> Self {
        Self {
            generator: Generator::new(params.seed),
            sampler: Sampler::new(params.clone(), prompt),
            text: ReplyText::new(&params.stop),
            taken: 0,
        }
    }

    /// Draws the next token from raw logits `(V)`.
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn draw(&mut self, logits: &[f32]) -> Result<Sampled, SampleError> {
        self.draw_among(logits, None)
    }

    /// As [`Draft::draw`], among the tokens of a mask only.
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn draw_among(
        &mut self,
        logits: &[f32],
        allowed: Option<TokenMask<'_>>,
    ) -> Result<Sampled, SampleError> {
        let uniform = if self.sampler.params().is_greedy() {
            0.0
        } else {
            self.generator.uniform() as f32
        };
        // Rounding to f32 must not reach 1.
        let uniform = uniform.min(1.0 - f32::EPSILON);
        self.sampler.sample_among(logits, uniform, allowed)
    }

    /// Whether `token` ends the reply without being part of it.
    pub fn is_end(&self, token: u32, vocabulary: &dyn Vocabulary) -> bool {
        vocabulary.is_end(token) && !self.sampler.params().ignore_eos
    }

    /// Takes a drawn token in. `room` is how many tokens the model could still read.
    pub fn take(&mut self, token: u32, room: usize, vocabulary: &dyn Vocabulary) -> Taken {
        let mut piece = String::new();
        let stops = self.is_end(token, vocabulary) || {
            self.taken += 1;
            piece = self.text.push(vocabulary.token_bytes(token));
            self.text.is_stopped()
        };
        let finish_reason = if stops {
            Some(FinishReason::Stop)
        } else if room == 0 || self.taken >= self.sampler.params().max_tokens {
            Some(FinishReason::Length)
        } else {
            None
        };
        Taken {
            piece,
            finish_reason,
        }
    }

    /// Ends the reply; returns the text that was held back.
    pub fn finish(&mut self) -> String {
        if self.text.is_stopped() {
            String::new()
        } else {
            self.text.finish()
        }
    }

    /// All the text so far.
    pub fn text(&self) -> &str {
        self.text.text()
    }
}
