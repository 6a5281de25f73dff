//! Who judges answers: a reward model, a check with a known truth, or a simulated person.
//!
//! Everything that learns from scores asks a [`Scorer`]; none of it knows what is behind.

use gigaro_models::RewardModel;
use gigaro_models::generate::Completion;

use crate::answers::Answer;
use crate::error::{Error, Result};
use crate::reward::frozen_rewards;

/// Gives answers their scores.
pub trait Scorer {
    /// A score for each completion; higher is better. `prompts[i]` is what `completions[i]` answers.
    ///
    /// # Errors
    /// If the answers cannot be judged.
    fn score(&mut self, prompts: &[Vec<u32>], completions: &[Completion]) -> Result<Vec<f64>>;
}

/// A scorer that looks at each answer alone: a verifiable reward, such as 1 for the right result.
pub struct Check<F>(pub F);

impl<F: FnMut(&[u32], &Completion) -> f64> Scorer for Check<F> {
    fn score(&mut self, prompts: &[Vec<u32>], completions: &[Completion]) -> Result<Vec<f64>> {
        let each = prompts.iter().zip(completions);
        Ok(each.map(|(p, c)| (self.0)(p, c)).collect())
    }
}

/// A scorer that asks a reward model about each prompt with its answer, end token included.
pub struct ByRewardModel<'a> {
    /// The model; it is only read.
    pub model: &'a RewardModel,
    /// Answers that it reads at once.
    pub rows: usize,
}

impl Scorer for ByRewardModel<'_> {
    fn score(&mut self, prompts: &[Vec<u32>], completions: &[Completion]) -> Result<Vec<f64>> {
        let answers: Vec<Answer<'_>> = prompts
            .iter()
            .zip(completions)
            .map(|(prompt, completion)| Answer {
                prompt,
                tokens: &completion.tokens,
            })
            .collect();
        let context = self.model.trunk.config.max_seq_len;
        let longest = answers.iter().map(Answer::len).max();
        if let Some(n) = longest.filter(|&n| n > context) {
            return Err(Error::BadScores {
                what: format!(
                    "a prompt with its answer has {n} tokens, but the reward model reads at most {context}"
                ),
            });
        }
        let rewards = frozen_rewards(self.model, &answers, self.rows);
        Ok(rewards.into_iter().map(f64::from).collect())
    }
}

/// Scores that are there and finite.
///
/// # Errors
/// If the scorer fails, gives another number of scores than answers, or one that is NaN or infinite.
pub fn checked_scores(
    scorer: &mut dyn Scorer,
    prompts: &[Vec<u32>],
    completions: &[Completion],
) -> Result<Vec<f64>> {
    let scores = scorer.score(prompts, completions)?;
    let bad = |what: String| Err(Error::BadScores { what });
    if scores.len() != completions.len() {
        let (got, want) = (scores.len(), completions.len());
        return bad(format!("{got} scores came back for {want} answers"));
    }
    let broken: Vec<usize> = (0..scores.len())
        .filter(|&i| !scores[i].is_finite())
        .collect();
    if let Some(&first) = broken.first() {
        return bad(format!(
            "{} of {} scores are no finite numbers, the first is {} for the answer {:?}",
            broken.len(),
            scores.len(),
            scores[first],
            completions[first].text
        ));
    }
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gigaro_models::generate::FinishReason;

    fn answers() -> (Vec<Vec<u32>>, Vec<Completion>) {
        let completion = |text: &str| Completion {
            tokens: vec![1],
            logprobs: vec![0.0],
            text: text.into(),
            finish_reason: FinishReason::Stop,
        };
        (vec![vec![0]; 2], vec![completion("no"), completion("yes")])
    }

    #[test]
    fn a_score_that_is_no_number_is_refused_with_its_answer() {
        let (prompts, completions) = answers();
        for broken in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut scorer = Check(|_: &[u32], c: &Completion| match c.text.as_str() {
                "yes" => broken,
                _ => 1.0,
            });
            let message = checked_scores(&mut scorer, &prompts, &completions)
                .expect_err("a broken score")
                .to_string();
            assert!(
                message.contains("1 of 2") && message.contains("\"yes\""),
                "{message}"
            );
        }
    }

    #[test]
    fn a_reward_model_scores_an_answer_as_it_reads_it_alone() {
        use gigaro_models::{Gpt, GptConfig};
        use gigaro_nn::Mode;
        use gigaro_tensor::{Generator, Tensor};
        let trunk = Gpt::new(&GptConfig::gpt2(9, 6, 1, 2, 8), &Generator::new(1));
        let model = RewardModel::new(trunk, &Generator::new(2));
        let (mut prompts, mut completions) = answers();
        prompts[1] = vec![3, 4, 5];
        completions[1].tokens = vec![7, 8];
        let mut scorer = ByRewardModel {
            model: &model,
            rows: 2,
        };
        let scores = checked_scores(&mut scorer, &prompts, &completions).expect("finite rewards");
        let ids = Tensor::from_slice(&[3_i64, 4, 5, 7, 8], [1, 5]);
        let alone = model.rewards(&ids, &[5], &Mode::Eval).item();
        assert_eq!(scores[1], alone);
        completions[1].tokens = vec![7; 4];
        let error = checked_scores(&mut scorer, &prompts, &completions).expect_err("too long");
        assert!(error.to_string().contains("7 tokens"), "{error}");
    }

    #[test]
    fn scores_must_be_as_many_as_answers() {
        struct Lazy;
        impl Scorer for Lazy {
            fn score(&mut self, _: &[Vec<u32>], _: &[Completion]) -> Result<Vec<f64>> {
                Ok(vec![1.0])
            }
        }
        let (prompts, completions) = answers();
        let error = checked_scores(&mut Lazy, &prompts, &completions).expect_err("one is missing");
        assert!(error.to_string().contains("1 scores"), "{error}");
    }
}
