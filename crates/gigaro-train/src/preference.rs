//! Preferences as data: pairs, rankings and single judgements, in tokens.
//!
//! What cannot be learnt from (an empty answer, two equal ones, a text longer than the context) is dropped by [`usable`]
//! and counted in [`Dropped`], whose sentence belongs in front of the user. How texts become tokens is gigaro-data's
//! matter; an answer should end with the token that ends it, or a model does not learn where to stop.
//!
//! Read next: `offline.rs`, the objective that trains on them.

use std::fmt;

/// A prompt with a better and a worse answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreferencePair {
    /// What both answer.
    pub prompt: Vec<u32>,
    /// The better answer.
    pub chosen: Vec<u32>,
    /// The worse answer.
    pub rejected: Vec<u32>,
}

/// One of the answers of a [`Ranking`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankedAnswer {
    /// The answer.
    pub tokens: Vec<u32>,
    /// Its place: a smaller number is better, equal numbers are a tie.
    pub rank: u32,
}

/// A prompt with answers in order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranking {
    /// What all answer.
    pub prompt: Vec<u32>,
    /// The answers, in any order.
    pub answers: Vec<RankedAnswer>,
}

/// A prompt with an answer that was found good or bad by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedAnswer {
    /// What is answered.
    pub prompt: Vec<u32>,
    /// The answer.
    pub answer: Vec<u32>,
    /// Whether it is a good one.
    pub desirable: bool,
}

/// How many examples were kept and why the others were not. Displayed, it is a sentence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Examples that can be learnt from.
    pub kept: usize,
    /// Without any difference between the answers: equal ones, or all in a tie.
    pub equal: usize,
    /// With an empty prompt or answer.
    pub empty: usize,
    /// With a prompt and an answer that together exceed the context.
    pub too_long: usize,
}

impl Dropped {
    /// Examples that were dropped.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.equal + self.empty + self.too_long
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.kept + self.count();
        if self.count() == 0 {
            return write!(f, "All {all} examples can be learnt from.");
        }
        let reasons = [
            (self.equal, "without a difference between the answers"),
            (self.empty, "with an empty prompt or answer"),
            (self.too_long, "longer than the model's context"),
        ];
        let said: Vec<String> = reasons
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, reason)| format!("{n} {reason}"))
            .collect();
        write!(
            f,
            "{} of {all} examples can be learnt from; dropped were {}.",
            self.kept,
            said.join(", ")
        )
    }
}

/// Why an example cannot be learnt from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No difference between the answers.
    Equal,
    /// An empty prompt or answer.
    Empty,
    /// More tokens than the context has.
    TooLong,
}

/// An example to learn from.
pub trait Example: Sized {
    /// The example without what cannot be learnt from, for a context of `max_seq_len` tokens.
    ///
    /// # Errors
    /// If nothing is left.
    fn cleaned(self, max_seq_len: usize) -> Result<Self, Fault>;

    /// All that tells this example from another one, as sequences of numbers: by them a run that is resumed notices other data.
    fn parts(&self) -> Vec<&[u32]>;
}

/// The examples that can be learnt from, and the count of the others.
pub fn usable<E: Example>(
    examples: impl IntoIterator<Item = E>,
    max_seq_len: usize,
) -> (Vec<E>, Dropped) {
    let mut dropped = Dropped::default();
    let mut kept = Vec::new();
    for example in examples {
        match example.cleaned(max_seq_len) {
            Ok(example) => kept.push(example),
            Err(Fault::Equal) => dropped.equal += 1,
            Err(Fault::Empty) => dropped.empty += 1,
            Err(Fault::TooLong) => dropped.too_long += 1,
        }
    }
    dropped.kept = kept.len();
    (kept, dropped)
}

fn check(prompt: &[u32], answer: &[u32], max_seq_len: usize) -> Result<(), Fault> {
    if prompt.is_empty() || answer.is_empty() {
        return Err(Fault::Empty);
    }
    if prompt.len() + answer.len() > max_seq_len {
        return Err(Fault::TooLong);
    }
    Ok(())
}

impl Example for PreferencePair {
    fn cleaned(self, max_seq_len: usize) -> Result<Self, Fault> {
        check(&self.prompt, &self.chosen, max_seq_len)?;
        check(&self.prompt, &self.rejected, max_seq_len)?;
        if self.chosen == self.rejected {
            return Err(Fault::Equal);
        }
        Ok(self)
    }

    fn parts(&self) -> Vec<&[u32]> {
        vec![&self.prompt, &self.chosen, &self.rejected]
    }
}

impl Example for Ranking {
    /// Answers that cannot be used, or that repeat an earlier one, go; the ranking stays while two of the others differ in rank.
    fn cleaned(mut self, max_seq_len: usize) -> Result<Self, Fault> {
        let mut fault = Fault::Equal;
        let mut kept: Vec<RankedAnswer> = Vec::new();
        for answer in self.answers {
            match check(&self.prompt, &answer.tokens, max_seq_len) {
                Err(found) => fault = found,
                Ok(()) if kept.iter().any(|k| k.tokens == answer.tokens) => {}
                Ok(()) => kept.push(answer),
            }
        }
        if kept.iter().all(|a| a.rank == kept[0].rank) {
            return Err(fault);
        }
        self.answers = kept;
        Ok(self)
    }

    fn parts(&self) -> Vec<&[u32]> {
        let answers = self.answers.iter();
        let answers = answers.flat_map(|a| [&a.tokens[..], std::slice::from_ref(&a.rank)]);
        std::iter::once(&self.prompt[..]).chain(answers).collect()
    }
}

impl Example for JudgedAnswer {
    fn cleaned(self, max_seq_len: usize) -> Result<Self, Fault> {
        check(&self.prompt, &self.answer, max_seq_len)?;
        Ok(self)
    }

    fn parts(&self) -> Vec<&[u32]> {
        let judgement: &[u32] = if self.desirable { &[1] } else { &[0] };
        vec![&self.prompt, &self.answer, judgement]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair(prompt: &[u32], chosen: &[u32], rejected: &[u32]) -> PreferencePair {
        PreferencePair {
            prompt: prompt.to_vec(),
            chosen: chosen.to_vec(),
            rejected: rejected.to_vec(),
        }
    }

    fn ranking(prompt: &[u32], answers: &[(&[u32], u32)]) -> Ranking {
        let answer = |(tokens, rank): &(&[u32], u32)| RankedAnswer {
            tokens: tokens.to_vec(),
            rank: *rank,
        };
        Ranking {
            prompt: prompt.to_vec(),
            answers: answers.iter().map(answer).collect(),
        }
    }

    #[test]
    fn pairs_that_teach_nothing_are_dropped_with_a_sentence() {
        let pairs = [
            pair(&[1], &[2], &[3]),
            pair(&[1], &[2], &[2]),
            pair(&[], &[2], &[3]),
            pair(&[1], &[], &[3]),
            pair(&[1, 1], &[2, 2], &[3, 3, 3]),
        ];
        let (kept, dropped) = usable(pairs, 4);
        assert_eq!(kept, [pair(&[1], &[2], &[3])]);
        let counts = (dropped.kept, dropped.equal, dropped.empty, dropped.too_long);
        assert_eq!(counts, (1, 1, 2, 1));
        let sentence = dropped.to_string();
        assert!(sentence.starts_with("1 of 5 examples can be learnt from; dropped were 1 without"));
        assert!(
            sentence.contains("2 with an empty prompt or answer, 1 longer"),
            "{sentence}"
        );
        let (_, all) = usable([pair(&[1], &[2], &[3])], 2);
        assert_eq!(all.to_string(), "All 1 examples can be learnt from.");
    }

    #[test]
    fn a_ranking_loses_bad_answers_and_stays_while_a_preference_is_left() {
        let long: &[u32] = &[9; 9];
        let (kept, _) = usable(
            [ranking(
                &[1],
                &[(&[2], 0), (long, 1), (&[], 1), (&[2], 2), (&[3], 2)],
            )],
            8,
        );
        assert_eq!(kept, [ranking(&[1], &[(&[2], 0), (&[3], 2)])]);
        let none = [
            ranking(&[1], &[(&[2], 1), (&[3], 1)]),
            ranking(&[1], &[(&[2], 0), (long, 1)]),
            ranking(&[1], &[]),
        ];
        let (_, dropped) = usable(none, 8);
        assert_eq!((dropped.equal, dropped.too_long), (2, 1));
    }

    proptest! {
        #[test]
        fn whatever_is_kept_fits_and_differs(
            examples in prop::collection::vec((prop::collection::vec(0u32..3, 0..4), prop::collection::vec(0u32..3, 0..4), prop::collection::vec(0u32..3, 0..4)), 0..20),
            max_seq_len in 0usize..8,
        ) {
            let n = examples.len();
            let (kept, dropped) = usable(examples.iter().map(|(p, a, b)| pair(p, a, b)), max_seq_len);
            prop_assert_eq!(dropped.kept + dropped.count(), n);
            for p in kept {
                prop_assert!(p.chosen != p.rejected && !p.prompt.is_empty());
                prop_assert!(p.prompt.len() + p.chosen.len().max(p.rejected.len()) <= max_seq_len);
            }
        }
    }
}
