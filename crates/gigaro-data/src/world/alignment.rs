//! What alignment is trained and measured on: mixes of questions, harmful requests and wishes that look harmful.
//!
//! Training prompts are endless and of the training split; prompt `i` is a function of the world, a seed and `i` alone, so
//! that a run can be resumed anywhere. The exam is held out and has more questions, and the red team ([`World::red_team`]) is
//! kept apart from both. Answers are judged by a [`Labeller`](super::Labeller).

use std::collections::HashSet;

use super::World;
use super::harm::{self, Disguised, Prompt};
use super::questions::Split;
use super::rng::Rng;

/// Of a hundred prompts of the exam so many are questions of the world: most of what is asked should stay right while
/// manners change. The rest is half harmful and half harmless but looking like it, so that neither helping always nor
/// refusing always pays.
const QUESTIONS_OF_EXAM: usize = 70;
const HARMFUL_OF_EXAM: usize = 15;
/// The same where a model learns: telling harm from its likeness takes more examples than being courteous.
const QUESTIONS_OF_TRAINING: usize = 50;
/// Fewer than of their likenesses: refusal, the same words for all, is learnt faster than help.
const HARMFUL_OF_TRAINING: usize = 17;

/// How often the exam draws again in search of a prompt that it does not have yet.
const TRIES: usize = 64;

#[derive(Clone, Copy)]
enum Sort {
    Question,
    Harmful,
    Harmless,
}

/// The sort of the prompt at `place` of a hundred, of which so many are questions and so many harmful.
fn sort(place: usize, questions: usize, harmful: usize) -> Sort {
    match place {
        n if n < questions => Sort::Question,
        n if n < questions + harmful => Sort::Harmful,
        _ => Sort::Harmless,
    }
}

impl World {
    /// Prompt `index` of the alignment set with this seed: of the training split, a function of world, seed and index.
    pub fn alignment_prompt(&self, seed: u64, index: u64) -> Prompt {
        let mut rng = Rng::at(seed ^ self.seed.rotate_left(32), "alignment", index);
        match sort(rng.below(100), QUESTIONS_OF_TRAINING, HARMFUL_OF_TRAINING) {
            Sort::Question => Prompt::of_question(self.ask(&mut rng, Split::Train)),
            Sort::Harmful => harm::training_prompt(self, &mut rng, true),
            Sort::Harmless => harm::training_prompt(self, &mut rng, false),
        }
    }

    /// The endless alignment set with this seed.
    pub fn alignment_prompts(&self, seed: u64) -> impl Iterator<Item = Prompt> + '_ {
        (0..).map(move |index| self.alignment_prompt(seed, index))
    }

    /// `n` held-out prompts, seven of ten of them questions, for win rates: the same for every call, all
    /// different as long as the world has enough, each stretch of them a fair sample.
    pub fn alignment_exam(&self, n: usize) -> Vec<Prompt> {
        let mut rng = Rng::at(self.seed, "alignment exam", 0);
        // By place among a hundred rather than by chance: the shares are met exactly where n is a multiple of twenty.
        let mut sorts: Vec<Sort> = (0..n)
            .map(|i| sort((i * 100 + 50) / n, QUESTIONS_OF_EXAM, HARMFUL_OF_EXAM))
            .collect();
        rng.shuffle(&mut sorts);
        let mut seen = HashSet::new();
        let mut draw = |sort| {
            let prompt = match sort {
                Sort::Question => Prompt::of_question(self.ask(&mut rng, Split::HeldOut)),
                Sort::Harmful => harm::held_out_prompt(self, &mut rng, true),
                Sort::Harmless => harm::held_out_prompt(self, &mut rng, false),
            };
            (seen.insert(prompt.text.clone()), prompt)
        };
        let mut one = |sort| {
            let (mut new, mut prompt) = draw(sort);
            for _ in 1..TRIES {
                if new {
                    break;
                }
                (new, prompt) = draw(sort);
            }
            prompt
        };
        sorts.into_iter().map(&mut one).collect()
    }

    /// Harmful requests in disguise (politely, urgently, in capitals, in a story ..) and harmless wishes in the same
    /// disguises, all of them held out.
    pub fn red_team(&self) -> Vec<Disguised> {
        harm::red_team(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(prompts: &[Prompt]) -> [usize; 3] {
        let questions = prompts.iter().filter(|p| p.question.is_some()).count();
        let harmful = prompts.iter().filter(|p| p.harmful).count();
        [questions, harmful, prompts.len() - questions - harmful]
    }

    #[test]
    fn training_prompts_come_in_the_stated_shares_and_are_never_held_out() {
        let world = World::new(0);
        let prompts: Vec<Prompt> = world.alignment_prompts(1).take(4_000).collect();
        let [questions, harmful, harmless] = shares(&prompts);
        assert!(questions.abs_diff(2_000) < 95, "{questions}");
        assert!(harmful.abs_diff(680) < 75, "{harmful}");
        assert!(harmless.abs_diff(1_320) < 90, "{harmless}");
        assert!(prompts.iter().all(|p| p.split == Split::Train));
        assert_eq!(prompts[17], World::new(0).alignment_prompt(1, 17));
        assert_ne!(prompts[17], world.alignment_prompt(2, 17));
    }

    #[test]
    fn the_exam_is_held_out_all_different_and_the_same_every_time() {
        let world = World::new(0);
        let exam = world.alignment_exam(200);
        assert_eq!(shares(&exam), [140, 30, 30]);
        assert!(exam.iter().all(|p| p.split == Split::HeldOut));
        assert_eq!(exam, world.alignment_exam(200));
        let texts: HashSet<&str> = exam.iter().map(|p| p.text.as_str()).collect();
        assert_eq!(texts.len(), 200);
        assert!(world.alignment_exam(0).is_empty());
        let training: HashSet<String> = world
            .alignment_prompts(5)
            .take(5_000)
            .map(|p| p.text)
            .collect();
        assert!(exam.iter().all(|p| !training.contains(&p.text)));
    }
}
