//! Log-probabilities of given tokens, with gradients: what learning from preferences is made of.
//!
//! The means over a whole batch that pretraining needs are [`Gpt::loss`]; the log-probabilities of tokens while they are
//! drawn are in `generate/logprobs.rs`.

use gigaro_tensor::{DType, Tensor, checkpoint, functional as F};

use super::Gpt;

/// Logits that are computed at once, in bytes; the backward pass holds about eight arrays of that size.
const LOGITS_BYTES: usize = 8 << 20;
/// What [`Gpt::token_logprobs`] and its backward pass hold beside the model's activations, in bytes.
pub const LOGPROB_BYTES: u64 = 8 * LOGITS_BYTES as u64;

impl Gpt {
    /// Log-probability of a token for each row of what [`Gpt::hidden`] gave. The caller selects the rows that it needs, so
    /// no logits are computed for others; those that are computed are held a stretch of rows at a time and computed
    /// again in the backward pass. A row's bits do not depend on the other rows.
    ///
    /// # Shapes
    /// `hidden: (N, C)`, `tokens: (N)` of i64 -> `(N)` in f32
    /// # Panics
    /// If shapes do not fit or a token is not in the vocabulary.
    #[must_use]
    #[track_caller]
    pub fn token_logprobs(&self, hidden: &Tensor, tokens: &Tensor) -> Tensor {
        let fits = hidden.ndim() == 2 && hidden.size(1) == self.config.d_model;
        assert!(
            fits && tokens.shape() == &hidden.shape()[..1],
            "Gpt::token_logprobs: hidden of shape {:?}, tokens {:?}",
            hidden.shape(),
            tokens.shape()
        );
        let rows = hidden.size(0);
        if rows == 0 {
            return Tensor::zeros([0], DType::F32, hidden.device());
        }
        let (weight, cap) = (self.head_weight(), self.config.logit_soft_cap);
        let chunk = (LOGITS_BYTES / (4 * weight.size(0))).max(128).min(rows);
        let parts: Vec<Tensor> = (0..rows)
            .step_by(chunk)
            .map(|start| {
                let len = chunk.min(rows - start);
                let tokens = tokens.narrow(0, start, len).unsqueeze(1);
                let logprobs = move |inputs: &[Tensor]| {
                    let logits = F::soft_capped(F::linear(&inputs[0], &inputs[1], None), cap);
                    let logits = logits.to_dtype(DType::F32);
                    logits.gather(1, &tokens).squeeze(1) - logits.logsumexp(1_isize)
                };
                checkpoint(logprobs, &[&hidden.narrow(0, start, len), weight], None)
            })
            .collect();
        Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GptConfig;
    use gigaro_nn::{Mode, Module};
    use gigaro_tensor::Generator;

    #[test]
    fn their_mean_is_the_loss_with_the_same_gradients() {
        for cap in [None, Some(5.0)] {
            let config = GptConfig {
                logit_soft_cap: cap,
                ..GptConfig::gpt2(300, 64, 1, 2, 16)
            };
            let model = Gpt::new(&config, &Generator::new(1));
            // More rows than a stretch takes.
            let ids: Vec<i64> = (0..2 * 64).map(|i| i * 37 % 300).collect();
            let ids = Tensor::from_vec(ids, [2, 64]);
            let targets = Tensor::from_vec((0..128_i64).map(|i| i * 11 % 300).collect(), [2, 64]);
            let gradients = |loss: &Tensor| {
                loss.backward();
                let all = model.named_parameters();
                let all = all.iter().map(|(_, p)| p.grad().expect("a gradient"));
                let all: Vec<Vec<f32>> = all.map(|g| g.to_vec()).collect();
                model.zero_grad();
                all
            };
            let whole = model.loss(&ids, &targets, &Mode::Eval);
            let hidden = model.hidden(&ids, None, &Mode::Eval).reshape([128, 16]);
            let parts = model.token_logprobs(&hidden, &targets.reshape([128]));
            let mean = -parts.mean_all();
            assert!((whole.item() - mean.item()).abs() < 1e-5);
            let (a, b) = (gradients(&whole), gradients(&mean));
            for (a, b) in a.iter().flatten().zip(b.iter().flatten()) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
        }
    }
}
