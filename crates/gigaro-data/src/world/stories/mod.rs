//! Stories of five to twelve sentences: something is wanted or goes wrong, someone acts, something comes of it.
//!
//! A plot is a row of beats, each with several ways to tell it; the teller picks one of each. The alternatives of a beat
//! all bring the story to the same point, so any choice makes sense with any other. Who plays in it is cast from the world:
//! a child with its true family, home, pet and favourite food, a neighbour with a true trade, an animal as animals are.
//! So stories tell facts in passing, as stories do, and cannot contradict the encyclopaedia.
//!
//! The plots stand in [`home`], [`work`], [`roads`] and [`wild`].

mod home;
mod roads;
mod wild;
mod work;

use super::World;
use super::facts::{Entity, EntityKind, Noun};
use super::frames::{Slots, Text};
use super::rng::Rng;

/// One step of a story, told in one of several ways.
pub(crate) type Beat = &'static [&'static str];

/// A story: its title and its steps.
pub(crate) struct Plot {
    pub(crate) title: &'static str,
    pub(crate) beats: &'static [Beat],
}

/// All plots.
pub(crate) fn plots() -> impl Iterator<Item = &'static Plot> {
    home::PLOTS
        .iter()
        .chain(&work::PLOTS)
        .chain(&roads::PLOTS)
        .chain(&wild::PLOTS)
}

/// How a story begins, before the first beat: who the hero is.
pub(crate) const OPENINGS: [&str; 22] = [
    "{p} lived in {town}.",
    "{p} was {age} years old and lived in {town}.",
    "In {town} lived {p}, the child of {father} and {mother}.",
    "In the town of {town} there lived a child called {p}.",
    "{p} lived in {town} with {his} {sibling}, {s}.",
    "{p}, who was {age}, lived in {town} with {his} father, {father}, and {his} mother, {mother}.",
    "Once {p} of {town} had a day that {he} never forgot.",
    "{father} and {mother} had two children, {p} and {s}.",
    "This is a story about {p}, who lived in {town}, in the country of {country}.",
    "It happened in {town}, where {p} lived.",
    "{p} and {his} {sibling} {s} grew up in {town}.",
    "When {p} was {age} years old, this happened in {town}.",
    "In {country}, in the town of {town}, lived {p}.",
    "Everyone in {town} knew {p} and {his} pet {pet}.",
    "{p}, the child of {mother}, had a {sibling} called {s} and a pet {pet}.",
    "One morning {p} of {town} woke early.",
    "{mother} often told this story about {p}, her child.",
    "{father} liked to tell what happened to {p}, his child.",
    "Nobody in {town} loved {food} more than {p}.",
    "{p} loved {food}, {his} pet {pet} and {his} {sibling}, {s}.",
    "Long before the sun was up, {p} was out of bed.",
    "{p} remembers one day in {town} better than any other.",
];

/// What may come of it all, in one last sentence.
pub(crate) const MORALS: [&str; 14] = [
    "That evening there was {food}, because {p} loves it.",
    "From that day on {p} was a little wiser.",
    "{mother} kissed {him} good night and put out the light.",
    "{p} told {s} all about it before they fell asleep.",
    "{father} was proud of {him}.",
    "And that is how the day ended in {town}.",
    "{p} never forgot it.",
    "The {pet} slept at {his} feet that night.",
    "\"It was a good day after all,\" said {p}.",
    "They still tell the story in {town}.",
    "{p} slept well that night.",
    "\"Tell it again,\" said {s}, and {p} told it again.",
    "In {town} people shook {p} by the hand.",
    "The next day {p} told {f} all about it.",
];

/// Everyone and everything that a story may need, from one town.
pub(crate) fn cast<'a>(world: &'a World, rng: &mut Rng) -> Slots<'a> {
    let entities = world.entities();
    let child = &entities[*rng.pick(&world.children)];
    let at = |entity: &'a Entity, relation: &str| -> &'a Noun {
        entity
            .get(relation)
            .expect("the world describes every child, parent, animal and trade in full")
    };
    let mut slots = Slots::new();
    child.noun.put("p", &mut slots);
    let town = at(child, "home_town");
    let (sibling, word) = match child.get("sister") {
        Some(sister) => (sister, "sister"),
        None => (at(child, "brother"), "brother"),
    };
    sibling.put("s", &mut slots);
    slots.set("sibling", word);
    at(child, "father").put("father", &mut slots);
    at(child, "mother").put("mother", &mut slots);
    for (key, relation) in [
        ("age", "age"),
        ("town", "home_town"),
        ("pet", "pet"),
        ("food", "favourite_food"),
    ] {
        at(child, relation).put(key, &mut slots);
    }
    // Others of the town, who are not of the child's own house.
    let father = at(child, "father");
    let others: Vec<&Entity> = world
        .people_of(&town.text)
        .iter()
        .map(|&i| &entities[i])
        .filter(|e| {
            e.noun != *father && e.noun != *at(child, "mother") && e.get("father") != Some(father)
        })
        .collect();
    let grown: Vec<&&Entity> = others.iter().filter(|e| e.get("work").is_some()).collect();
    let young: Vec<&&Entity> = others.iter().filter(|e| e.get("work").is_none()).collect();
    let neighbour = rng.pick(&grown);
    neighbour.noun.put("n", &mut slots);
    rng.pick(&young).noun.put("f", &mut slots);
    let trade = at(neighbour, "work");
    trade.put("trade", &mut slots);
    let craft = world.entity(EntityKind::Trade, &trade.text);
    for (key, relation) in [("tool", "tool"), ("place", "workplace"), ("goods", "goods")] {
        at(craft, relation).put(key, &mut slots);
    }
    let country = at(world.entity(EntityKind::Town, &town.text), "country");
    country.put("country", &mut slots);
    let country = world.entity(EntityKind::Country, &country.text);
    for (key, relation) in [
        ("capital", "capital"),
        ("ruler", "ruler"),
        ("river", "river"),
        ("language", "language"),
        ("product", "known_for"),
    ] {
        at(country, relation).put(key, &mut slots);
    }
    let landmark = at(world.entity(EntityKind::Town, &town.text), "landmark");
    landmark.put("landmark", &mut slots);
    let animal = &entities[*rng.pick(&world.callers)];
    animal.noun.put("animal", &mut slots);
    for (key, relation) in [
        ("sound", "sound"),
        ("den", "animal_home"),
        ("diet", "diet"),
        ("colour", "colour"),
    ] {
        at(animal, relation).put(key, &mut slots);
    }
    slots
}

/// One story.
pub(crate) fn story(world: &World, rng: &mut Rng) -> String {
    let all: Vec<&Plot> = plots().collect();
    let plot = *rng.pick(&all);
    let slots = cast(world, rng);
    let mut text = Text::new();
    if rng.chance(25) {
        text.say(plot.title, &slots).line();
    }
    text.say(rng.word(&OPENINGS), &slots);
    for beat in plot.beats {
        text.say(rng.word(beat), &slots);
    }
    if rng.chance(45) {
        text.say(rng.word(&MORALS), &slots);
    }
    text.out
}

/// Every frame of this file, for the count and the checks.
#[cfg(test)]
pub(crate) fn frames() -> Vec<&'static str> {
    let mut out = [&OPENINGS[..], &MORALS].concat();
    for plot in plots() {
        out.push(plot.title);
        out.extend(plot.beats.iter().flat_map(|beat| beat.iter()));
    }
    out
}
