//! Judges: whoever can say which of two answers to a prompt is better.
//!
//! A judge that reads both answers at once, as a language model does, leans towards one place (Zheng et al. 2023, "Judging
//! LLM-as-a-judge with MT-Bench and Chatbot Arena"), so [`fair_verdict`] asks it in both orders and says where it contradicts
//! itself. A judge that scores each answer by itself is asked once.

use std::cmp::Ordering;

use gigaro_data::world::{Labeller, Prompt};

use crate::error::Result;

/// Which of two answers is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The first.
    First,
    /// Neither.
    Tie,
    /// The second.
    Second,
}

impl Verdict {
    /// The verdict on the same answers in the other order.
    #[must_use]
    pub fn swapped(self) -> Verdict {
        match self {
            Verdict::First => Verdict::Second,
            Verdict::Tie => Verdict::Tie,
            Verdict::Second => Verdict::First,
        }
    }
}

impl From<Ordering> for Verdict {
    /// How the first answer compares with the second.
    fn from(first: Ordering) -> Verdict {
        match first {
            Ordering::Greater => Verdict::First,
            Ordering::Equal => Verdict::Tie,
            Ordering::Less => Verdict::Second,
        }
    }
}

/// Compares answers.
pub trait Judge {
    /// Who judges and by what, for reports.
    fn name(&self) -> String;

    /// Which of two answers to the prompt is better; `None` if no verdict can be read from what the judge says.
    ///
    /// # Errors
    /// If the judge cannot be asked, or asking on is of no use.
    fn compare(&mut self, prompt: &Prompt, a: &str, b: &str) -> Result<Option<Verdict>>;

    /// Whether the order of the answers could sway it. True unless the judge is known to score each answer by itself.
    fn may_depend_on_order(&self) -> bool {
        true
    }

    /// What readers of a report should know about the verdicts so far, if anything.
    fn remark(&self) -> Option<String> {
        None
    }
}

/// What came of asking a judge about two answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ruling {
    /// A verdict that does not depend on the order.
    Agreed(Verdict),
    /// One verdict in one order, another in the other.
    Swayed,
    /// No verdict could be read in one of the orders, or in both.
    Unreadable,
}

impl Ruling {
    /// What counts: a judge that is swayed has no preference, and one that cannot be understood says nothing.
    #[must_use]
    pub fn verdict(self) -> Option<Verdict> {
        match self {
            Ruling::Agreed(verdict) => Some(verdict),
            Ruling::Swayed => Some(Verdict::Tie),
            Ruling::Unreadable => None,
        }
    }
}

/// The verdict with every preference for a place taken out: a judge whom the order could sway is asked in both, and
/// what it says only in one of them does not count.
///
/// # Errors
/// Those of the judge.
pub fn fair_verdict(
    judge: &mut (impl Judge + ?Sized),
    prompt: &Prompt,
    a: &str,
    b: &str,
) -> Result<Ruling> {
    // What stays unreadable whatever the other order says need not be asked for again.
    let Some(verdict) = judge.compare(prompt, a, b)? else {
        return Ok(Ruling::Unreadable);
    };
    if !judge.may_depend_on_order() {
        return Ok(Ruling::Agreed(verdict));
    }
    Ok(match judge.compare(prompt, b, a)?.map(Verdict::swapped) {
        None => Ruling::Unreadable,
        Some(again) if again == verdict => Ruling::Agreed(verdict),
        Some(_) => Ruling::Swayed,
    })
}

/// The small world's own judge: a simulated labeller, who knows the true answers.
#[derive(Clone, Debug)]
pub struct TruthJudge(pub Labeller);

impl Judge for TruthJudge {
    fn name(&self) -> String {
        self.0.describe()
    }

    fn compare(&mut self, prompt: &Prompt, a: &str, b: &str) -> Result<Option<Verdict>> {
        Ok(Some(self.0.prefers(prompt, a, b).into()))
    }

    fn may_depend_on_order(&self) -> bool {
        false
    }
}

/// Judges by a number for each answer, such as a reward model's score; the higher is better, and what is not a number
/// decides nothing.
pub struct ScoreJudge<F> {
    name: String,
    score: F,
}

impl<F: FnMut(&Prompt, &str) -> Result<f64>> ScoreJudge<F> {
    /// A judge by that score, under that name.
    pub fn new(name: impl Into<String>, score: F) -> Self {
        ScoreJudge {
            name: name.into(),
            score,
        }
    }
}

impl<F: FnMut(&Prompt, &str) -> Result<f64>> Judge for ScoreJudge<F> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn compare(&mut self, prompt: &Prompt, a: &str, b: &str) -> Result<Option<Verdict>> {
        let first = (self.score)(prompt, a)?;
        let second = (self.score)(prompt, b)?;
        let order = first.partial_cmp(&second).unwrap_or(Ordering::Equal);
        Ok(Some(order.into()))
    }

    fn may_depend_on_order(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use gigaro_data::world::World;

    use super::*;

    /// Prefers the first answer, unless the other is more than twice as long.
    struct Leaning {
        asked: usize,
    }

    impl Judge for Leaning {
        fn name(&self) -> String {
            "leans to the first".into()
        }

        fn compare(&mut self, _: &Prompt, a: &str, b: &str) -> Result<Option<Verdict>> {
            self.asked += 1;
            let second = b.len() > 2 * a.len();
            Ok(Some(if second {
                Verdict::Second
            } else {
                Verdict::First
            }))
        }
    }

    #[test]
    fn a_preference_for_a_place_becomes_a_tie_and_an_honest_one_stays() {
        let prompt = World::new(0).alignment_prompt(0, 0);
        let mut judge = Leaning { asked: 0 };
        let mut verdict = |a, b| fair_verdict(&mut judge, &prompt, a, b).expect("never fails");
        assert_eq!(verdict("one", "two"), Ruling::Swayed);
        assert_eq!(Ruling::Swayed.verdict(), Some(Verdict::Tie));
        assert_eq!(
            verdict("one", "one and two"),
            Ruling::Agreed(Verdict::Second)
        );
        assert_eq!(
            verdict("one and two", "one"),
            Ruling::Agreed(Verdict::First)
        );
        assert_eq!(judge.asked, 6);
    }

    #[test]
    fn the_worlds_truth_and_a_score_judge_each_answer_by_itself() {
        let world = World::new(0);
        let mut truth = TruthJudge(Labeller::truth());
        let asked = Cell::new(0);
        let mut shorter = ScoreJudge::new("brevity", |_: &Prompt, answer: &str| {
            asked.set(asked.get() + 1);
            Ok(if answer.is_empty() {
                f64::NAN
            } else {
                -(answer.len() as f64)
            })
        });
        let judges: [&mut dyn Judge; 2] = [&mut truth, &mut shorter];
        for judge in judges {
            for prompt in world.alignment_exam(40) {
                let verdict = fair_verdict(judge, &prompt, &prompt.ideal, &prompt.ideal);
                assert_eq!(verdict.expect("never fails"), Ruling::Agreed(Verdict::Tie));
            }
        }
        let prompt = &world.alignment_exam(1)[0];
        let right = truth.compare(prompt, "I do not know.", &prompt.ideal);
        assert_eq!(right.expect("never fails"), Some(Verdict::Second));
        let of_nothing = shorter.compare(prompt, "", "something");
        assert_eq!(of_nothing.expect("never fails"), Some(Verdict::Tie));
        assert_eq!((shorter.name().as_str(), asked.get()), ("brevity", 82));
    }
}
