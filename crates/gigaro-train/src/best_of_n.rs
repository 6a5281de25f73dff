//! Best of N: several answers to each prompt, of which the best by a score is kept.
//!
//! Without any training it moves the policy towards the score by a known amount, and so is what trained policies are
//! compared with; fine-tuning on the kept answers (rejection sampling) makes the move permanent.
//!
//! # Reference
//! Stiennon et al. (2020), <https://arxiv.org/abs/2009.01325>, appendix G.3; Touvron et al. (2023),
//! "Llama 2", <https://arxiv.org/abs/2307.09288>, section 3.2.3

use gigaro_data::chat::{Conversation, Message, message_text};
use gigaro_models::Gpt;
use gigaro_models::generate::{Completion, Vocabulary};
use gigaro_tensor::Generator;

use crate::error::Result;
use crate::rollout::Sampling;
use crate::scorer::{Scorer, checked_scores};

/// The best answer to a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// The answer.
    pub completion: Completion,
    /// Its score.
    pub score: f64,
    /// The scores of all answers, in the order they were drawn.
    pub scores: Vec<f64>,
}

impl Chosen {
    /// The conversation `asked`, answered: what fine-tuning takes.
    #[must_use]
    pub fn conversation(&self, asked: &[Message]) -> Conversation {
        let answer = Message::assistant(message_text(&self.completion.text));
        let messages = asked.iter().cloned().chain([answer]);
        messages.collect::<Vec<_>>().into()
    }
}

/// For each prompt the best of `sampling.answers` answers; of equals the first.
///
/// # Errors
/// If a setting makes no sense, the model's logits are not finite, the scorer fails, or a score is not finite.
pub fn best_of_n(
    model: &Gpt,
    prompts: &[Vec<u32>],
    sampling: &Sampling,
    scorer: &mut dyn Scorer,
    vocabulary: &dyn Vocabulary,
) -> Result<Vec<Chosen>> {
    sampling.check()?;
    let n = sampling.answers;
    let repeated: Vec<Vec<u32>> = prompts
        .iter()
        .flat_map(|p| std::iter::repeat_n(p.clone(), n))
        .collect();
    let stream = Generator::new(sampling.seed);
    let completions = sampling.answer(model, &repeated, &stream, vocabulary, &mut |_, _| {})?;
    let scores = checked_scores(scorer, &repeated, &completions)?;
    let groups = completions.chunks(n).zip(scores.chunks(n));
    let best = |(completions, scores): (&[Completion], &[f64])| {
        // `max_by` would take the last of equals.
        let first_best =
            (1..scores.len()).fold(0, |b, i| if scores[i] > scores[b] { i } else { b });
        Chosen {
            completion: completions[first_best].clone(),
            score: scores[first_best],
            scores: scores.to_vec(),
        }
    };
    Ok(groups.map(best).collect())
}

/// How far best of `n` is from the policy that it draws from, in nats per answer: `log n - (n - 1) / n`. Exact
/// where no two answers are alike, otherwise a bound from above.
///
/// # Panics
/// If `n` is 0.
/// # Reference
/// Stiennon et al. (2020), appendix G.3; Beirami et al. (2024), <https://arxiv.org/abs/2401.01879>, for the bound.
#[must_use]
#[track_caller]
pub fn kl_of_best_of_n(n: usize) -> f64 {
    assert!(n > 0, "kl_of_best_of_n: the best of no answers");
    let n = n as f64;
    n.ln() - (n - 1.0) / n
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scorer::Check;
    use crate::toy;

    #[test]
    fn the_best_answer_is_kept_and_more_answers_are_better() {
        let model = toy::policy(3);
        let mut sampling = toy::sampling(1, 1);
        let mut score = |n: usize| {
            sampling.answers = n;
            let mut scorer = Check(toy::share_of_target);
            let chosen = best_of_n(
                &model,
                &vec![vec![1]; 40],
                &sampling,
                &mut scorer,
                &toy::NoText,
            )
            .expect("finite scores");
            for c in &chosen {
                let best = c.scores.iter().copied().fold(f64::MIN, f64::max);
                assert_eq!((c.scores.len(), c.score), (n, best));
                assert_eq!(toy::share_of_target(&[1], &c.completion), c.score);
            }
            chosen.iter().map(|c| c.score).sum::<f64>() / 40.0
        };
        let (one, four, sixteen) = (score(1), score(4), score(16));
        assert!(one < four && four < sixteen, "{one} {four} {sixteen}");
    }

    #[test]
    fn a_kept_answer_becomes_the_end_of_its_conversation() {
        let chosen = Chosen {
            completion: Completion {
                tokens: vec![1, 2],
                logprobs: vec![0.0; 2],
                text: "Four.".into(),
                finish_reason: gigaro_models::generate::FinishReason::Stop,
            },
            score: 1.0,
            scores: vec![1.0],
        };
        let conversation = chosen.conversation(&[Message::user("Two and two?")]);
        assert_eq!(
            conversation,
            Conversation::exchange("Two and two?", "Four.")
        );
    }

    #[test]
    fn the_divergence_of_the_best_of_one_is_zero_and_of_many_as_counted() {
        assert_eq!(kl_of_best_of_n(1), 0.0);
        // Of m equally likely answers with distinct scores the best of n is the k-th with (k^n - (k-1)^n) / m^n.
        let (m, n) = (100_000_u32, 4);
        let counted: f64 = (1..=m)
            .map(|k| {
                let (k, m) = (f64::from(k), f64::from(m));
                let p = (k / m).powi(n) - ((k - 1.0) / m).powi(n);
                p * (p * m).ln()
            })
            .sum();
        assert!(
            (kl_of_best_of_n(4) - counted).abs() < 1e-3,
            "{counted} {}",
            kl_of_best_of_n(4)
        );
    }
}
