//! How well a model foresees a text: perplexity over windows, by the definition that llama.cpp's figures have.
//!
//! The tokens are cut into windows of the same length, a rest at the end is left out, and each window is read on its own. Of each,
//! the second half counts, so that every token that counts was foreseen from half a window at least. The logits are those of
//! decoding, the ones that a served model answers with, in whatever format its weights are held.

use super::{DecodePart, Gpt, KvCache};
use crate::generate::logprobs::logsumexp;
use gigaro_tensor::cpu::threads::parallel_chunks_mut;

/// Tokens whose logits are held at a time.
const AT_ONCE: usize = 128;

/// What was found so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Perplexity {
    /// Windows read.
    pub windows: usize,
    /// Tokens that counted.
    pub tokens: usize,
    /// Sum of their negative log-probabilities, in nats.
    nll: f64,
    /// Sum of the squares.
    nll_squared: f64,
}

impl Perplexity {
    /// The exponential of the mean negative log-probability; NaN before a token counted.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.mean_nll().exp()
    }

    /// The mean negative log-probability, in nats per token.
    #[must_use]
    pub fn mean_nll(&self) -> f64 {
        self.nll / self.tokens as f64
    }

    /// The standard error of [`Perplexity::value`], as if tokens were drawn independently.
    #[must_use]
    pub fn standard_error(&self) -> f64 {
        let (n, mean) = (self.tokens as f64, self.mean_nll());
        let variance = (self.nll_squared / n - mean * mean).max(0.0);
        (variance / (n - 1.0)).sqrt() * self.value()
    }
}

impl Gpt {
    /// The perplexity of `ids` in windows of `context` tokens; `start` takes the place of each window's first token, if the model's
    /// documents begin with one. After each window `go_on` is shown what was found; if it says no, the result is `None`.
    ///
    /// # Panics
    /// If `context` is below 4 or beyond the model's, or an id exceeds the vocabulary.
    #[track_caller]
    pub fn perplexity(
        &self,
        ids: &[u32],
        context: usize,
        start: Option<u32>,
        go_on: &mut dyn FnMut(&Perplexity) -> bool,
    ) -> Option<Perplexity> {
        assert!(
            (4..=self.config.max_seq_len).contains(&context),
            "perplexity: windows of {context} tokens, but the context is {}",
            self.config.max_seq_len
        );
        let mut found = Perplexity::default();
        let mut cache = KvCache::with_capacity(self, 1, context);
        for window in ids.chunks_exact(context) {
            let mut window = window.to_vec();
            if let Some(start) = start {
                window[0] = start;
            }
            cache.truncate(0, 0);
            self.score_window(&window, &mut cache, &mut found);
            found.windows += 1;
            if !go_on(&found) {
                return None;
            }
        }
        Some(found)
    }

    fn score_window(&self, window: &[u32], cache: &mut KvCache, found: &mut Perplexity) {
        let mut read = |ids: &[u32], logits: usize| {
            let part = DecodePart {
                row: 0,
                ids,
                logits,
            };
            self.decode_parts(&[part], cache)
        };
        // The token after the one at `half` is the first that counts; the last token has none after it.
        let half = window.len() / 2;
        let _ = read(&window[..half], 0);
        let scored = window.len() - 1;
        let mut at = half;
        while at < scored {
            let end = (at + AT_ONCE).min(scored);
            let logits = read(&window[at..end], end - at).to_vec::<f32>();
            let width = logits.len() / (end - at);
            let mut nll = vec![0.0; end - at];
            parallel_chunks_mut(&mut nll, 1, |i, nll| {
                let row = &logits[i * width..][..width];
                nll[0] = logsumexp(row) - f64::from(row[window[at + i + 1] as usize]);
            });
            for nll in nll {
                found.nll += nll;
                found.nll_squared += nll * nll;
            }
            found.tokens += end - at;
            at = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GptConfig;
    use gigaro_nn::Mode;
    use gigaro_tensor::{Generator, Tensor};

    #[test]
    fn the_second_half_of_each_window_counts() {
        let model = Gpt::new(&GptConfig::gpt2(17, 16, 1, 2, 8), &Generator::new(1));
        let ids: Vec<u32> = (0..27).map(|i| (i * i + 3) % 17).collect();
        let found = model
            .perplexity(&ids, 8, Some(5), &mut |_| true)
            .expect("goes on");
        // 3 windows of 8, a rest of 3; of each window the tokens 5, 6 and 7 count.
        assert_eq!((found.windows, found.tokens), (3, 9));
        let mut losses = 0.0;
        for window in ids.chunks_exact(8) {
            let mut window: Vec<i64> = window.iter().map(|&id| id.into()).collect();
            window[0] = 5;
            let inputs = Tensor::from_vec(window[..7].to_vec(), [1, 7]);
            let mut targets = window[1..].to_vec();
            targets[..4].fill(crate::gpt::IGNORE_INDEX);
            let loss = model.loss(&inputs, &Tensor::from_vec(targets, [1, 7]), &Mode::Eval);
            losses += f64::from(loss.to_vec::<f32>()[0]) / 3.0;
        }
        assert!(
            (found.mean_nll() - losses).abs() < 1e-6,
            "{} {losses}",
            found.mean_nll()
        );
        assert!(found.standard_error() > 0.0);
        assert_eq!(model.perplexity(&ids, 8, None, &mut |_| false), None);
    }
}
