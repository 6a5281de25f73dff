//! Entries as an encyclopaedia prints them, and almanac pages that set facts of several things side by side.

use super::World;
use super::english;
use super::facts::{Entity, EntityKind, Fact};
use super::frames::{Slots, Text};
use super::history;
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
    if entity.kind == EntityKind::Milestone && rng.chance(50) {
        text.say(rng.word(history::remarks(&entity.noun.text)), &slots);
    }
    if rng.chance(35) {
        text.say(rng.word(closings(entity.kind)), &slots);
    }
    text.out
}

/// The facts of an entity: named once and then by pronoun, named now and then, or named each time as a list would.
fn tell_entity(entity: &Entity, text: &mut Text, rng: &mut Rng) {
    let mut facts: Vec<&Fact> = entity.facts.iter().collect();
    rng.shuffle(&mut facts);
    let by_name_percent = [0, 0, 25, 25, 100][rng.below(5)];
    for (i, fact) in facts.iter().enumerate() {
        if i == 0 || rng.chance(by_name_percent) {
            fact.tell(text, rng);
        } else {
            fact.tell_more(text, rng);
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
const LEADS: [&str; 13] = [
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
];

/// What may join two facts told as clauses.
const JOINTS: [&str; 5] = [", and ", ", while ", "; ", ", whereas ", ", and likewise "];

/// A fact that the page has not told yet, if a draw or two finds one.
fn untold<'a>(
    world: &'a World,
    relation: Option<&str>,
    told: &mut Vec<*const Fact>,
    rng: &mut Rng,
) -> Option<&'a Fact> {
    let fact = (0..3)
        .map(|_| world.fact_like(relation, rng))
        .find(|fact| !told.contains(&std::ptr::from_ref(*fact)))?;
    told.push(fact);
    Some(fact)
}

/// A page of facts about different things.
pub(crate) fn almanac(world: &World, rng: &mut Rng) -> String {
    let mut text = Text::new();
    if rng.chance(40) {
        text.say(rng.word(&PAGES), &Slots::new());
    }
    let same = rng.chance(50).then(|| world.any_fact(rng).relation.key);
    let count = 4 + rng.below(5);
    let mut told: Vec<*const Fact> = Vec::with_capacity(count + 1);
    for _ in 0..count {
        let Some(fact) = untold(world, same, &mut told, rng) else {
            continue;
        };
        match rng.below(10) {
            0..=6 => fact.tell(&mut text, rng),
            7 => {
                let mut line = rng.word(&LEADS).to_string();
                line.push(' ');
                fact.clause(&mut line, rng);
                line.push('.');
                text.say(&line, &Slots::new());
            }
            _ => {
                let mut line = String::new();
                fact.clause(&mut line, rng);
                if let Some(other) = untold(world, Some(fact.relation.key), &mut told, rng) {
                    line.push_str(rng.word(&JOINTS));
                    other.clause(&mut line, rng);
                }
                line.push('.');
                text.say(&english::capitalised(&line), &Slots::new());
            }
        }
    }
    text.out
}

/// How a chapter about the road opens.
const CHAPTERS: [&str; 6] = [
    "A short history of machines that learned to talk.",
    "The road to ChatGPT, told in a few steps.",
    "How did machines learn to answer? Here is a part of the story.",
    "From the history of neural networks.",
    "Step by step, machines learned to see, to read and to talk.",
    "What the old researchers tell the young ones:",
];
const FIRST_STEP: [&str; 4] = [
    "In {year} came {s}, {what}.",
    "The story goes back to {year}, when {maker} presented {s}, {what}.",
    "In {year}, {s} appeared: {what}.",
    "{s} came out in {year}; it is {what}.",
];
const NEXT_STEP: [&str; 8] = [
    "Then, in {year}, came {s}, {what}.",
    "In {year} followed {s}, {what}.",
    "The year {year} brought {s}; behind it stood {maker}.",
    "After that, in {year}, {maker} presented {s}.",
    "The next step was {s}, {what}; that was in {year}.",
    "{s} appeared in {year} and was the work of {maker}.",
    "Next came {s} in {year}, created by {maker}.",
    "By {year} there was {s}, {what}.",
];

/// A chapter of the road: some milestones in the order of their years.
pub(crate) fn chapter(world: &World, rng: &mut Rng) -> String {
    let mut road: Vec<&Entity> = world.of_kind(EntityKind::Milestone).collect();
    road.sort_by_key(|e| e.get("milestone_year").map(|noun| noun.text.clone()));
    let mut text = Text::new();
    if rng.chance(50) {
        text.say(rng.word(&CHAPTERS), &Slots::new());
    }
    let count = 3 + rng.below(4);
    let mut picked: Vec<usize> = (0..road.len()).collect();
    rng.shuffle(&mut picked);
    picked.truncate(count);
    picked.sort_unstable();
    for (i, &step) in picked.iter().enumerate() {
        let entity = road[step];
        let mut slots = Slots::new();
        entity.noun.put("s", &mut slots);
        for (key, relation) in [
            ("year", "milestone_year"),
            ("maker", "milestone_maker"),
            ("what", "milestone_what"),
        ] {
            if let Some(noun) = entity.get(relation) {
                noun.put(key, &mut slots);
            }
        }
        text.say(
            rng.word(if i == 0 { &FIRST_STEP } else { &NEXT_STEP }),
            &slots,
        );
        if rng.chance(40) {
            text.say(rng.word(history::remarks(&entity.noun.text)), &slots);
        }
    }
    text.out
}

/// Every frame of this file, for the count and the checks.
#[cfg(test)]
pub(crate) fn frames() -> Vec<&'static str> {
    use EntityKind::{Animal, Country, Event, Food, Milestone, Person, Ruler, Town, Trade};
    let mut out = [&PAGES[..], &LEADS, &CHAPTERS, &FIRST_STEP, &NEXT_STEP].concat();
    for kind in [
        Animal, Country, Event, Food, Milestone, Person, Ruler, Town, Trade,
    ] {
        out.extend(openings(kind).iter().chain(closings(kind)));
    }
    out
}
