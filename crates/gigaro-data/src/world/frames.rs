//! Sentence frames: strings written by hand, with slots in braces, and the one function that fills them.
//!
//! A frame is an English sentence such as `"{s} feeds {his} {pet} every morning."`. Slots take what the world knows;
//! the rest stays as it was written, so the English of a text is the English of its frames. A slot may ask for a form:
//!
//! | slot | becomes |
//! |---|---|
//! | `{s}` | the text of slot `s` |
//! | `{a s}` `{A s}` | with its indefinite article: `an owl`, `A fox` |
//! | `{many s}` | its plural: `mice` |
//! | `{cap s}` | with a capital letter: `The Salt War` |
//! | `{he}` `{him}` `{his}` `{He}` `{His}` `{himself}` | the pronoun of the first person among the slots |
//! | `{q.he}` ... | the pronoun of the person in slot `q` |
//!
//! A slot that was not given is a mistake in this module, never in user input, so it panics; a test fills every frame.

use std::borrow::Cow;

use super::english;

/// Whether a person is spoken of as he or she.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sex {
    /// he, him, his
    Male,
    /// she, her, her
    Female,
}

#[derive(Debug, Clone)]
struct Slot<'a> {
    key: &'static str,
    text: Cow<'a, str>,
    sex: Option<Sex>,
}

/// What goes into the slots of a frame.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slots<'a> {
    slots: Vec<Slot<'a>>,
}

impl<'a> Slots<'a> {
    pub(crate) fn new() -> Self {
        Slots {
            slots: Vec::with_capacity(16),
        }
    }

    /// Sets a slot; the last value given counts.
    pub(crate) fn set(&mut self, key: &'static str, text: impl Into<Cow<'a, str>>) -> &mut Self {
        self.put(Slot {
            key,
            text: text.into(),
            sex: None,
        })
    }

    /// Sets a slot to a person, so that pronouns can follow.
    pub(crate) fn person(&mut self, key: &'static str, name: &'a str, sex: Sex) -> &mut Self {
        self.put(Slot {
            key,
            text: Cow::Borrowed(name),
            sex: Some(sex),
        })
    }

    fn put(&mut self, slot: Slot<'a>) -> &mut Self {
        match self.slots.iter_mut().find(|old| old.key == slot.key) {
            Some(old) => *old = slot,
            None => self.slots.push(slot),
        }
        self
    }

    #[track_caller]
    fn text(&self, key: &str, frame: &str) -> &str {
        match self.slots.iter().find(|slot| slot.key == key) {
            Some(slot) => &slot.text,
            None => panic!("the frame {frame:?} wants slot {key:?}, which was not given"),
        }
    }

    fn sex(&self, key: Option<&str>, frame: &str) -> Sex {
        let found = match key {
            Some(key) => self
                .slots
                .iter()
                .find(|slot| slot.key == key)
                .and_then(|slot| slot.sex),
            None => self.slots.iter().find_map(|slot| slot.sex),
        };
        found.unwrap_or_else(|| {
            panic!("the frame {frame:?} wants a pronoun, but no slot is a person")
        })
    }
}

/// The pronoun named by a slot such as `his`, or none if the slot is no pronoun.
fn pronoun(word: &str, sex: Sex) -> Option<&'static str> {
    let female = sex == Sex::Female;
    Some(match (word, female) {
        ("he", false) => "he",
        ("he", true) => "she",
        ("him", false) => "him",
        ("him" | "his", true) => "her",
        ("his", false) => "his",
        ("himself", false) => "himself",
        ("himself", true) => "herself",
        ("He", false) => "He",
        ("He", true) => "She",
        ("His", false) => "His",
        ("His", true) => "Her",
        _ => return None,
    })
}

const PRONOUNS: [&str; 6] = ["he", "him", "his", "himself", "He", "His"];

/// Appends the frame to `out` with its slots filled.
///
/// # Panics
/// If a slot of the frame was not given.
#[track_caller]
pub(crate) fn fill(out: &mut String, frame: &str, slots: &Slots) {
    let mut rest = frame;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        let close = rest[open..].find('}').expect("a frame closes its braces") + open;
        fill_slot(out, &rest[open + 1..close], slots, frame);
        rest = &rest[close + 1..];
    }
    out.push_str(rest);
}

#[track_caller]
fn fill_slot(out: &mut String, slot: &str, slots: &Slots, frame: &str) {
    if PRONOUNS.contains(&slot) {
        out.push_str(pronoun(slot, slots.sex(None, frame)).expect("listed"));
        return;
    }
    if let Some((key, word)) = slot.split_once('.') {
        out.push_str(
            pronoun(word, slots.sex(Some(key), frame)).expect("a pronoun follows the dot"),
        );
        return;
    }
    match slot.split_once(' ') {
        None => out.push_str(slots.text(slot, frame)),
        Some((form, key)) => {
            let text = slots.text(key, frame);
            match form {
                "a" | "A" => {
                    let article = english::article(text);
                    out.push_str(if form == "a" {
                        article
                    } else {
                        if article == "a" { "A" } else { "An" }
                    });
                    out.push(' ');
                    out.push_str(text);
                }
                "many" => out.push_str(&english::plural(text)),
                "cap" => english::push_capitalised(out, text),
                other => panic!("the frame {frame:?} asks for the unknown form {other:?}"),
            }
        }
    }
}

/// The frame with its slots filled, as a new string.
#[track_caller]
pub(crate) fn filled(frame: &str, slots: &Slots) -> String {
    let mut out = String::with_capacity(frame.len() + 32);
    fill(&mut out, frame, slots);
    out
}

/// Text under construction: sentences set apart by one space, paragraphs by a line break.
#[derive(Debug, Default)]
pub(crate) struct Text {
    pub(crate) out: String,
}

impl Text {
    pub(crate) fn new() -> Self {
        Text {
            out: String::with_capacity(1024),
        }
    }

    /// Appends one frame as a sentence (or several), capitalised, after a space.
    #[track_caller]
    pub(crate) fn say(&mut self, frame: &str, slots: &Slots) -> &mut Self {
        if !self.out.is_empty() && !self.out.ends_with('\n') {
            self.out.push(' ');
        }
        let start = self.out.len();
        fill(&mut self.out, frame, slots);
        english::capitalise_at(&mut self.out, start);
        self
    }

    /// Starts a new line.
    pub(crate) fn line(&mut self) -> &mut Self {
        if !self.out.is_empty() && !self.out.ends_with('\n') {
            self.out.push('\n');
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_take_articles_plurals_capitals_and_pronouns() {
        let mut slots = Slots::new();
        slots
            .person("p", "Mia", Sex::Female)
            .person("q", "Tom", Sex::Male)
            .set("animal", "owl");
        let mut text = Text::new();
        text.say("{p} saw {a animal}. {He} told {his} friend {q} about it, and {q.he} drew two {many animal}.", &slots);
        assert_eq!(
            text.out,
            "Mia saw an owl. She told her friend Tom about it, and he drew two owls."
        );
    }

    #[test]
    #[should_panic(expected = "wants slot")]
    fn a_missing_slot_is_a_loud_mistake() {
        filled("{nobody} came.", &Slots::new());
    }
}
