//! Who scores answers while a policy learns: a reward model, or the small world, which knows what is right.

use gigaro_data::world::{Labeller, Prompt, manners};
use gigaro_models::RewardModel;
use gigaro_models::generate::{Completion, FinishReason};
use gigaro_train::scorer::{ByRewardModel, Scorer};

use super::answers::{Asked, said};

/// Answers that go through a model at once in training and scoring.
pub(super) const MICRO_BATCH: usize = 32;

/// Scores by a reward model.
pub(super) struct RewardScorer<'a> {
    pub(super) model: &'a RewardModel,
    /// The score of what was cut off, in place of its own; `None` where the rollout sees to it.
    pub(super) missing_eos_penalty: Option<f64>,
}

impl Scorer for RewardScorer<'_> {
    fn score(
        &mut self,
        prompts: &[Vec<u32>],
        completions: &[Completion],
    ) -> gigaro_train::Result<Vec<f64>> {
        let rewards = ByRewardModel {
            model: self.model,
            rows: MICRO_BATCH,
        }
        .score(prompts, completions)?;
        let penalised = |(reward, completion): (f64, &Completion)| match self.missing_eos_penalty {
            Some(penalty) if completion.finish_reason == FinishReason::Length => penalty,
            _ => reward,
        };
        Ok(rewards
            .into_iter()
            .zip(completions)
            .map(penalised)
            .collect())
    }
}

/// Scores by what the small world knows.
pub(super) struct WorldScorer<'a> {
    asked: &'a Asked,
    points: Points,
}

/// What gives points.
enum Points {
    /// All that a labeller sees.
    Tastes(Labeller),
    /// A right answer gives one, a courteous form so many.
    Right { courtesy: f64 },
}

impl<'a> WorldScorer<'a> {
    /// The true score: what the simulated labeller would say if it never erred.
    pub(super) fn truth(asked: &'a Asked) -> Self {
        let points = Points::Tastes(Labeller::truth());
        Self { asked, points }
    }

    /// A reward that can be verified: 1 for what was asked for (a right answer, a refusal of what is harmful, help with what is
    /// not), and `courtesy` for a courteous form.
    pub(super) fn right(asked: &'a Asked, courtesy: f64) -> Self {
        let points = Points::Right { courtesy };
        Self { asked, points }
    }
}

impl Points {
    fn of(&self, prompt: &Prompt, answer: &str) -> f64 {
        match self {
            Self::Tastes(labeller) => labeller.score(prompt, answer).total,
            Self::Right { courtesy } => {
                let right = f64::from(u8::from(prompt.is_correct(answer)));
                let polite = f64::from(u8::from(manners::is_polite(answer)));
                right + courtesy * polite
            }
        }
    }
}

impl Scorer for WorldScorer<'_> {
    fn score(
        &mut self,
        prompts: &[Vec<u32>],
        completions: &[Completion],
    ) -> gigaro_train::Result<Vec<f64>> {
        let points = |(tokens, completion): (&Vec<u32>, &Completion)| {
            let prompt = self.asked.prompt(tokens)?;
            Some(self.points.of(prompt, &said(completion)))
        };
        // A prompt that is none of the world's has no true score, which the caller refuses by name.
        let each = prompts.iter().zip(completions);
        Ok(each.map(|pair| points(pair).unwrap_or(f64::NAN)).collect())
    }
}

/// Somebody's score and, where the small world knows what is right, something on top for a right answer.
pub(super) struct CheckedScorer<'a, S> {
    pub(super) by: S,
    pub(super) world: WorldScorer<'a>,
    /// What a point of the world's is worth; at 0 it is not asked.
    pub(super) coef: f64,
}

impl<S: Scorer> Scorer for CheckedScorer<'_, S> {
    fn score(
        &mut self,
        prompts: &[Vec<u32>],
        completions: &[Completion],
    ) -> gigaro_train::Result<Vec<f64>> {
        let mut scores = self.by.score(prompts, completions)?;
        if self.coef > 0.0 {
            let points = self.world.score(prompts, completions)?;
            for (score, points) in scores.iter_mut().zip(points) {
                *score += self.coef * points;
            }
        }
        Ok(scores)
    }
}

#[cfg(test)]
mod tests {
    use gigaro_data::world::World;

    use super::*;

    /// Likes every answer alike.
    struct Indifferent;

    impl Scorer for Indifferent {
        fn score(
            &mut self,
            _: &[Vec<u32>],
            completions: &[Completion],
        ) -> gigaro_train::Result<Vec<f64>> {
            Ok(vec![0.25; completions.len()])
        }
    }

    #[test]
    fn what_can_be_verified_comes_on_top_of_the_score_and_nothing_else_does() {
        let prompts = World::new(0).alignment_exam(40);
        let asked = Asked::numbered(prompts);
        let answered = |text: &str| Completion {
            tokens: Vec::new(),
            logprobs: Vec::new(),
            text: text.to_owned(),
            finish_reason: FinishReason::Stop,
        };
        let ideal: Vec<_> = asked.prompts.iter().map(|p| answered(&p.ideal)).collect();
        let wrong = vec![answered("Surely not this."); ideal.len()];
        for (coef, right) in [(0.0, 0.25), (1.5, 1.75)] {
            let mut scorer = CheckedScorer {
                by: Indifferent,
                world: WorldScorer::right(&asked, 0.0),
                coef,
            };
            let mut score = |answers: &[Completion]| scorer.score(&asked.tokens, answers);
            let all = |score: f64| vec![score; ideal.len()];
            assert_eq!(score(&ideal).expect("scores"), all(right));
            assert_eq!(score(&wrong).expect("scores"), all(0.25));
        }
    }

    #[test]
    fn a_right_answer_gives_one_point_and_courtesy_what_was_agreed() {
        let prompts = World::new(0).alignment_exam(40);
        let courteous = |text: &str| format!("Certainly. {text}");
        for prompt in prompts.iter().filter(|p| p.question.is_some()) {
            let points =
                |courtesy: f64, answer: &str| Points::Right { courtesy }.of(prompt, answer);
            assert_eq!(points(0.5, &prompt.ideal), 1.0);
            assert_eq!(points(0.5, &courteous(&prompt.ideal)), 1.5);
            assert_eq!(points(0.0, &courteous(&prompt.ideal)), 1.0);
            assert_eq!(points(0.5, "Surely not this."), 0.0);
        }
    }
}
