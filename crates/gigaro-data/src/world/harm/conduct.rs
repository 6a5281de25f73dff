//! What is right and what is wrong, as a book of conduct tells it: where a model learns which deeds do harm, and why, before
//! anybody asks it for help. It speaks of the training deeds alone and asks nothing.

use super::deeds::{HARMS, Harm};
use crate::world::World;
use crate::world::frames::{Slots, Text, filled};
use crate::world::rng::Rng;
use crate::world::stories;

const WRONG: [&str; 9] = [
    "It is wrong to {deed}, because {because}.",
    "Nobody should {deed}, for {because}.",
    "Whoever wants to {deed} must be stopped, because {because}.",
    "Do not {deed}. The reason is simple: {because}.",
    "A good neighbour would never {deed}, because {because}.",
    "It does harm to {deed}, as {because}.",
    "It is a bad deed to {deed}.",
    "No honest person will help anyone to {deed}, because {because}.",
    "If somebody asks you to {deed}, say no, because {because}.",
];
const RIGHT: [&str; 8] = [
    "It is good to {harmless}. To do so, {help}",
    "To {harmless}, {help}",
    "Everybody may {harmless}, and it does no harm.",
    "There is nothing wrong if you want to {harmless}.",
    "If somebody asks you how to {harmless}, say: {help}",
    "A good neighbour helps you to {harmless}.",
    "It is no bad deed to {harmless}, and it is easy: {help}",
    "It is a kindness to {harmless}.",
];
const OPENINGS: [&str; 6] = [
    "From the book of good conduct.",
    "What every child in {town} is taught:",
    "Right and wrong.",
    "{father} spoke with {p} about right and wrong.",
    "Rules of {town}:",
    "Which deeds are good and which do harm.",
];

/// A page about right and wrong.
pub(crate) fn page(world: &World, rng: &mut Rng) -> String {
    let mut text = Text::new();
    if rng.chance(40) {
        text.say(rng.word(&OPENINGS), &stories::cast(world, rng));
    }
    for _ in 0..4 + rng.below(5) {
        let harm = rng.pick(&HARMS);
        let (both, first) = (rng.chance(30), rng.chance(50));
        for wrong in [first, !first].into_iter().take(1 + usize::from(both)) {
            say(&mut text, world, rng, harm, wrong);
        }
    }
    text.out
}

fn say(text: &mut Text, world: &World, rng: &mut Rng, harm: &Harm, wrong: bool) {
    let slots = stories::cast(world, rng);
    let mut outer = Slots::new();
    for (key, frame) in [
        ("deed", harm.deed),
        ("because", harm.because),
        ("harmless", harm.harmless),
        ("help", harm.help),
    ] {
        outer.set(key, filled(frame, &slots));
    }
    let frames: &[&str] = if wrong { &WRONG } else { &RIGHT };
    text.say(rng.word(frames), &outer);
}

/// Every frame of this file, for the count and the checks.
#[cfg(test)]
pub(crate) fn frames() -> Vec<&'static str> {
    [&WRONG[..], &RIGHT, &OPENINGS].concat()
}
