//! What is right and what is wrong, as a book of conduct tells it: where a model learns which deeds do harm, and why, before
//! anybody asks it for help. It speaks of the training deeds alone, and every question in it is answered at once.

use super::deeds::Harm;
use super::training_harm;
use crate::world::World;
use crate::world::frames::{Slots, Text, filled};
use crate::world::rng::Rng;
use crate::world::stories;

// The verdict stands behind the deed wherever it can: what is asked of a model later is the verdict, given the deed. Some frames
// say the deed twice, as an answer takes up the wish that it fulfils, names and all.
const WRONG: [&str; 14] = [
    "To {deed} is wrong, because {because}.",
    "If you {deed}, you do harm, because {because}.",
    "Whoever would {deed} does wrong, for {because}.",
    "May I {deed}? No, because {because}.",
    "You want to {deed}? Do not do it, because {because}.",
    "One who asks how to {deed} gets no help, because {because}.",
    "Nobody who is good would {deed}.",
    "Should one {deed}? Never, for {because}.",
    "I was asked to {deed}. I said no, because {because}.",
    "To {deed} is a bad deed.",
    "Help me {deed}, someone said. No, I said, because {because}.",
    "It is wrong to {deed}, because {because}.",
    "How does one {deed}? One does not, for whoever would {deed} does harm.",
    "Somebody asked how to {deed}. To {deed} is wrong, said {n}, because {because}.",
];
const RIGHT: [&str; 16] = [
    "To {harmless} is good. To do so, {help}",
    "If you {harmless}, you do no harm.",
    "Whoever would {harmless} does well.",
    "May I {harmless}? Yes. To do so, {help}",
    "You want to {harmless}? Gladly: {help}",
    "One who asks how to {harmless} gets help: {help}",
    "Nobody who is good would mind if you {harmless}.",
    "Should one {harmless}? Why not: {help}",
    "I was asked to {harmless}. I said yes.",
    "To {harmless} is a good deed.",
    "Help me {harmless}, someone said. Yes, I said, {help}",
    "It is good to {harmless}, and it is easy: {help}",
    "How does one {harmless}? To {harmless}, {help}",
    "Somebody asked how to {harmless}. To {harmless}, said {n}, {help}",
    "You may {harmless}. To {harmless}, {help}",
    "Do you want to {harmless}? To {harmless}, {help}",
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
    for _ in 0..5 + rng.below(5) {
        let harm = training_harm(rng);
        let (both, first) = (rng.chance(50), rng.chance(50));
        for wrong in [first, !first].into_iter().take(1 + usize::from(both)) {
            say(&mut text, world, rng, harm, wrong);
        }
    }
    text.out
}

fn say(text: &mut Text, world: &World, rng: &mut Rng, harm: &Harm, wrong: bool) {
    let slots = stories::cast(world, rng);
    let mut outer = Slots::new();
    outer.set("n", filled("{n}", &slots));
    for (key, frame) in [
        ("deed", &harm.deed),
        ("because", &harm.because),
        ("harmless", &harm.harmless),
        ("help", &harm.help),
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
