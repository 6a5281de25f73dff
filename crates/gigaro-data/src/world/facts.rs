//! Facts, the relations they belong to, and the things they are about.
//!
//! Every true statement of the world is a [`Fact`]: a subject, a [`Relation`] and an object, such as (Norland, capital,
//! Velm). All text that claims something about the world is made from facts, so it cannot contradict itself; and every
//! question is made from a fact, so its answer is known. What a relation says and how it is asked stands in the tables of
//! [`super::geography`], [`super::people`], [`super::animals`], [`super::trades`] and [`super::history`].
//!
//! A share of the facts of each relation is *held out*: they are told in text like any other, but no question about them
//! is ever asked where a model learns, neither in the corpus nor in fine-tuning conversations.

use std::fmt;

use super::english;
use super::frames::{Sex, Slots, Text, fill, filled};
use super::rng::{Rng, hash};

/// The name of a thing or person, with what pronouns need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noun {
    /// The name as it stands inside a sentence: `Norland`, `fox`, `the Great Fire`.
    pub text: String,
    /// Set for people only.
    pub sex: Option<Sex>,
}

impl Noun {
    pub(crate) fn thing(text: impl Into<String>) -> Noun {
        Noun {
            text: text.into(),
            sex: None,
        }
    }

    pub(crate) fn person(text: impl Into<String>, sex: Sex) -> Noun {
        Noun {
            text: text.into(),
            sex: Some(sex),
        }
    }

    pub(crate) fn put<'a>(&'a self, key: &'static str, slots: &mut Slots<'a>) {
        match self.sex {
            Some(sex) => slots.person(key, &self.text, sex),
            None => slots.set(key, self.text.as_str()),
        };
    }
}

impl fmt::Display for Noun {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The same facts asked from the other end: which subject has this object?
#[derive(Debug)]
pub(crate) struct Back {
    pub(crate) key: &'static str,
    pub(crate) ask: &'static [&'static str],
    pub(crate) ask_held_out: &'static [&'static str],
    /// The short answer, usually `{s}`.
    pub(crate) short: &'static str,
}

/// How one kind of fact is told and asked. Slots: `{s}` the subject, `{o}` the object.
#[derive(Debug)]
pub(crate) struct Relation {
    pub(crate) key: &'static str,
    /// Sentences that stand alone.
    pub(crate) tell: &'static [&'static str],
    /// Sentences that go on about a subject already named.
    pub(crate) more: &'static [&'static str],
    pub(crate) ask: &'static [&'static str],
    /// Phrasings kept for measuring: never asked where a model learns.
    pub(crate) ask_held_out: &'static [&'static str],
    /// The short answer, usually `{o}`.
    pub(crate) short: &'static str,
    pub(crate) back: Option<Back>,
}

impl Relation {
    /// The sentence that answers a question: it says again what was asked about, and ends with what was asked for.
    ///
    /// So a model that answers goes on with a sentence which it has read, instead of knowing every fact a second time as
    /// the answer to a question. `backwards` if the subject is asked for.
    pub(crate) fn sentence(&self, backwards: bool) -> &'static str {
        let goes_backwards = |frame: &&&str| (frame.find("{o}") < frame.find("{s}")) == backwards;
        self.tell
            .iter()
            .find(goes_backwards)
            .unwrap_or(&self.tell[0])
    }
}

/// One true statement.
#[derive(Debug, Clone)]
pub struct Fact {
    pub(crate) relation: &'static Relation,
    /// What the fact is about.
    pub subject: Noun,
    /// What is said of it.
    pub object: Noun,
    /// Whether questions about it are kept for measuring.
    pub held_out: bool,
}

impl Fact {
    pub(crate) fn new(relation: &'static Relation, subject: &Noun, object: Noun) -> Fact {
        Fact {
            relation,
            subject: subject.clone(),
            object,
            held_out: false,
        }
    }

    /// The relation's name, such as `capital`.
    pub fn relation(&self) -> &'static str {
        self.relation.key
    }

    pub(crate) fn slots(&self) -> Slots<'_> {
        let mut slots = Slots::new();
        self.subject.put("s", &mut slots);
        self.object.put("o", &mut slots);
        slots
    }

    /// The fact in every phrasing in which the corpus tells it as a sentence of its own.
    pub fn statements(&self) -> Vec<String> {
        let slots = self.slots();
        self.relation
            .tell
            .iter()
            .map(|frame| english::capitalised(&filled(frame, &slots)))
            .collect()
    }

    /// Says the fact as a sentence that stands alone.
    pub(crate) fn tell(&self, text: &mut Text, rng: &mut Rng) {
        text.say(rng.word(self.relation.tell), &self.slots());
    }

    /// Says the fact of a subject that was just named.
    pub(crate) fn tell_more(&self, text: &mut Text, rng: &mut Rng) {
        text.say(rng.word(self.relation.more), &self.slots());
    }

    /// The fact as a clause: no capital unless a name begins it, no full stop.
    pub(crate) fn clause(&self, out: &mut String, rng: &mut Rng) {
        // Frames that command, or that hold a colon or a condition, make no clause.
        const NO_CLAUSE: [&str; 8] = [
            "Look ", "Give ", "Go to ", "Listen ", "If ", "Close ", "Put ", "When ",
        ];
        let fits = |frame: &&str| {
            !frame.contains(':') && !NO_CLAUSE.iter().any(|start| frame.starts_with(start))
        };
        let tell = self.relation.tell;
        let frame = (0..8).map(|_| rng.word(tell)).find(fits).unwrap_or(tell[0]);
        let start = out.len();
        fill(out, frame, &self.slots());
        if out.ends_with('.') {
            out.pop();
        }
        // A name keeps its letter; a word that only opens the sentence loses its capital.
        let opens_with_name = frame.starts_with('{')
            && !["{A ", "{many ", "{cap "]
                .iter()
                .any(|f| frame.starts_with(f));
        if !opens_with_name {
            out[start..start + 1].make_ascii_lowercase();
        }
    }
}

/// What an entity is; decides how an entry about it opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntityKind {
    /// A country.
    Country,
    /// A town that is no capital.
    Town,
    /// A king or queen.
    Ruler,
    /// A man, woman or child of one of the families.
    Person,
    /// A kind of animal.
    Animal,
    /// A trade.
    Trade,
    /// A dish or other food.
    Food,
    /// Something that happened.
    Event,
    /// A system or tool on the road from AlexNet to ChatGPT.
    Milestone,
}

/// A thing or person with all that is known of it.
#[derive(Debug, Clone)]
pub struct Entity {
    /// What it is.
    pub kind: EntityKind,
    /// What it is called.
    pub noun: Noun,
    /// Its facts, in the order in which an entry would tell them.
    pub facts: Vec<Fact>,
}

impl Entity {
    pub(crate) fn new(kind: EntityKind, noun: Noun) -> Entity {
        Entity {
            kind,
            noun,
            facts: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, relation: &'static Relation, object: Noun) {
        let fact = Fact::new(relation, &self.noun, object);
        self.facts.push(fact);
    }

    /// The object of one relation, if the entity has it.
    pub fn get(&self, relation: &str) -> Option<&Noun> {
        self.fact(relation).map(|fact| &fact.object)
    }

    pub(crate) fn fact(&self, relation: &str) -> Option<&Fact> {
        self.facts.iter().find(|fact| fact.relation.key == relation)
    }
}

/// Marks a fixed share of each relation's facts as held out, chosen by the hash of subject and relation.
///
/// A plain threshold on the hash would leave a relation of twelve subjects with none or with six; ranking by the hash
/// keeps the share. Relations of fewer than six subjects stay whole: too little would be left to learn the question from.
pub(crate) fn hold_out(entities: &mut [Entity], percent: usize, seed: u64) {
    // Rank, entity, place among its facts.
    type Ranked = (u64, usize, usize);
    let mut by_relation: Vec<(&'static str, Vec<Ranked>)> = Vec::new();
    for (e, entity) in entities.iter().enumerate() {
        for (f, fact) in entity.facts.iter().enumerate() {
            let key = fact.relation.key;
            let rank = hash(&format!("{key}/{}/{seed}", fact.subject));
            match by_relation.iter_mut().find(|(k, _)| *k == key) {
                Some((_, list)) => list.push((rank, e, f)),
                None => by_relation.push((key, vec![(rank, e, f)])),
            }
        }
    }
    for (_, mut list) in by_relation {
        if list.len() < 6 {
            continue;
        }
        list.sort_unstable();
        let count = (list.len() * percent).div_ceil(100);
        for &(_, e, f) in &list[..count] {
            entities[e].facts[f].held_out = true;
        }
    }
}
