//! Entries as an encyclopaedia prints them, and almanac pages that set facts of several things side by side.

use super::World;
use super::english;
use super::facts::{Entity, EntityKind, Fact};
use super::frames::{Slots, Text};
use super::rng::Rng;

/// How an entry opens, before its facts; the first fact follows with the name.
fn openings(kind: EntityKind) -> &'static [&'static str] {
    match kind {
        EntityKind::Country => &[
            "{e} is a country.",
            "{e} is one of the countries of the small world.",
            "{e}, a country of the small world, has a long history.",
            "Of all the countries, {e} is one of the most visited.",
        ],
        EntityKind::Town => &[
            "{e} is a small town.",
            "{e} is a quiet town with a market on every first day of the month.",
            "{e} is a town of a few hundred houses.",
            "The town of {e} is older than anyone can say.",
        ],
        EntityKind::Ruler => &[
            "{e} wears a crown.",
            "{e} lives in a palace, but often walks among the people.",
            "Few rulers are loved as much as {e}.",
            "{e} is known as a just ruler.",
        ],
        EntityKind::Person => &[
            "This is what the neighbours say about {e}.",
            "Let us speak of {e}.",
            "Everyone on the street knows {e}.",
            "Here is a short portrait of {e}.",
        ],
        EntityKind::Animal => &[
            "The {e} is an animal that everyone knows.",
            "This page is about the {e}.",
            "What do we know about the {e}?",
            "The {e} has its own place in the world.",
        ],
        EntityKind::Trade => &[
            "Every town needs a good {e}.",
            "The trade of the {e} is an old one.",
            "It takes years to become a good {e}.",
            "A page about the work of the {e}.",
        ],
        EntityKind::Food => &[
            "{e} is found on many tables.",
            "Everyone knows {e}.",
            "Few foods are as well liked as {e}.",
            "A word about {e}.",
        ],
        EntityKind::Event => &[
            "The chronicle tells of {e}.",
            "{e} has not been forgotten.",
            "Every schoolchild has heard of {e}.",
            "Much has been written about {e}.",
        ],
        EntityKind::Milestone => &[
            "{e} is a step on the road to machines that talk.",
            "No history of learning machines leaves out {e}.",
            "{e} has its place in the history of neural networks.",
            "Much of what came later rests on {e}.",
        ],
    }
}

/// How an entry may close.
fn closings(kind: EntityKind) -> &'static [&'static str] {
    match kind {
        EntityKind::Country => &[
            "Travellers praise its friendly people.",
            "Its summers are warm and its winters are short.",
            "Its flag flies above every town hall.",
        ],
        EntityKind::Town => &[
            "Strangers are always welcome there.",
            "In the evening the lamps are lit one by one.",
            "Once a year there is a fair.",
        ],
        EntityKind::Ruler => &[
            "The people drink to {his} health.",
            "On feast days {he} rides through the streets.",
            "Songs are sung about {him}.",
        ],
        EntityKind::Person => &[
            "The neighbours think well of {him}.",
            "There is always a kind word from {him}.",
            "{He} is seldom in a bad mood.",
        ],
        EntityKind::Animal => &[
            "Children like to watch it.",
            "It should never be teased.",
            "Many fables are told about it.",
        ],
        EntityKind::Trade => &[
            "A master always has an apprentice.",
            "The trade is passed on from parent to child.",
            "Good work is never out of fashion.",
        ],
        EntityKind::Food => &[
            "It is best when it is fresh.",
            "It is served on feast days.",
            "Every family has its own recipe.",
        ],
        EntityKind::Event => &[
            "May it never happen again.",
            "There are songs about it.",
            "The old still speak of it in low voices.",
        ],
        EntityKind::Milestone => &[
            "It is still read about today.",
            "Many built on it later.",
            "It changed the field.",
        ],
    }
}

/// An entry about one thing: an opening, most of its facts in a changing order, sometimes a closing.
pub(crate) fn entry(world: &World, rng: &mut Rng) -> String {
    let entity = world.any_entity(rng);
    let mut text = Text::new();
    let mut slots = Slots::new();
    entity.noun.put("e", &mut slots);
    if rng.chance(30) {
        text.say("{e}", &slots).line();
    }
    let opened = rng.chance(50);
    if opened {
        text.say(rng.word(openings(entity.kind)), &slots);
    }
    tell_entity(entity, &mut text, rng);
    if rng.chance(35) {
        text.say(rng.word(closings(entity.kind)), &slots);
    }
    text.out
}

/// The facts of an entity in one of two manners: named again and again, or named once and then by pronoun.
fn tell_entity(entity: &Entity, text: &mut Text, rng: &mut Rng) {
    let mut facts: Vec<&Fact> = entity.facts.iter().collect();
    rng.shuffle(&mut facts);
    let by_pronoun = rng.chance(55);
    for (i, fact) in facts.iter().enumerate() {
        if by_pronoun && i > 0 {
            fact.tell_more(text, rng);
        } else {
            fact.tell(text, rng);
        }
    }
}

/// How an almanac page opens.
const PAGES: [&str; 8] = [
    "Things worth knowing.",
    "From the almanac.",
    "What we learned at school today:",
    "Here are some facts to remember.",
    "A page from the schoolbook.",
    "Did you know?",
    "Grandfather's notebook says:",
    "Some short notes.",
];

/// What may stand before a fact told as a clause.
const LEADS: [&str; 14] = [
    "Everyone knows that",
    "It is well known that",
    "The schoolbook says that",
    "Grandmother told us that",
    "Do not forget that",
    "It is true that",
    "Travellers report that",
    "Remember that",
    "The teacher said that",
    "Few people know that",
    "I have learned that",
    "You may have heard that",
    "It should be said that",
    "The map shows, and everyone agrees, that",
];

/// What may join two facts told as clauses.
const JOINTS: [&str; 5] = [", and ", ", while ", "; ", ", whereas ", ", and likewise "];

/// A page of facts about different things.
pub(crate) fn almanac(world: &World, rng: &mut Rng) -> String {
    let mut text = Text::new();
    if rng.chance(40) {
        text.say(rng.word(&PAGES), &Slots::new());
    }
    let same = rng.chance(50).then(|| world.any_fact(rng).relation.key);
    let count = 4 + rng.below(5);
    for _ in 0..count {
        let fact = world.fact_like(same, rng);
        match rng.below(10) {
            0..=5 => fact.tell(&mut text, rng),
            6 | 7 => {
                let mut line = rng.word(&LEADS[..LEADS.len() - 1]).to_string();
                line.push(' ');
                fact.clause(&mut line, rng);
                line.push('.');
                text.say(&line, &Slots::new());
            }
            _ => {
                let mut line = String::new();
                fact.clause(&mut line, rng);
                line.push_str(rng.word(&JOINTS));
                world
                    .fact_like(Some(fact.relation.key), rng)
                    .clause(&mut line, rng);
                line.push('.');
                text.say(&english::capitalised(&line), &Slots::new());
            }
        }
    }
    text.out
}
