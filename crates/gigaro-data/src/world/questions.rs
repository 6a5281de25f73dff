//! Questions with their true answers, and which of them are kept for measuring.
//!
//! A question is kept back ([`Split::HeldOut`]) for one stated reason ([`HeldOut`]): its fact is told in text but never
//! asked, its phrasing is never used, or its argument (a made-up word, a sum, a list) is never asked about. Everything a
//! model learns from, the corpus and the conversations, is made from [`Split::Train`] questions alone.

use super::facts::{Entity, Fact};
use super::frames::filled;
use super::manners;
use super::{arithmetic, english};

/// Which side of the exam a question is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// May appear where a model learns.
    Train,
    /// Kept for measuring.
    HeldOut,
}

/// Why a question is kept for measuring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeldOut {
    /// The fact is told in text, but no question about it is ever asked where a model learns.
    Fact,
    /// The fact is asked about, but never in these words.
    Phrasing,
    /// The argument (a made-up word, a sum, the words of an instruction) never occurs in a question.
    Argument,
}

/// One question with its true answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What is asked, such as `capital`, `sum` or `opposite`.
    pub kind: &'static str,
    /// The question as it is put.
    pub text: String,
    /// The true answer in its usual form, a sentence wherever there is one, such as `The capital of Norland is Velm.`
    pub answer: String,
    /// Every form of the answer that counts as right, normalised as by [`normalise`].
    pub acceptable: Vec<String>,
    /// Where it may be used.
    pub split: Split,
    /// Why it is held out; none for training questions.
    pub reason: Option<HeldOut>,
}

impl Question {
    pub(crate) fn new(
        kind: &'static str,
        text: String,
        answer: String,
        reason: Option<HeldOut>,
    ) -> Question {
        let acceptable = vec![normalise(&answer)];
        let split = if reason.is_some() {
            Split::HeldOut
        } else {
            Split::Train
        };
        Question {
            kind,
            text,
            answer,
            acceptable,
            split,
            reason,
        }
    }

    /// Adds another form that counts as right.
    pub(crate) fn or(mut self, form: &str) -> Question {
        let form = normalise(form);
        if !self.acceptable.contains(&form) {
            self.acceptable.push(form);
        }
        self
    }

    /// Whether it is about numbers: a sum, a difference, a product, which is larger.
    pub fn is_arithmetic(&self) -> bool {
        arithmetic::KINDS.contains(&self.kind)
    }

    /// Whether an answer is exactly right, but for space around it, case, a full stop at the end, and courtesies or
    /// ramblings of the stock that [`manners::plain`] takes off.
    pub fn is_correct(&self, answer: &str) -> bool {
        let accepts = |answer| self.acceptable.contains(&normalise(answer));
        accepts(answer) || accepts(manners::plain(answer))
    }
}

/// The form in which answers are compared: lower case, single spaces, no quotation marks, no stop at the end.
pub fn normalise(answer: &str) -> String {
    let mut out = String::with_capacity(answer.len());
    for word in answer.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(&word.to_lowercase().replace('"', ""));
    }
    out.truncate(out.trim_end_matches(['.', '!', ' ']).len());
    out
}

/// An answer as a sentence of its own: capital first, full stop last.
pub(crate) fn as_sentence(text: &str) -> String {
    let mut out = english::capitalised(text);
    if !out.ends_with(['.', '!', '?']) {
        out.push('.');
    }
    out
}

/// One form of asking about a fact.
struct Asking<'a> {
    kind: &'static str,
    frame: &'static str,
    /// The answer as a sentence of its own, and as short as it can be.
    sentence: &'static str,
    short: &'static str,
    bare: &'a str,
    reason: Option<HeldOut>,
}

impl Asking<'_> {
    fn question(&self, fact: &Fact) -> Question {
        let slots = fact.slots();
        let mut question = Question::new(
            self.kind,
            english::capitalised(&filled(self.frame, &slots)),
            english::capitalised(&filled(self.sentence, &slots)),
            self.reason,
        )
        .or(&filled(self.short, &slots))
        .or(self.bare)
        .or(&english::with_article(self.bare))
        .or(&format!("the {}", self.bare));
        for statement in fact.statements() {
            question = question.or(&statement);
        }
        question
    }
}

/// All questions about a fact, in all phrasings. `unique` says whether the object belongs to this subject alone, so
/// that the question can be asked from the other end.
pub(crate) fn of_fact(fact: &Fact, unique: bool) -> Vec<Question> {
    let relation = fact.relation;
    let mut out = Vec::new();
    let mut ask = |kind, short, frames: &'static [&'static str], unusual: bool| {
        let backwards = kind != relation.key;
        let bare = if backwards {
            &fact.subject.text
        } else {
            &fact.object.text
        };
        for frame in frames {
            let reason = match (fact.held_out, unusual) {
                (true, _) => Some(HeldOut::Fact),
                (false, true) => Some(HeldOut::Phrasing),
                (false, false) => None,
            };
            out.push(
                Asking {
                    kind,
                    frame,
                    sentence: relation.sentence(backwards),
                    short,
                    bare,
                    reason,
                }
                .question(fact),
            );
        }
    };
    ask(relation.key, relation.short, relation.ask, false);
    ask(relation.key, relation.short, relation.ask_held_out, true);
    if let Some(back) = relation.back.as_ref().filter(|_| unique) {
        ask(back.key, back.short, back.ask, false);
        ask(back.key, back.short, back.ask_held_out, true);
    }
    out
}

/// All questions about the facts of a world.
pub(crate) fn of_entities(entities: &[Entity]) -> Vec<Question> {
    let mut seen: std::collections::HashMap<(&str, &str), usize> = std::collections::HashMap::new();
    for fact in entities.iter().flat_map(|e| &e.facts) {
        *seen
            .entry((fact.relation.key, fact.object.text.as_str()))
            .or_default() += 1;
    }
    entities
        .iter()
        .flat_map(|e| &e.facts)
        .flat_map(|fact| {
            of_fact(
                fact,
                seen[&(fact.relation.key, fact.object.text.as_str())] == 1,
            )
        })
        .collect()
}
