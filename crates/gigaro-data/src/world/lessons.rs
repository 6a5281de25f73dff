//! Lessons about words, as a school reader has them: opposites, tenses, plurals, sorts of things.
//!
//! They tell what the questions of [`super::instructions`] ask; no lesson asks anything.

use super::World;
use super::english::{self, VERBS};
use super::frames::{Slots, Text};
use super::instructions::{any_noun, opposites, pick_sorts, put_verb};
use super::rng::Rng;

const OPPOSITE: [&str; 9] = [
    "The opposite of {a} is {b}.",
    "What is not {a} may be {b}, its opposite.",
    "{a} and {b} are opposites.",
    "{a} is the opposite of {b}.",
    "If one word is {a}, its opposite is {b}.",
    "{p} said {a} and meant {b}, which is the opposite.",
    "Say {b} when you want the opposite of {a}.",
    "{b} stands against {a} as its opposite.",
    "In the list of opposites, {b} stands beside {a}.",
];
const PAST: [&str; 7] = [
    "Today {p} {third} {tail}. Yesterday {p} {past} {tail}.",
    "The past tense of {plain} is {past}.",
    "Every day {p} {third} {tail}, and yesterday {he} {past} {tail} as well.",
    "We say that {p} {third} {tail}, but of last week we say that {p} {past} {tail}.",
    "{p} {third} {tail}. In the past tense: {p} {past} {tail}.",
    "Now {p} {third} {tail}. Then {p} {past} {tail}.",
    "Of the verb {plain} the past is {past}: {p} {past} {tail}.",
];
const PLURAL: [&str; 6] = [
    "One {one}, two {more}.",
    "The plural of {one} is {more}.",
    "There is one {one} here and there are three {more} there.",
    "We say one {one}, but many {more}.",
    "If there is more than one {one}, we write {more}.",
    "{p} saw one {one}, and {q} saw five {more}.",
];
const SORT: [&str; 5] = [
    "{A x} is {a sort}.",
    "The {x} belongs to the {many sort}.",
    "Of the words {x}, {y} and {z}, only {x} names {a sort}.",
    "The word {x} names {a sort}.",
    "If someone asks for {a sort}, you may say {x}.",
];
const OPENINGS: [&str; 7] = [
    "A lesson in words.",
    "From the grammar book.",
    "The children learned new words today.",
    "Rules of our language:",
    "Words and how they change.",
    "The teacher wrote on the board:",
    "Today the class spoke about words.",
];

/// A page of lessons about words.
pub(crate) fn lesson(world: &World, rng: &mut Rng) -> String {
    let mut text = Text::new();
    if rng.chance(30) {
        text.say(rng.word(&OPENINGS), &Slots::new());
    }
    let only = rng.chance(50).then(|| rng.below(4));
    for _ in 0..4 + rng.below(5) {
        let (p, q) = world.two_people(rng);
        let mut slots = Slots::new();
        p.put("p", &mut slots);
        q.put("q", &mut slots);
        let frames: &[&str] = match only.unwrap_or_else(|| rng.below(4)) {
            0 => {
                let (a, b) = opposites(rng);
                slots.set("a", a).set("b", b);
                &OPPOSITE
            }
            1 => {
                let verb = rng.pick(&VERBS);
                put_verb(verb, &mut slots);
                &PAST
            }
            2 => {
                let one = any_noun(world, rng);
                slots.set("more", english::plural(&one)).set("one", one);
                &PLURAL
            }
            _ => {
                let (sort, words) = pick_sorts(rng);
                slots
                    .set("sort", sort)
                    .set("x", words[0])
                    .set("y", words[1])
                    .set("z", words[2]);
                // A mass noun takes no article.
                if sort == "food" { &SORT[2..] } else { &SORT }
            }
        };
        text.say(rng.word(frames), &slots);
    }
    text.out
}

/// Every frame of this file, for the count and the checks.
#[cfg(test)]
pub(crate) fn frames() -> Vec<&'static str> {
    [&OPPOSITE[..], &PAST, &PLURAL, &SORT, &OPENINGS].concat()
}
