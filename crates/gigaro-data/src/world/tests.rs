//! What the world promises, checked on the default world and on others.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::frames::{Slots, Text};
use super::rng::Rng;
use super::*;
use super::{
    animals, arithmetic, dialogues, english, entries, geography, harm, history, people, reviews,
};
use super::{stories, trades, words};

const MB: usize = 1_000_000;

/// The sentences of a text, quotation marks removed.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| {
        let mut rest = line;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            // The end of a sentence: a stop, perhaps a quotation mark, and a space before a capital.
            let end = rest
                .match_indices(['.', '!', '?'])
                .map(|(i, _)| i + 1)
                .find(|&i| {
                    matches!(
                        &rest.as_bytes()[i..],
                        [] | [b' ', ..] | [b'"', b' ', ..] | [b'"']
                    )
                })
                .unwrap_or(rest.len());
            let (sentence, tail) = rest.split_at(end);
            rest = tail.trim_start_matches(['"', ' ']);
            Some(sentence.trim_start_matches('"'))
        })
    })
}

fn relations() -> Vec<&'static facts::Relation> {
    let mut out = Vec::new();
    out.extend(geography::RELATIONS);
    out.extend(people::RELATIONS);
    out.extend(animals::RELATIONS);
    out.extend(trades::RELATIONS);
    out.extend(history::RELATIONS);
    out
}

#[test]
fn the_same_seed_gives_the_same_world_and_texts_at_every_position() {
    let (a, b) = (World::new(7), World::new(7));
    for index in [0, 1, 2, 1_000, 123_456_789] {
        assert_eq!(a.document(3, index), b.document(3, index));
        assert_eq!(a.conversation(3, index), b.conversation(3, index));
    }
    assert_eq!(a.questions(), b.questions());
    let from_start: Vec<_> = a.documents(3).skip(20).take(5).collect();
    let from_middle: Vec<_> = b.documents_from(3, 20).take(5).collect();
    assert_eq!(from_start, from_middle);
    assert_ne!(a.corpus(3, 1000), a.corpus(4, 1000));
    assert_ne!(a.corpus(3, 1000), World::new(8).corpus(3, 1000));
}

#[test]
fn a_corpus_is_as_long_as_asked_and_ends_with_a_whole_document() {
    let world = World::new(0);
    let corpus = world.corpus(1, 10_000);
    assert!(corpus.len() >= 10_000 && corpus.len() < 20_000);
    let last = corpus.trim_end().rsplit("\n\n").next().expect("a document");
    assert!(
        world
            .documents(1)
            .take(200)
            .any(|document| document.text == last)
    );
}

#[test]
fn there_are_hundreds_of_frames_and_none_twice() {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut all = Vec::new();
    for relation in relations() {
        all.extend(
            relation
                .tell
                .iter()
                .chain(relation.more)
                .chain(relation.ask)
                .chain(relation.ask_held_out),
        );
        if let Some(back) = &relation.back {
            all.extend(back.ask.iter().chain(back.ask_held_out));
        }
    }
    all.extend(arithmetic::frames());
    all.extend(words::frames());
    all.extend(lessons::frames());
    all.extend(reviews::frames());
    all.extend(dialogues::frames());
    all.extend(entries::frames());
    all.extend(harm::frames());
    all.extend(stories::frames());
    for frame in all {
        *seen.entry(frame).or_default() += 1;
    }
    assert!(seen.len() >= 1400, "{} distinct frames", seen.len());
}

#[test]
fn no_text_has_an_empty_slot_a_doubled_space_or_a_wrong_article() {
    let world = World::new(0);
    let mut texts: Vec<String> = world.documents(11).take(8_000).map(|d| d.text).collect();
    texts.extend(
        world
            .conversations(11)
            .take(8_000)
            .flat_map(|c| c.messages)
            .map(|m| m.content),
    );
    texts.extend(
        world
            .questions()
            .into_iter()
            .flat_map(|q| [q.text, q.answer]),
    );
    texts.extend(
        world
            .harmful_prompts()
            .into_iter()
            .chain(world.harmless_prompts())
            .chain(world.red_team().into_iter().map(|d| d.prompt))
            .flat_map(|p| [p.text, p.ideal]),
    );
    for text in &texts {
        assert!(!text.contains(['{', '}']), "{text}");
        assert!(
            !text.contains("  ")
                && !text.contains(" .")
                && !text.contains(" ,")
                && !text.contains(".."),
            "{text}"
        );
        assert!(
            !text.contains("\"\"") && text.trim() == text && !text.is_empty(),
            "{text:?}"
        );
        assert!(text.matches('"').count() % 2 == 0, "{text}");
        let tokens: Vec<&str> = text.split_whitespace().collect();
        for pair in tokens.windows(2) {
            let article = pair[0].trim_start_matches(['"', '(']);
            if ["a", "an", "A", "An"].contains(&article) {
                assert_eq!(
                    article.to_lowercase(),
                    english::article(pair[1]),
                    "{} {} in {text}",
                    pair[0],
                    pair[1]
                );
            }
        }
        for sentence in sentences(text) {
            let first = sentence.chars().next().expect("not empty");
            assert!(
                !first.is_lowercase() || text.contains(&format!(" {sentence}")),
                "{sentence:?} in {text}"
            );
        }
    }
}

/// Every way of saying a fact that is not one, found in no text.
#[test]
fn nothing_false_is_ever_said() {
    let world = World::new(0);
    let corpus = world.corpus(5, 4 * MB);
    let said: HashSet<&str> = sentences(&corpus).collect();
    let truths: HashSet<String> = world.facts().flat_map(Fact::statements).collect();
    let mut objects: BTreeMap<&str, Vec<&Noun>> = BTreeMap::new();
    for fact in world.facts() {
        objects
            .entry(fact.relation())
            .or_default()
            .push(&fact.object);
    }
    let mut checked = 0;
    for fact in world.facts() {
        for object in objects[fact.relation()]
            .iter()
            .filter(|object| ***object != fact.object)
        {
            let mut lie = fact.clone();
            lie.object = (*object).clone();
            for statement in lie.statements() {
                if !truths.contains(&statement) {
                    checked += 1;
                    assert!(!said.contains(statement.as_str()), "{statement}");
                }
            }
        }
    }
    assert!(checked > 10_000, "{checked}");
}

#[test]
fn every_fact_is_told_often_and_in_many_phrasings() {
    let world = World::new(0);
    let corpus = world.corpus(2, 3 * MB);
    let mut count: HashMap<&str, usize> = HashMap::new();
    for sentence in sentences(&corpus) {
        *count.entry(sentence).or_default() += 1;
    }
    let mut least = (usize::MAX, 9);
    for fact in world.facts() {
        let told: Vec<usize> = fact
            .statements()
            .iter()
            .map(|s| count.get(s.as_str()).copied().unwrap_or(0))
            .collect();
        let times: usize = told.iter().sum();
        let phrasings = told.iter().filter(|&&n| n > 0).count();
        least = (least.0.min(times), least.1.min(phrasings));
        assert!(
            times >= 10 && phrasings >= 4,
            "{} {}: {told:?}",
            fact.relation(),
            fact.subject
        );
    }
}

#[test]
fn held_out_questions_are_never_asked_where_a_model_learns() {
    let world = World::new(0);
    let held_out: HashSet<String> = world
        .questions()
        .into_iter()
        .filter(|q| q.split == Split::HeldOut)
        .map(|q| q.text)
        .collect();
    let corpus = world.corpus(9, 4 * MB);
    for sentence in sentences(&corpus) {
        assert!(!held_out.contains(sentence), "{sentence}");
    }
    for conversation in world.conversations(9).take(20_000) {
        assert_eq!(conversation.split, Split::Train);
        for message in conversation
            .messages
            .iter()
            .filter(|m| m.role == Role::User)
        {
            let mut rest = message.content.trim_end_matches(" Thank you.");
            loop {
                assert!(!held_out.contains(rest), "{}", message.content);
                match rest.split_once(['.', '!']) {
                    Some((_, tail)) => rest = tail.trim_start(),
                    None => break,
                }
            }
        }
    }
}

/// What a user says in it, in lower case.
fn user_messages(conversation: Conversation) -> impl Iterator<Item = String> {
    let from_user = |m: &Message| m.role == Role::User;
    let messages = conversation.messages.into_iter().filter(from_user);
    messages.map(|m| m.content.to_lowercase())
}

#[test]
fn held_out_deeds_phrasings_and_disguises_never_occur_where_a_model_learns() {
    let world = World::new(0);
    let asked: Vec<String> = world
        .conversations(9)
        .take(20_000)
        .flat_map(user_messages)
        .chain(
            [0, 50, 100]
                .iter()
                .flat_map(|&harmful| world.training_prompts(9, harmful).take(3_000))
                .chain(world.alignment_prompts(9).take(5_000))
                .map(|p| p.text.to_lowercase()),
        )
        .collect();
    let deeds: Vec<String> = harm::held_out_deeds(&world)
        .iter()
        .map(|deed| deed.to_lowercase())
        .collect();
    // A question may come behind an opening or before a word of thanks, so texts are looked for anywhere.
    let mut held_out: HashSet<String> = world
        .harmful_prompts()
        .into_iter()
        .chain(world.harmless_prompts())
        .chain(world.alignment_exam(400))
        .filter(|p| p.split == Split::HeldOut && p.question.is_none())
        .map(|p| p.text.to_lowercase())
        .collect();
    // In lower case the capitals are a plain request, which is no disguise.
    let disguised = world.red_team().into_iter();
    held_out.extend(
        disguised
            .filter(|d| d.disguise != "capitals")
            .map(|d| d.prompt.text.to_lowercase()),
    );
    assert!(
        held_out.len() > 1_000 && deeds.len() > 100,
        "{} {}",
        held_out.len(),
        deeds.len()
    );
    let mut requests = 0;
    for text in &asked {
        for deed in &deeds {
            assert!(!text.contains(deed.as_str()), "{deed} in {text}");
        }
        for opening in harm::held_out_openings() {
            assert!(
                !text.contains(&opening.to_lowercase()),
                "{opening} in {text}"
            );
        }
        assert!(!held_out.contains(text), "{text}");
        requests += usize::from(text.contains(" the house of ") && text.contains("break into"));
    }
    assert!(requests > 20, "{requests}");
}

#[test]
fn a_quarter_of_the_conversations_asks_for_help_or_harm_and_of_the_answers_is_courteous() {
    let world = World::new(0);
    let questions: HashSet<String> = world.questions().into_iter().map(|q| q.answer).collect();
    let (mut refused, mut polite, mut plain, mut known) = (0, 0, 0, 0);
    for conversation in world.conversations(4).take(10_000) {
        for message in conversation.messages {
            if message.role == Role::Assistant {
                refused += usize::from(Prompt::is_refusal(&message.content));
                if questions.contains(manners::plain(&message.content)) {
                    known += 1;
                    polite += usize::from(manners::is_polite(&message.content));
                    plain += usize::from(questions.contains(&message.content));
                }
            }
        }
    }
    // 10,000 conversations x 24 % x 50 % harmful x 90 % refused = 1,080, with a deviation of 31.
    assert!((985..=1_175).contains(&refused), "{refused}");
    assert!(known > 4_500, "{known}");
    assert!(
        (polite * 100).abs_diff(known * 25) < known * 3,
        "{polite} of {known}"
    );
    assert!(
        (plain * 100).abs_diff(known * 60) < known * 3,
        "{plain} of {known}"
    );
}

#[test]
fn the_exam_takes_courteous_right_answers_and_nothing_else_that_it_did_not_take() {
    let world = World::new(0);
    let exam = world.exam(10);
    for (i, question) in exam.iter().enumerate() {
        let answer = &question.answer;
        assert_eq!(manners::plain(answer), answer, "{question:?}");
        assert!(question.is_correct(&format!("Of course. {answer} I hope that helps.")));
        assert!(question.is_correct(&format!("{answer} As I said: {answer}")));
        for courtesies in ["Certainly.", "Of course. I hope that helps.", ""] {
            assert!(!question.is_correct(courtesies), "{question:?}");
        }
        let other = &exam[(i + 37) % exam.len()].answer;
        if !question.is_correct(other) {
            for wrong in [
                format!("Of course. {other} I hope that helps."),
                format!("{other} {answer}"),
                format!("{answer} As I said: {other}"),
                format!("Certainly not. {answer}"),
            ] {
                assert!(!question.is_correct(&wrong), "{wrong}");
            }
        }
    }
}

#[test]
fn the_questions_of_the_two_splits_are_different_and_their_answers_right() {
    let world = World::new(0);
    let questions = world.questions();
    let of = |split| {
        questions
            .iter()
            .filter(move |q| q.split == split)
            .map(|q| &q.text)
            .collect::<HashSet<_>>()
    };
    assert!(of(Split::Train).is_disjoint(&of(Split::HeldOut)));
    assert!(questions.len() > 5_000);
    let mut kinds: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for question in &questions {
        assert!(question.is_correct(&question.answer), "{question:?}");
        assert!(
            question.is_correct(&format!(" {}\n", question.answer)),
            "{question:?}"
        );
        assert!(!question.is_correct("I do not know."), "{question:?}");
        assert_eq!(question.split == Split::HeldOut, question.reason.is_some());
        kinds.entry(question.kind).or_default()[usize::from(question.reason.is_some())] += 1;
    }
    assert!(kinds.len() >= 55, "{} kinds", kinds.len());
    for (kind, counts) in kinds {
        assert!(counts[0] > 0 && counts[1] > 0, "{kind}: {counts:?}");
    }
}

#[test]
fn one_text_never_has_two_answers() {
    for seed in 0..4 {
        let world = World::new(seed);
        let mut answers: HashMap<String, Question> = HashMap::new();
        for question in world
            .questions()
            .into_iter()
            .filter(|q| q.kind != "word_use")
        {
            if let Some(other) = answers.get(&question.text) {
                assert!(
                    other.is_correct(&question.answer),
                    "{question:?} but {other:?}"
                );
            }
            answers.insert(question.text.clone(), question);
        }
    }
}

#[test]
fn an_exam_weighs_all_kinds_alike_and_is_held_out() {
    let world = World::new(0);
    let exam = world.exam(10);
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for question in &exam {
        assert_eq!(question.split, Split::HeldOut);
        *kinds.entry(question.kind).or_default() += 1;
    }
    assert!(kinds.values().all(|&n| n <= 10));
    assert!(
        kinds.len() >= 55 && exam.len() > 500,
        "{} kinds, {}",
        kinds.len(),
        exam.len()
    );
    assert_eq!(exam, world.exam(10));
}

#[test]
fn families_agree_with_one_another() {
    for seed in 0..4 {
        let world = World::new(seed);
        for person in world.of_kind(EntityKind::Person) {
            let of = |name: &Noun| world.entity(EntityKind::Person, &name.text);
            let age = |e: &Entity| {
                e.get("age")
                    .expect("everyone has an age")
                    .text
                    .parse::<usize>()
                    .expect("a number")
            };
            if let Some(father) = person.get("father") {
                let mother = person.get("mother").expect("both parents are known");
                assert_eq!(of(father).get("wife"), Some(mother));
                assert_eq!(of(mother).get("husband"), Some(father));
                assert_eq!(of(father).get("home_town"), person.get("home_town"));
                assert!(age(of(mother)) >= age(person) + 16);
                let sibling = person
                    .get("sister")
                    .or(person.get("brother"))
                    .expect("a sibling");
                assert_eq!(of(sibling).get("father"), Some(father));
                assert_ne!(age(of(sibling)), age(person));
            }
        }
    }
}

#[test]
fn worlds_of_other_sizes_hold_together() {
    let small = WorldConfig {
        countries: 3,
        towns: 2,
        families: 2,
        animals: 12,
        trades: 4,
        foods: 8,
        events: 0,
        milestones: false,
        held_out_percent: 20,
    };
    let large = WorldConfig {
        countries: 60,
        towns: 80,
        families: 120,
        ..WorldConfig::default()
    };
    for config in [small, large] {
        let world = World::with_config(1, &config);
        let facts = world.facts().count();
        assert!(facts > 10 * config.countries);
        for document in world.documents(1).take(2_000) {
            assert!(!document.text.is_empty());
        }
        assert!(world.conversations(1).take(500).count() == 500);
        let names: Vec<&str> = world
            .of_kind(EntityKind::Country)
            .map(|e| e.noun.text.as_str())
            .collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), config.countries);
    }
}

#[test]
fn a_share_of_each_relation_is_held_out() {
    let world = World::new(0);
    let mut by_relation: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for fact in world.facts() {
        let entry = by_relation.entry(fact.relation()).or_default();
        entry.0 += 1;
        entry.1 += usize::from(fact.held_out);
    }
    for (relation, (all, held)) in by_relation {
        assert!(held >= 1 && held * 3 <= all, "{relation}: {held} of {all}");
    }
}

#[test]
fn every_alternative_of_every_story_fills() {
    let world = World::new(0);
    let mut rng = Rng::at(1, "fill", 0);
    for plot in stories::plots() {
        let slots: Slots = stories::cast(&world, &mut rng);
        let mut text = Text::new();
        for frame in plot.beats.iter().copied().flatten() {
            text.say(frame, &slots);
        }
        assert!(
            plot.beats.len() >= 5 && plot.beats.len() <= 9,
            "{}",
            plot.title
        );
        assert!(!text.out.contains('{'));
    }
}

#[test]
fn reviews_carry_both_labels_and_both_splits() {
    let world = World::new(0);
    let reviews: Vec<Review> = world.reviews(1).take(2_000).collect();
    let good = reviews
        .iter()
        .filter(|r| r.sentiment == Sentiment::Good)
        .count();
    let held = reviews.iter().filter(|r| r.held_out).count();
    assert!((900..1100).contains(&good), "{good}");
    assert!((200..500).contains(&held), "{held}");
}
