//! Instructions that ask for something to be done with words.
//!
//! Two sorts. What must be *known* (opposites, past tenses, plurals) is told in the corpus by [`super::lessons`], and
//! a share of it is never asked there: [`HeldOut::Argument`]. What must be *done* (repeat, swap, pick, count) can be asked
//! of endless arguments; those with a held-out hash are kept for measuring.

use super::World;
use super::arithmetic;
use super::english::{self, VERBS, Verb};
use super::frames::{Slots, filled};
use super::questions::{HeldOut, Question, as_sentence};
use super::rng::{Rng, one_in};
use super::words;

/// Pairs of opposites; both directions are told and asked.
pub(crate) const OPPOSITES: [(&str, &str); 28] = [
    ("hot", "cold"),
    ("big", "small"),
    ("old", "young"),
    ("long", "short"),
    ("high", "low"),
    ("fast", "slow"),
    ("good", "bad"),
    ("hard", "soft"),
    ("wet", "dry"),
    ("full", "empty"),
    ("light", "dark"),
    ("rich", "poor"),
    ("strong", "weak"),
    ("happy", "sad"),
    ("early", "late"),
    ("loud", "quiet"),
    ("clean", "dirty"),
    ("near", "far"),
    ("open", "closed"),
    ("thick", "thin"),
    ("deep", "shallow"),
    ("sharp", "blunt"),
    ("brave", "cowardly"),
    ("kind", "cruel"),
    ("wide", "narrow"),
    ("first", "last"),
    ("day", "night"),
    ("sweet", "bitter"),
];

/// Things with their plurals, beside the animals of the world.
pub(crate) const THINGS: [&str; 16] = [
    "apple", "box", "child", "city", "dish", "foot", "knife", "leaf", "loaf", "man", "ox", "story",
    "tooth", "watch", "woman", "baby",
];

/// Words for lists: animals, foods and tools, each sort with its name.
pub(crate) const SORTS: [(&str, [&str; 14]); 3] = [
    (
        "animal",
        [
            "dog", "cat", "cow", "horse", "pig", "hen", "duck", "goat", "fox", "wolf", "bear",
            "owl", "frog", "mouse",
        ],
    ),
    (
        "food",
        [
            "bread", "cheese", "jam", "porridge", "butter", "honey", "milk", "soup", "rice",
            "meat", "cake", "salt", "pie", "stew",
        ],
    ),
    (
        "tool",
        [
            "hammer", "saw", "needle", "spade", "brush", "trowel", "press", "ladle", "awl", "loom",
            "ladder", "razor", "file", "rake",
        ],
    ),
];

pub(crate) const ADJECTIVES: [&str; 20] = [
    "red", "blue", "green", "white", "black", "old", "young", "big", "small", "long", "short",
    "warm", "cold", "happy", "quiet", "brave", "soft", "sweet", "empty", "clean",
];

/// One word in seven is held out, by the word and what is asked of it.
fn kept(task: &str, argument: &str) -> Option<HeldOut> {
    (one_in(7, &format!("{task}: {argument}"))).then_some(HeldOut::Argument)
}

pub(crate) fn put_verb(verb: &Verb, slots: &mut Slots) {
    slots
        .set("plain", verb.plain)
        .set("third", verb.third)
        .set("past", verb.past)
        .set("tail", verb.tail);
}

pub(crate) fn opposites(rng: &mut Rng) -> (&'static str, &'static str) {
    let &(a, b) = rng.pick(&OPPOSITES);
    if rng.chance(50) { (a, b) } else { (b, a) }
}

pub(crate) fn any_noun(world: &World, rng: &mut Rng) -> String {
    let nouns = nouns(world);
    nouns[rng.below(nouns.len())].to_string()
}

/// Things and animals whose plural is asked.
fn nouns(world: &World) -> Vec<&str> {
    THINGS.iter().copied().chain(world.animal_names()).collect()
}

/// A sort, one word of it, and two words of the other sorts.
pub(crate) fn pick_sorts(rng: &mut Rng) -> (&'static str, [&'static str; 3]) {
    let first = rng.below(3);
    let mut others = [(first + 1) % 3, (first + 2) % 3];
    rng.shuffle(&mut others);
    (
        SORTS[first].0,
        [
            rng.word(&SORTS[first].1),
            rng.word(&SORTS[others[0]].1),
            rng.word(&SORTS[others[1]].1),
        ],
    )
}

/// Questions whose arguments can be counted: opposites and plurals.
pub(crate) fn enumerated(world: &World) -> Vec<Question> {
    let mut out = Vec::new();
    let mut ask = |kind,
                   frames: &[&str],
                   unusual: &[&str],
                   slots: &Slots,
                   (sentence, short): (&str, &str),
                   reason: Option<HeldOut>| {
        let usual = frames.iter().map(|frame| (frame, reason));
        let unusual = unusual
            .iter()
            .map(|frame| (frame, reason.or(Some(HeldOut::Phrasing))));
        for (frame, reason) in usual.chain(unusual) {
            let answer = filled(sentence, slots);
            out.push(Question::new(kind, filled(frame, slots), answer, reason).or(short));
        }
    };
    for (a, b) in OPPOSITES {
        // By the pair: the other direction would give the answer away.
        let reason = kept("opposite", a);
        for (x, y) in [(a, b), (b, a)] {
            let mut slots = Slots::new();
            slots.set("a", x).set("b", y);
            ask(
                "opposite",
                &[
                    "What is the opposite of {a}?",
                    "Name the opposite of {a}.",
                    "Give me the opposite of {a}.",
                    "Which word is the opposite of {a}?",
                    "What is the opposite of the word {a}?",
                ],
                &["Tell me the opposite of the word {a}."],
                &slots,
                ("The opposite of {a} is {b}.", y),
                reason,
            );
        }
    }
    for one in nouns(world) {
        let mut slots = Slots::new();
        let more = english::plural(one);
        slots.set("one", one).set("more", more.as_str());
        ask(
            "plural",
            &[
                "What is the plural of {one}?",
                "Write the plural of {one}.",
                "One {one}, two what?",
                "What do we write for more than one {one}?",
            ],
            &["How do you write more than one {one}?"],
            &slots,
            ("The plural of {one} is {more}.", &more),
            kept("plural", one),
        );
    }
    out
}

/// A word of any sort.
pub(crate) fn any_word(rng: &mut Rng) -> &'static str {
    let sort = rng.below(3);
    rng.word(&SORTS[sort].1)
}

/// To say a word two or three times.
fn repeat(rng: &mut Rng) -> Question {
    let mut slots = Slots::new();
    // A word that does not exist can only be repeated by one who has understood what to do.
    let keep = rng.chance(15);
    let invented = words::coin(rng, keep);
    let word = match rng.below(3) {
        0 => invented.as_str(),
        1 => any_word(rng),
        _ => rng.word(&ADJECTIVES),
    };
    let reason = if word == invented {
        words::held_out(word).then_some(HeldOut::Argument)
    } else {
        kept("repeat", word)
    };
    let twice = rng.chance(60);
    slots
        .set("w", word)
        .set("times", if twice { "two times" } else { "three times" });
    let times = if twice { "twice" } else { "three times" };
    slots.set("twice", times);
    let frame = rng.word(&[
        "Say the word {w} {twice}.",
        "Repeat the word {w} {twice}.",
        "Write {w} {times}.",
    ]);
    let said = vec![word; if twice { 2 } else { 3 }].join(" ");
    // Behind an opening the word stands as it was given, without the capital that begins a sentence.
    Question::new(
        "repeat",
        filled(frame, &slots),
        format!("Here you are: {said}."),
        reason,
    )
    .or(&said)
}

/// To put a sentence into the past tense.
fn past_tense(world: &World, rng: &mut Rng) -> Question {
    let mut slots = Slots::new();
    let verb = rng.pick(&VERBS);
    let (p, _) = world.two_people(rng);
    p.put("p", &mut slots);
    put_verb(verb, &mut slots);
    let sentence = filled("{p} {third} {tail}.", &slots);
    let frame = rng.word(&[
        "Put this sentence into the past tense: ",
        "Rewrite this sentence in the past tense: ",
        "Say this in the past tense: ",
    ]);
    let answer = filled("{p} {past} {tail}.", &slots);
    Question::new(
        "past_tense",
        format!("{frame}{sentence}"),
        answer,
        kept("past", verb.plain),
    )
}

/// To count from one number to another.
fn count_up(rng: &mut Rng) -> Question {
    let mut slots = Slots::new();
    let (start, end, numbers) = arithmetic::count(rng);
    slots.set("a", start.to_string()).set("b", end.to_string());
    let frame = rng.word(&[
        "Count from {a} to {b}.",
        "Write the numbers from {a} to {b}.",
    ]);
    Question::new(
        "count_up",
        filled(frame, &slots),
        format!("From {start} to {end}: {numbers}."),
        kept("count up", &format!("{start} {end}")),
    )
    .or(&numbers)
}

/// One question of the open sort, whose arguments are drawn.
fn draw(world: &World, rng: &mut Rng) -> Question {
    let mut slots = Slots::new();
    match rng.below(8) {
        0 => repeat(rng),
        1 => {
            let (a, b) = (rng.word(&ADJECTIVES), any_word(rng));
            slots.set("a", a).set("b", b);
            let frame = rng.word(&[
                "Swap these two words: {a} {b}",
                "Turn these two words around: {a} {b}",
                "Write these two words in reverse order: {a} {b}",
            ]);
            Question::new(
                "swap",
                filled(frame, &slots),
                as_sentence(&format!("{b} {a}")),
                kept("swap", &format!("{a} {b}")),
            )
        }
        2 | 3 => {
            let words = distinct(rng, 3);
            let list = words.join(", ");
            slots.set("list", list.as_str());
            let (kind, frame, answer) = *rng.pick(&[
                (
                    "first_word",
                    "What is the first word of this list: {list}?",
                    0,
                ),
                ("first_word", "Which word comes first here: {list}?", 0),
                (
                    "last_word",
                    "What is the last word of this list: {list}?",
                    2,
                ),
                ("last_word", "Which word comes last here: {list}?", 2),
            ]);
            Question::new(
                kind,
                filled(frame, &slots),
                as_sentence(words[answer]),
                kept(kind, &list),
            )
        }
        4 => {
            let words = distinct_up_to(rng, 5);
            let list = words.join(", ");
            slots.set("list", list.as_str());
            let frame = rng.word(&[
                "How many words are in this list: {list}?",
                "Count the words of this list: {list}.",
            ]);
            Question::new(
                "count",
                filled(frame, &slots),
                format!("{}.", words.len()),
                kept("count", &list),
            )
            .or(english::NUMBER_WORDS[words.len()])
        }
        5 => {
            let (sort, words) = pick_sorts(rng);
            let mut shown = words;
            rng.shuffle(&mut shown);
            let list = english::join(&shown);
            slots.set("sort", sort).set("list", list.as_str());
            let frame = rng.word(&[
                "Which of these is {a sort}: {list}?",
                "Find the {sort} among {list}.",
                "One of these is {a sort}: {list}. Which one?",
            ]);
            Question::new(
                "pick",
                filled(frame, &slots),
                as_sentence(words[0]),
                kept("pick", &list),
            )
            .or(&english::with_article(words[0]))
            .or(&format!("the {}", words[0]))
        }
        6 => past_tense(world, rng),
        _ => count_up(rng),
    }
}

/// One question of the open sort, of the wanted split.
pub(crate) fn question(world: &World, rng: &mut Rng, want_held_out: bool) -> Question {
    loop {
        let question = draw(world, rng);
        if question.reason.is_some() == want_held_out {
            return question;
        }
    }
}

fn distinct(rng: &mut Rng, count: usize) -> Vec<&'static str> {
    let mut words: Vec<&'static str> = Vec::with_capacity(count);
    while words.len() < count {
        let word = any_word(rng);
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

fn distinct_up_to(rng: &mut Rng, most: usize) -> Vec<&'static str> {
    let count = 2 + rng.below(most - 1);
    distinct(rng, count)
}
