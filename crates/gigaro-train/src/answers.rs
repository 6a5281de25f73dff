//! Prompts with answers as rows of a model's input, and the log-probabilities of the answers.
//!
//! Only an answer's own tokens count: the prompt is what they are conditioned on, padding never enters, and logits are
//! computed for the positions before an answer's tokens alone.

use gigaro_models::Gpt;
use gigaro_nn::Mode;
use gigaro_tensor::{DType, Device, Tensor, no_grad};

/// A prompt and an answer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// What is answered; not empty.
    pub prompt: &'a [u32],
    /// The answer; not empty.
    pub tokens: &'a [u32],
}

impl Answer<'_> {
    /// Tokens of prompt and answer.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "neither part is ever empty")]
    pub const fn len(&self) -> usize {
        self.prompt.len() + self.tokens.len()
    }
}

/// Prompts and answers as rows, padded on the right.
///
/// # Shapes
/// -> `(B, T)` of i64, `T` the longest row's length
#[must_use]
pub fn padded(answers: &[Answer<'_>]) -> Tensor {
    let t = answers.iter().map(Answer::len).max().unwrap_or(0);
    let mut ids = vec![0_i64; answers.len() * t];
    for (row, answer) in ids.chunks_mut(t.max(1)).zip(answers) {
        let tokens = answer.prompt.iter().chain(answer.tokens);
        row.iter_mut()
            .zip(tokens)
            .for_each(|(id, &token)| *id = i64::from(token));
    }
    Tensor::from_vec(ids, [answers.len(), t])
}

/// The log-probability of each answer given its prompt: the sum over the answer's tokens, in f32. Neither padding nor the
/// other answers change a bit of it.
///
/// # Shapes
/// `N` answers -> `(N)`
/// # Panics
/// If a prompt or answer is empty, too long for the context, or holds a token that is not in the vocabulary.
#[must_use]
#[track_caller]
pub fn answer_logps(model: &Gpt, answers: &[Answer<'_>], mode: &Mode) -> Tensor {
    let sums = Tensor::zeros([answers.len()], DType::F32, Device::Cpu);
    if answers.is_empty() {
        return sums;
    }
    let ids = padded(answers);
    let (b, t) = (ids.size(0), ids.size(1));
    let (mut rows, mut targets, mut owners) = (Vec::new(), Vec::new(), Vec::new());
    for (i, answer) in answers.iter().enumerate() {
        assert!(
            !answer.prompt.is_empty() && !answer.tokens.is_empty(),
            "answer_logps: answer {i} or its prompt is empty"
        );
        // A token is predicted at the position before it.
        let first = i * t + answer.prompt.len() - 1;
        rows.extend((first..first + answer.tokens.len()).map(|row| row as i64));
        targets.extend(answer.tokens.iter().map(|&token| i64::from(token)));
        owners.extend(answer.tokens.iter().map(|_| i as i64));
    }
    let n = rows.len();
    let hidden = model
        .hidden(&ids, None, mode)
        .reshape([b * t, model.config.d_model])
        .index_select(0, &Tensor::from_vec(rows, [n]));
    let logps = model
        .token_logprobs(&hidden, &Tensor::from_vec(targets, [n]))
        .to_device(Device::Cpu);
    sums.index_add(0, &Tensor::from_vec(owners, [n]), &logps)
}

/// [`answer_logps`] of many answers as numbers, `rows` at a time, without gradients: what a frozen reference says.
///
/// # Panics
/// As [`answer_logps`].
#[must_use]
#[track_caller]
pub fn frozen_logps(model: &Gpt, answers: &[Answer<'_>], rows: usize) -> Vec<f32> {
    let part = |answers: &[Answer<'_>]| no_grad(|| answer_logps(model, answers, &Mode::Eval));
    answers
        .chunks(rows.max(1))
        .flat_map(|answers| part(answers).to_vec::<f32>())
        .collect()
}

/// One over the length of each answer: what turns sums of log-probabilities into means.
///
/// # Shapes
/// `N` answers -> `(N)` in f32
#[must_use]
pub fn inverse_lengths(answers: &[Answer<'_>]) -> Tensor {
    let lengths = answers.iter().map(|a| 1.0 / a.tokens.len() as f32);
    Tensor::from_vec(lengths.collect(), [answers.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use gigaro_models::GptConfig;
    use gigaro_models::generate::logprobs::top_logprobs;
    use gigaro_tensor::Generator;

    #[test]
    fn log_probabilities_are_those_of_decoding_whatever_shares_the_batch() {
        for config in [
            GptConfig::gpt2(31, 32, 2, 2, 16),
            GptConfig::llama(31, 32, 2, 4, 2, 16, 24),
        ] {
            let model = Gpt::new(&config, &Generator::new(4));
            let texts: [(&[u32], &[u32]); 3] = [
                (&[1, 2, 3], &[4, 5]),
                (&[7], &[8, 9, 10, 11, 12, 1]),
                (&[3, 3], &[30]),
            ];
            let answers: Vec<Answer<'_>> = texts
                .iter()
                .map(|&(prompt, tokens)| Answer { prompt, tokens })
                .collect();
            let together = frozen_logps(&model, &answers, 8);
            assert_eq!(together, frozen_logps(&model, &answers, 1));
            for (answer, logp) in answers.iter().zip(together) {
                let all = [answer.prompt, answer.tokens].concat();
                let ids =
                    Tensor::from_vec(all.iter().map(|&t| i64::from(t)).collect(), [1, all.len()]);
                let logits = no_grad(|| model.forward(&ids, &Mode::Eval)).to_vec::<f32>();
                let want: f32 = (answer.prompt.len()..all.len())
                    .map(|i| top_logprobs(&logits[(i - 1) * 31..i * 31], all[i], 0).chosen)
                    .sum();
                assert!((want - logp).abs() < 1e-4, "{want} {logp}");
            }
        }
    }
}
