//! How tasks are scored: as EleutherAI's lm-evaluation-harness does it, so that figures can be compared with published ones.
//!
//! A choice is right (`acc`) if its text is the most probable one after the question, and right for its length (`acc_norm`) if that holds
//! for the log-probability per character. Words are right (`exact_match`) if they are the true ones and nothing else.

use serde_json::{Value, json};

use super::Proportion;

/// What a model makes of one choice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChoiceScore {
    /// Sum of its tokens' log-probabilities after the question.
    pub log_likelihood: f64,
    /// Characters of its text.
    pub characters: usize,
}

/// One task, done.
#[derive(Clone, Debug, PartialEq)]
pub enum TaskScore {
    /// A choice among texts.
    Choice {
        /// Of each text.
        scores: Vec<ChoiceScore>,
        /// Which is right.
        right: usize,
    },
    /// An answer in words.
    Words {
        /// What the model wrote.
        written: String,
        /// What would be right.
        truth: String,
    },
}

impl TaskScore {
    /// Whether the most probable choice, or what was written, is right.
    #[must_use]
    pub fn is_right(&self) -> bool {
        match self {
            Self::Choice { scores, right } => best(scores, |s| s.log_likelihood) == *right,
            Self::Words { written, truth } => written.trim() == truth.trim(),
        }
    }

    /// Whether the choice that is most probable for its length is right; `None` for words.
    #[must_use]
    pub fn is_right_for_length(&self) -> Option<bool> {
        let per_character = |s: &ChoiceScore| s.log_likelihood / s.characters as f64;
        match self {
            Self::Choice { scores, right } => Some(best(scores, per_character) == *right),
            Self::Words { .. } => None,
        }
    }
}

/// The place of the largest value; of equal ones the first.
fn best(scores: &[ChoiceScore], value: impl Fn(&ChoiceScore) -> f64) -> usize {
    let mut best = 0;
    for i in 1..scores.len() {
        if value(&scores[i]) > value(&scores[best]) {
            best = i;
        }
    }
    best
}

/// Shares of right answers with their intervals.
#[derive(Clone, Copy, Debug)]
pub struct TaskReport {
    /// Of the choices, the right ones; `None` without any.
    pub acc: Option<Proportion>,
    /// The same for their length.
    pub acc_norm: Option<Proportion>,
    /// Of the answers in words, the right ones; `None` without any.
    pub exact_match: Option<Proportion>,
}

impl TaskReport {
    /// Counts.
    #[must_use]
    pub fn of(scores: &[TaskScore]) -> Self {
        let mut report = Self {
            acc: None,
            acc_norm: None,
            exact_match: None,
        };
        for score in scores {
            let (right, for_length) = (score.is_right(), score.is_right_for_length());
            match for_length {
                None => report.exact_match.get_or_insert_default().add(right),
                Some(for_length) => {
                    report.acc.get_or_insert_default().add(right);
                    report.acc_norm.get_or_insert_default().add(for_length);
                }
            }
        }
        report
    }

    /// Each figure that there is, with its name in lm-evaluation-harness.
    pub fn figures(&self) -> impl Iterator<Item = (&'static str, Proportion)> {
        let all = [
            ("acc", self.acc),
            ("acc_norm", self.acc_norm),
            ("exact_match", self.exact_match),
        ];
        all.into_iter()
            .filter_map(|(name, share)| Some((name, share?)))
    }

    /// For a program.
    #[must_use]
    pub fn json(&self) -> Value {
        self.figures()
            .map(|(name, share)| (name.to_owned(), json!(share.share())))
            .collect::<serde_json::Map<String, Value>>()
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(scores: &[(f64, usize)], right: usize) -> TaskScore {
        let score = |&(log_likelihood, characters): &(f64, usize)| ChoiceScore {
            log_likelihood,
            characters,
        };
        TaskScore::Choice {
            scores: scores.iter().map(score).collect(),
            right,
        }
    }

    #[test]
    fn length_decides_where_it_is_asked_for_and_of_equals_the_first_wins() {
        let long = choice(&[(-4.0, 2), (-6.0, 12)], 1);
        assert!(!long.is_right());
        assert_eq!(long.is_right_for_length(), Some(true));
        let equal = choice(&[(-1.0, 1), (-1.0, 1)], 0);
        assert!(equal.is_right());
        let words = TaskScore::Words {
            written: " Ann\n".into(),
            truth: "Ann".into(),
        };
        assert!(words.is_right());
        assert_eq!(words.is_right_for_length(), None);
        let report = TaskReport::of(&[long, equal, words]);
        let expected = json!({ "acc": 0.5, "acc_norm": 1.0, "exact_match": 1.0 });
        assert_eq!(report.json(), expected);
        assert_eq!(TaskReport::of(&[]).json(), json!({}));
    }
}
