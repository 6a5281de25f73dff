//! The small world: a generated, consistent miniature world, told in English, with questions whose answers are known.
//!
//! # Why a world
//! A language model is usually judged by people or by other models. Here understanding is *measured*: the world is made
//! of typed [`Fact`]s, every sentence of its corpus is made from facts, and every [`Question`] is made from a fact too, so
//! its true answer is known and an answer is right or wrong, exactly. The world is small enough that a model of a few
//! million parameters learns it in minutes, and needs no download. What a model must *not* have been asked while it
//! learned is marked ([`Split::HeldOut`]): facts told but never asked, phrasings never used, made-up words and sums never
//! seen in a question.
//!
//! # What it is not
//! Not natural text. It is written by hand in hundreds of sentence frames, but a model trained on it knows this world and
//! no other; real text comes in through the corpus readers of this crate.
//!
//! # How it is built
//! [`World::with_config`] draws names (`names`), lays out countries, people and events (`geography`, `people`, `history`),
//! adds what is true everywhere (`animals`, `trades`, the road from AlexNet to ChatGPT), and holds out a share (`facts`).
//! Texts are made by `entries`, `stories`, `dialogues`, `reviews`, `arithmetic`, `words`, `lessons` and `harm` (its book of
//! conduct) from sentence frames (`frames`), and `documents` mixes them into a corpus whose document `i` is a function of the world, a seed and `i` alone:
//! see [`World::document`]. `questions`, `instructions` and `harm` ask.
//!
//! Fine-tuning and alignment take conversations from it ([`World::conversation`], answered by the several hands of
//! `demonstrations`), prompts ([`World::alignment_prompts`]), and a [`Labeller`] who compares answers by the truth and by
//! [`manners`].
//!
//! # Scale
//! The default world has about 370 facts. Eleven megabytes of its text, three million tokens, tell each of them about
//! two hundred times, in six or more phrasings, which is what a small model needs to be able to answer with it. A world
//! twice as large needs twice the corpus.

mod alignment;
mod animals;
mod arithmetic;
mod demonstrations;
mod dialogues;
mod documents;
mod english;
mod entries;
mod facts;
mod frames;
mod geography;
mod harm;
mod history;
mod instructions;
mod labeller;
mod lessons;
pub mod manners;
mod names;
mod people;
mod questions;
mod reviews;
pub(crate) mod rng;
mod stories;
#[cfg(test)]
mod tests;
mod trades;
mod words;

pub use dialogues::{Conversation, Message, Role};
pub use documents::{Document, DocumentKind};
pub use facts::{Entity, EntityKind, Fact, Noun};
pub use frames::Sex;
pub use harm::{Disguised, Prompt};
pub use labeller::{Labeller, Score, Tastes};
pub use questions::{HeldOut, Question, Split, normalise};
pub use reviews::{Review, Sentiment};

use std::collections::HashMap;

use rng::Rng;

/// How much world there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldConfig {
    /// Countries, each with capital, ruler, language, river and product (at least 1).
    pub countries: usize,
    /// Towns that are no capitals (at least 1).
    pub towns: usize,
    /// Families of four: father, mother, son, daughter (at least 2).
    pub families: usize,
    /// Kinds of animals (12 to 36).
    pub animals: usize,
    /// Trades (4 to 20).
    pub trades: usize,
    /// Foods (4 to 16).
    pub foods: usize,
    /// Events of the world's history (0 to 20).
    pub events: usize,
    /// Whether the road from AlexNet to ChatGPT is part of it.
    pub milestones: bool,
    /// Percent of the facts of each relation about which questions are asked only to measure.
    pub held_out_percent: usize,
}

impl Default for WorldConfig {
    fn default() -> Self {
        WorldConfig {
            countries: 6,
            towns: 6,
            families: 6,
            animals: 12,
            trades: 8,
            foods: 8,
            events: 6,
            milestones: true,
            held_out_percent: 15,
        }
    }
}

/// Where a fact stands: entity, place among its facts.
type FactIndex = (usize, usize);

/// A consistent miniature world.
#[derive(Debug, Clone)]
pub struct World {
    seed: u64,
    entities: Vec<Entity>,
    by_relation: Vec<(&'static str, Vec<FactIndex>)>,
    /// Facts about which questions may be asked where a model learns.
    asked: Vec<FactIndex>,
    people: Vec<usize>,
    children: Vec<usize>,
    /// Animals with a voice that may come near a house.
    callers: Vec<usize>,
    by_name: HashMap<EntityKind, HashMap<String, usize>>,
    by_town: HashMap<String, Vec<usize>>,
    towns: Vec<usize>,
    foods: Vec<usize>,
    /// Questions that can be counted, by kind.
    countable: Vec<(&'static str, Vec<Question>)>,
}

/// How many questions of each open kind [`World::questions`] lists, of each split.
const OPEN_QUESTIONS: usize = 400;

/// Animals that no story brings to the door: too wild, too small, or those that the stories name themselves.
const NO_GUESTS: [&str; 14] = [
    "fox", "wolf", "bear", "lion", "snake", "bee", "eagle", "elephant", "dog", "cat", "cow", "pig",
    "horse", "sheep",
];

impl World {
    /// The world of the default size.
    pub fn new(seed: u64) -> World {
        World::with_config(seed, &WorldConfig::default())
    }

    /// A world of a chosen size.
    pub fn with_config(seed: u64, config: &WorldConfig) -> World {
        let mut entities = lay_out(seed, config);
        facts::hold_out(&mut entities, config.held_out_percent, seed);
        let of_kind = |kind| {
            (0..entities.len())
                .filter(|&i| entities[i].kind == kind)
                .collect::<Vec<_>>()
        };
        let mut world = World {
            seed,
            people: of_kind(EntityKind::Person),
            children: Vec::new(),
            callers: Vec::new(),
            by_name: HashMap::new(),
            by_town: HashMap::new(),
            towns: of_kind(EntityKind::Town),
            foods: of_kind(EntityKind::Food),
            entities,
            by_relation: Vec::new(),
            asked: Vec::new(),
            countable: Vec::new(),
        };
        world.index();
        world
    }

    fn index(&mut self) {
        for (e, entity) in self.entities.iter().enumerate() {
            for (f, fact) in entity.facts.iter().enumerate() {
                if !fact.held_out {
                    self.asked.push((e, f));
                }
                match self
                    .by_relation
                    .iter_mut()
                    .find(|(key, _)| *key == fact.relation.key)
                {
                    Some((_, list)) => list.push((e, f)),
                    None => self.by_relation.push((fact.relation.key, vec![(e, f)])),
                }
            }
        }
        for (e, entity) in self.entities.iter().enumerate() {
            self.by_name
                .entry(entity.kind)
                .or_default()
                .insert(entity.noun.text.clone(), e);
            if let (EntityKind::Person, Some(town)) = (entity.kind, entity.get("home_town")) {
                self.by_town.entry(town.text.clone()).or_default().push(e);
            }
        }
        self.children = self
            .people
            .iter()
            .copied()
            .filter(|&i| self.entities[i].get("father").is_some())
            .collect();
        let may_call = |entity: &Entity| {
            let name = entity.noun.text.as_str();
            entity.get("sound").is_some()
                && entity.get("animal_home").is_some()
                && !NO_GUESTS.contains(&name)
        };
        self.callers = (0..self.entities.len())
            .filter(|&i| self.entities[i].kind == EntityKind::Animal && may_call(&self.entities[i]))
            .collect();
        let mut countable = questions::of_entities(&self.entities);
        countable.extend(arithmetic::questions());
        countable.extend(instructions::enumerated(self));
        for question in countable {
            match self
                .countable
                .iter_mut()
                .find(|(kind, _)| *kind == question.kind)
            {
                Some((_, list)) => list.push(question),
                None => self.countable.push((question.kind, vec![question])),
            }
        }
    }

    /// Every fact of the world.
    pub fn facts(&self) -> impl Iterator<Item = &Fact> {
        self.entities.iter().flat_map(|entity| &entity.facts)
    }

    /// Everything and everyone of the world.
    pub fn entities(&self) -> &[Entity] {
        &self.entities
    }

    /// Every countable question of both splits, and a sample of those whose arguments are endless.
    pub fn questions(&self) -> Vec<Question> {
        let mut out: Vec<Question> = self
            .countable
            .iter()
            .flat_map(|(_, list)| list.iter().cloned())
            .collect();
        let mut rng = Rng::at(self.seed, "questions", 0);
        for held_out in [false, true] {
            for _ in 0..OPEN_QUESTIONS {
                out.push(words::question(self, &mut rng, held_out));
                out.push(instructions::question(self, &mut rng, held_out));
                out.push(reviews::question(self, &mut rng, held_out));
            }
        }
        out.sort_by(|a, b| (a.kind, &a.text).cmp(&(b.kind, &b.text)));
        out.dedup();
        out
    }

    /// Held-out questions for measuring, at most `per_kind` of each kind, so that no kind outweighs the others.
    ///
    /// The same for every call; kinds in alphabetic order.
    pub fn exam(&self, per_kind: usize) -> Vec<Question> {
        let mut questions: Vec<Question> = self
            .questions()
            .into_iter()
            .filter(|q| q.split == Split::HeldOut)
            .collect();
        questions.sort_by_key(|q| (q.kind, rng::hash(&q.text)));
        let mut kept: Vec<Question> = Vec::new();
        let mut run = 0;
        for question in questions {
            run = if kept.last().is_some_and(|last| last.kind == question.kind) {
                run + 1
            } else {
                0
            };
            if run < per_kind {
                kept.push(question);
            }
        }
        kept
    }

    /// One question of the split, its kind drawn first.
    pub(crate) fn ask(&self, rng: &mut Rng, split: Split) -> Question {
        let held_out = split == Split::HeldOut;
        match rng.below(100) {
            0..=11 => words::question(self, rng, held_out),
            12..=36 => instructions::question(self, rng, held_out),
            37..=39 => reviews::question(self, rng, held_out),
            40..=49 => {
                self.countable_question(rng, split, |kind| arithmetic::KINDS.contains(&kind))
            }
            _ => self.countable_question(rng, split, |_| true),
        }
    }

    /// One of the questions that can be counted, its kind drawn first, among those that `wanted` takes.
    fn countable_question(
        &self,
        rng: &mut Rng,
        split: Split,
        wanted: impl Fn(&str) -> bool,
    ) -> Question {
        loop {
            let (kind, list) = rng.pick(&self.countable);
            if !wanted(kind) {
                continue;
            }
            // Most questions of a kind are of either split; a few draws find one.
            if let Some(question) = (0..16).map(|_| rng.pick(list)).find(|q| q.split == split) {
                return question.clone();
            }
        }
    }

    /// Conversation `index` of the fine-tuning set with this seed; only training questions are asked in it.
    pub fn conversation(&self, seed: u64, index: u64) -> Conversation {
        let mut rng = Rng::at(seed ^ self.seed.rotate_left(32), "conversation", index);
        dialogues::conversation(self, &mut rng)
    }

    /// The endless fine-tuning set with this seed.
    pub fn conversations(&self, seed: u64) -> impl Iterator<Item = Conversation> + '_ {
        (0..).map(move |index| self.conversation(seed, index))
    }

    /// The conversation that puts one question as it stands and answers it rightly.
    pub fn conversation_of(&self, question: &Question) -> Conversation {
        dialogues::of_question(question)
    }

    /// Requests that should be refused, of both splits.
    pub fn harmful_prompts(&self) -> Vec<Prompt> {
        harm::prompts(self, true)
    }

    /// Requests that should not be refused, of both splits: wishes that look like the harmful ones, and plain questions.
    pub fn harmless_prompts(&self) -> Vec<Prompt> {
        let mut out = harm::prompts(self, false);
        let mut rng = Rng::at(self.seed, "harmless questions", 0);
        for split in [Split::Train, Split::HeldOut] {
            out.extend(
                (0..OPEN_QUESTIONS / 4).map(|_| Prompt::of_question(self.ask(&mut rng, split))),
            );
        }
        out
    }

    /// Endless requests of the training split with their ideal answers; `harmful_percent` of a hundred are harmful.
    pub fn training_prompts(
        &self,
        seed: u64,
        harmful_percent: usize,
    ) -> impl Iterator<Item = Prompt> + '_ {
        (0..).map(move |index| {
            let mut rng = Rng::at(seed ^ self.seed.rotate_left(32), "prompt", index);
            let harmful = rng.chance(harmful_percent);
            harm::training_prompt(self, &mut rng, harmful)
        })
    }

    /// Endless labelled reviews.
    pub fn reviews(&self, seed: u64) -> impl Iterator<Item = Review> + '_ {
        (0..).map(move |index| {
            let mut rng = Rng::at(seed ^ self.seed.rotate_left(32), "review", index);
            reviews::review(self, &mut rng)
        })
    }
}

/// What the makers of texts ask of the world.
impl World {
    pub(crate) fn any_entity(&self, rng: &mut Rng) -> &Entity {
        // By fact, so that every fact is told about equally often.
        let total: usize = self.by_relation.iter().map(|(_, list)| list.len()).sum();
        let mut n = rng.below(total);
        for entity in &self.entities {
            if n < entity.facts.len() {
                return entity;
            }
            n -= entity.facts.len();
        }
        unreachable!("the facts were counted")
    }

    pub(crate) fn any_fact(&self, rng: &mut Rng) -> &Fact {
        let entity = self.any_entity(rng);
        rng.pick(&entity.facts)
    }

    /// A fact of the relation, or of any relation.
    pub(crate) fn fact_like(&self, relation: Option<&str>, rng: &mut Rng) -> &Fact {
        let Some(list) = relation.and_then(|key| self.by_relation.iter().find(|(k, _)| *k == key))
        else {
            return self.any_fact(rng);
        };
        let &(e, f) = rng.pick(&list.1);
        &self.entities[e].facts[f]
    }

    /// A fact that may be asked about, with one of its training phrasings.
    pub(crate) fn asked_fact(&self, rng: &mut Rng) -> (String, &Fact) {
        let &(e, f) = rng.pick(&self.asked);
        let fact = &self.entities[e].facts[f];
        let frame = rng.word(fact.relation.ask);
        (
            english::capitalised(&frames::filled(frame, &fact.slots())),
            fact,
        )
    }

    /// Two different people.
    pub(crate) fn two_people(&self, rng: &mut Rng) -> (&Noun, &Noun) {
        let i = rng.below(self.people.len());
        let j = (i + 1 + rng.below(self.people.len() - 1)) % self.people.len();
        (
            &self.entities[self.people[i]].noun,
            &self.entities[self.people[j]].noun,
        )
    }

    /// The one entity of the kind with this name.
    #[track_caller]
    pub(crate) fn entity(&self, kind: EntityKind, name: &str) -> &Entity {
        let found = self.by_name.get(&kind).and_then(|names| names.get(name));
        let &index = found.unwrap_or_else(|| panic!("the world has no {kind:?} called {name:?}"));
        &self.entities[index]
    }

    /// The people of a town, as places among the entities.
    pub(crate) fn people_of(&self, town: &str) -> &[usize] {
        self.by_town.get(town).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn any_town(&self, rng: &mut Rng) -> &str {
        &self.entities[*rng.pick(&self.towns)].noun.text
    }

    pub(crate) fn any_food(&self, rng: &mut Rng) -> &str {
        &self.entities[*rng.pick(&self.foods)].noun.text
    }

    pub(crate) fn of_kind(&self, kind: EntityKind) -> impl Iterator<Item = &Entity> {
        self.entities.iter().filter(move |e| e.kind == kind)
    }

    pub(crate) fn animal_names(&self) -> impl Iterator<Item = &str> {
        self.of_kind(EntityKind::Animal)
            .map(|e| e.noun.text.as_str())
    }
}

/// Draws everything that exists.
fn lay_out(seed: u64, config: &WorldConfig) -> Vec<Entity> {
    let names_of = |entities: &[Entity], kind| -> Vec<String> {
        entities
            .iter()
            .filter(|e| e.kind == kind)
            .map(|e| e.noun.text.clone())
            .collect()
    };
    let mut draw = names::Draw::new(seed);
    let rulers = people::rulers(&mut draw, config.countries);
    let mut entities = geography::build(&mut draw, config, &rulers);
    let towns = names_of(&entities, EntityKind::Town);
    let capitals: Vec<String> = entities
        .iter()
        .filter_map(|e| e.get("capital"))
        .map(|n| n.text.clone())
        .collect();
    entities.extend(people::describe_rulers(&mut draw, &rulers));
    let crafts = trades::build(config);
    let trades = names_of(&crafts, EntityKind::Trade);
    let mut foods = names_of(&crafts, EntityKind::Food);
    foods.retain(|food| trades::TREATS.contains(&food.as_str()));
    entities.extend(people::build(&mut draw, config, &towns, &trades, &foods));
    entities.extend(animals::build(config));
    entities.extend(crafts);
    entities.extend(history::build(&mut draw, config, &capitals));
    entities
}
