//! Made-up words: defined in one sentence, then used rightly; and dictation, lines of words said again.
//!
//! GPT-3 was shown a word that does not exist with its definition and asked for a sentence that uses it. Here the same is
//! measured exactly: the words are made of syllables, the definitions of known words, and what may follow from a
//! definition is enumerable. Words with a held-out hash (and `gigaro`) occur nowhere in the corpus or the conversations.

use super::World;
use super::english;
use super::frames::{Slots, Text, filled};
use super::instructions;
use super::questions::{HeldOut, Question, as_sentence};
use super::rng::{Rng, one_in};

const ONSETS: [&str; 14] = [
    "b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "t", "v", "z", "j",
];
const VOWELS: [&str; 4] = ["a", "i", "o", "u"];
const ENDS: [&str; 3] = ["a", "o", "u"];
/// Real words that the syllables could make.
const REAL: [&str; 44] = [
    "tuna", "toga", "lava", "nova", "mama", "papa", "dada", "judo", "zulu", "gala", "data", "kilo",
    "polo", "lido", "mono", "dodo", "puma", "guru", "tofu", "banana", "panama", "pagoda", "lama",
    "diva", "gaga", "bravo", "duo", "luna", "papaya", "nada", "tabu", "bingo", "limo", "dido",
    "mara", "nina", "dino", "lira", "maria", "pita", "roma", "rota", "torino", "zuma",
];

/// Whether the word is kept for measuring.
pub(crate) fn held_out(word: &str) -> bool {
    word == "gigaro" || one_in(6, word)
}

/// A word that does not exist, of two or three syllables.
pub(crate) fn coin(rng: &mut Rng, want_held_out: bool) -> String {
    loop {
        let mut word = String::new();
        for _ in 0..1 + rng.below(2) {
            word.push_str(rng.word(&ONSETS));
            word.push_str(rng.word(&VOWELS));
        }
        word.push_str(rng.word(&ONSETS));
        word.push_str(rng.word(&ENDS));
        if held_out(&word) == want_held_out && !REAL.contains(&word.as_str()) {
            return word;
        }
    }
}

/// A kind of thing that a made-up word may name, and sentences that fit that kind alone.
struct Category {
    noun: &'static str,
    uses: &'static [&'static str],
}

const CATEGORIES: [Category; 14] = [
    Category {
        noun: "boat",
        uses: &[
            "We crossed the lake in our {w}.",
            "The {w} sailed down the river.",
            "The fisherman tied his {w} to the pier.",
        ],
    },
    Category {
        noun: "bird",
        uses: &[
            "The {w} sang in the tree.",
            "A {w} flew over the house.",
            "The {w} laid three eggs in its nest.",
        ],
    },
    Category {
        noun: "hat",
        uses: &[
            "The wind blew the {w} from my head.",
            "She put on her {w} and went out.",
            "He took off his {w} and bowed.",
        ],
    },
    Category {
        noun: "cake",
        uses: &[
            "We ate the whole {w} after supper.",
            "The baker sold me a warm {w}.",
            "Mother cut the {w} into six pieces.",
        ],
    },
    Category {
        noun: "drum",
        uses: &[
            "I played my {w} in the band.",
            "My uncle gave me a {w} and I beat it all day.",
            "The sound of the {w} woke the street.",
        ],
    },
    Category {
        noun: "lamp",
        uses: &[
            "She lit the {w} when it grew dark.",
            "The {w} gave a warm light.",
            "Without a {w} I cannot read at night.",
        ],
    },
    Category {
        noun: "tree",
        uses: &[
            "We sat in the shade of the {w}.",
            "The leaves of the {w} fell in autumn.",
            "The boys climbed the old {w}.",
        ],
    },
    Category {
        noun: "flower",
        uses: &[
            "The {w} opened in the morning sun.",
            "I picked a {w} for my mother.",
            "Bees came to the {w} in the garden.",
        ],
    },
    Category {
        noun: "house",
        uses: &[
            "The family moved into the {w}.",
            "Smoke rose from the roof of the {w}.",
            "I knocked at the door of the {w}.",
        ],
    },
    Category {
        noun: "coat",
        uses: &[
            "He buttoned his {w} against the cold.",
            "The tailor sewed me a {w}.",
            "My {w} has two deep pockets.",
        ],
    },
    Category {
        noun: "cart",
        uses: &[
            "The horse pulled the {w} up the hill.",
            "They loaded the {w} with hay.",
            "A wheel came off the {w}.",
        ],
    },
    Category {
        noun: "fish",
        uses: &[
            "He caught a {w} with his net.",
            "The {w} swam away from the hook.",
            "A {w} jumped out of the water.",
        ],
    },
    Category {
        noun: "cup",
        uses: &[
            "She drank tea from her {w}.",
            "The {w} fell and broke.",
            "He filled the {w} with milk.",
        ],
    },
    Category {
        noun: "bell",
        uses: &[
            "The {w} rang at noon.",
            "Everyone heard the {w} in the tower.",
            "They rang the {w} to call the children.",
        ],
    },
];

const SIZES: [&str; 7] = ["small", "big", "old", "round", "heavy", "long", "fine"];
const COLOURS: [&str; 9] = [
    "red", "blue", "green", "white", "black", "yellow", "brown", "grey", "golden",
];

/// Definitions of a thing.
const DEFINE: [&str; 8] = [
    "{A w} is a {size} {colour} {noun}.",
    "{A w} is a kind of {noun}, {size} and {colour}.",
    "The word {w} means a {size} {colour} {noun}.",
    "A {size} {colour} {noun} is called {a w}.",
    "By {a w} we mean a {size} {colour} {noun}.",
    "{A w} is what we call a {size} {colour} {noun}.",
    "In the next valley, {a w} is a {size} {colour} {noun}.",
    "The dictionary says that {a w} is a {size} {colour} {noun}.",
];

/// What a text may add about the thing.
const GO_ON: [&str; 10] = [
    "{p} has {a w}.",
    "{p} has always wanted {a w}.",
    "So if you see a {size} {colour} {noun}, you have seen {a w}.",
    "The colour of {a w} is {colour}.",
    "{p} saw {a w} yesterday.",
    "Not every {noun} is {a w}, for {a w} must be {colour}.",
    "{p} drew {a w} with {colour} chalk.",
    "There is no {w} that is not {colour}.",
    "The plural of {w} is {w}s.",
    "{p} asked what {a w} was, and {q} pointed to a {size} {colour} {noun}.",
];

/// Before a sentence that uses the word.
const EXAMPLE: [&str; 6] = [
    "Here is a sentence with the word {w}.",
    "One can say:",
    "The word {w} is used like this.",
    "An example:",
    "For example:",
    "{A w} is {a noun}, so one can say:",
];

/// Things to do that a made-up verb may mean.
const ACTIONS: [(&str, &str); 12] = [
    ("sing very loudly", "sings very loudly"),
    ("walk backwards", "walks backwards"),
    ("jump over a wall", "jumps over a wall"),
    ("talk to animals", "talks to animals"),
    ("sleep in a tree", "sleeps in a tree"),
    ("eat with both hands", "eats with both hands"),
    ("dance in the rain", "dances in the rain"),
    ("laugh without a sound", "laughs without a sound"),
    ("look for lost coins", "looks for lost coins"),
    ("stand on one leg", "stands on one leg"),
    ("run in circles", "runs in circles"),
    ("swim at night", "swims at night"),
];

const DEFINE_VERB: [&str; 4] = [
    "To {w} means to {do}.",
    "To {w} is to {do}.",
    "The verb {w} means to {do}.",
    "When people {do}, we say that they {w}.",
];
const GO_ON_VERB: [&str; 6] = [
    "{p} likes to {w}: {he} {does} whenever {he} can.",
    "When {p} {w}s, {he} {does}.",
    "{p} {w}s every day. That is to say, {he} {does}.",
    "{q} does not {w}, but {p} does.",
    "Only {p} {w}s. Nobody else {does}.",
    "To {w} means to {do}, so {p} {does}.",
];

/// One made-up word with its meaning.
struct Meaning {
    word: String,
    category: &'static Category,
    size: &'static str,
    colour: &'static str,
    action: (&'static str, &'static str),
}

impl Meaning {
    fn new(rng: &mut Rng, want_held_out: bool) -> Meaning {
        Meaning {
            word: coin(rng, want_held_out),
            category: rng.pick(&CATEGORIES),
            size: rng.word(&SIZES),
            colour: rng.word(&COLOURS),
            action: *rng.pick(&ACTIONS),
        }
    }

    fn slots(&self) -> Slots<'_> {
        let mut slots = Slots::new();
        slots
            .set("w", self.word.as_str())
            .set("noun", self.category.noun)
            .set("size", self.size)
            .set("colour", self.colour)
            .set("do", self.action.0)
            .set("does", self.action.1);
        slots
    }
}

/// A page about one made-up word.
pub(crate) fn page(world: &World, rng: &mut Rng) -> String {
    let meaning = Meaning::new(rng, false);
    let (p, q) = world.two_people(rng);
    let mut slots = meaning.slots();
    p.put("p", &mut slots);
    q.put("q", &mut slots);
    let mut text = Text::new();
    if rng.chance(20) {
        known_words(&mut text, rng);
        return text.out;
    }
    if rng.chance(40) {
        text.say(rng.word(&DEFINE_VERB), &slots);
        let mut order: Vec<&str> = GO_ON_VERB.to_vec();
        rng.shuffle(&mut order);
        for frame in order.iter().take(1 + rng.below(3)) {
            text.say(frame, &slots);
        }
        return text.out;
    }
    text.say(&definition(rng), &slots);
    let mut order: Vec<&str> = GO_ON.to_vec();
    rng.shuffle(&mut order);
    for frame in order.iter().take(rng.below(3)) {
        text.say(&with_articles(frame), &slots);
    }
    if rng.chance(40) {
        text.say(rng.word(&EXAMPLE), &slots);
    }
    let mut uses: Vec<&str> = meaning.category.uses.to_vec();
    rng.shuffle(&mut uses);
    for frame in uses.iter().take(1 + rng.below(3)) {
        text.say(frame, &slots);
    }
    if rng.chance(30) {
        text.say(
            &with_articles("Was it not a {size} {colour} {noun}? Yes, it was {a w}."),
            &slots,
        );
    }
    text.out
}

/// Words that everyone knows, each with a sentence or two that uses it.
fn known_words(text: &mut Text, rng: &mut Rng) {
    for _ in 0..2 + rng.below(4) {
        let category = rng.pick(&CATEGORIES);
        let mut slots = Slots::new();
        slots.set("w", category.noun).set("noun", category.noun);
        text.say(rng.word(&KNOWN), &slots);
        for _ in 0..1 + rng.below(2) {
            text.say(rng.word(category.uses), &slots);
        }
        text.line();
    }
    text.out.truncate(text.out.trim_end().len());
}

/// Before a sentence that uses a word that everyone knows.
const KNOWN: [&str; 4] = [
    "Here is a sentence with the word {w}.",
    "The word {w} is used like this.",
    "What can one say of {a w}?",
    "Everyone knows {a w}.",
];

const DICTATION: [&str; 6] = [
    "The teacher read: {line} The children wrote: {line}",
    "{p} read aloud: {line} {q} said after {him}: {line}",
    "{p} said: {line} {q} had not heard it. {p} said again: {line}",
    "On the board stood: {line} In the book of {p} stood: {line}",
    "{line} {line} {p} said it twice.",
    "Say after me: {line} {line} {line}",
];

/// A page of dictation: lines that mean little, said again word by word.
///
/// What was just read is said again in every text, but mostly it could be known without looking back; here it could not,
/// so that a small model learns to look back early.
pub(crate) fn dictation(world: &World, rng: &mut Rng) -> String {
    let mut text = Text::new();
    let frame = rng.word(&DICTATION);
    for _ in 0..2 + rng.below(4) {
        let (p, q) = world.two_people(rng);
        let line = if rng.chance(40) {
            let meaning = Meaning::new(rng, false);
            filled(&definition(rng), &meaning.slots())
        } else {
            let words: Vec<String> = (0..3 + rng.below(4))
                .map(|_| match rng.below(4) {
                    0 => coin(rng, false),
                    1 => rng.pick(&CATEGORIES).noun.to_string(),
                    2 => world.two_people(rng).0.text.to_string(),
                    _ => instructions::any_word(rng).to_string(),
                })
                .collect();
            let line = words.join(" ");
            if rng.chance(50) {
                as_sentence(&line)
            } else {
                line + "."
            }
        };
        let mut slots = Slots::new();
        slots.set("line", line);
        p.put("p", &mut slots);
        q.put("q", &mut slots);
        text.say(frame, &slots).line();
    }
    text.out.truncate(text.out.trim_end().len());
    text.out
}

/// `a {size}` with the article asked from the word.
fn with_articles(frame: &str) -> String {
    let frame = frame.replace(" a {size}", " {a size}");
    match frame.strip_prefix("A {size}") {
        Some(rest) => format!("{{A size}}{rest}"),
        None => frame,
    }
}

fn definition(rng: &mut Rng) -> String {
    with_articles(rng.word(&DEFINE))
}

/// The ways to ask about a made-up thing: kind, question after the definition, answer, short answer.
const ASK: [(&str, &str, &str, &str); 9] = [
    ("word_meaning", "What is {a w}?", MEANS, THING),
    ("word_meaning", "What does the word {w} mean?", MEANS, THING),
    (
        "word_colour",
        "What colour is {a w}?",
        "The colour of {a w} is {colour}.",
        "{colour}",
    ),
    (
        "word_colour",
        "Which colour does {a w} have?",
        "The colour of {a w} is {colour}.",
        "{colour}",
    ),
    (
        "word_kind",
        "What kind of thing is {a w}?",
        "{A w} is {a noun}.",
        "{A noun}",
    ),
    (
        "word_kind",
        "Is {a w} a boat, a bird or something else?",
        "{A w} is {a noun}.",
        "{A noun}",
    ),
    (
        "word_name",
        "What do we call {a size} {colour} {noun}?",
        "{A size} {colour} {noun} is called {a w}.",
        "{A w}",
    ),
    (
        "word_owner",
        "{p} has {a w}. What does {p} have?",
        "{p} has {a w}, which is {a size} {colour} {noun}.",
        THING,
    ),
    (
        "word_owner",
        "{p} has bought {a w}. What has {p} bought?",
        "{p} has bought {a w}, which is {a size} {colour} {noun}.",
        THING,
    ),
];
const MEANS: &str = "{A w} is {a size} {colour} {noun}.";
const THING: &str = "{A size} {colour} {noun}";
const ASK_USE: [&str; 3] = [
    "Use the word {w} in a sentence.",
    "Make a sentence with the word {w}.",
    "Give me a sentence that uses the word {w}.",
];
/// What an answer says of the word before it uses it.
const REMIND: &str = "{A w} is {a noun}, so one can say:";
const ASK_VERB: [&str; 2] = [
    "What does {p} do when {he} {w}s?",
    "{p} {w}s. What does {p} do?",
];

/// One question about a made-up word, of either split.
pub(crate) fn question(world: &World, rng: &mut Rng, want_held_out: bool) -> Question {
    let meaning = Meaning::new(rng, want_held_out);
    let (p, _) = world.two_people(rng);
    let mut slots = meaning.slots();
    p.put("p", &mut slots);
    let reason = want_held_out.then_some(HeldOut::Argument);
    let ask = |define: &str, frame: &str| -> String {
        let mut text = Text::new();
        text.say(define, &slots);
        text.say(frame, &slots);
        text.out
    };
    match rng.below(10) {
        0..=5 => {
            let (kind, frame, answer, short) = *rng.pick(&ASK);
            let short = filled(short, &slots);
            let bare = short
                .split_once(' ')
                .map_or(short.as_str(), |(_, rest)| rest);
            let answer = filled(answer, &slots);
            Question::new(kind, ask(&definition(rng), frame), answer, reason)
                .or(&short)
                .or(bare)
        }
        6 | 7 => {
            let text = ask(&definition(rng), rng.word(&ASK_USE));
            let reminder = filled(REMIND, &slots);
            let uses: Vec<String> = meaning
                .category
                .uses
                .iter()
                .map(|frame| filled(frame, &slots))
                .collect();
            let answer = format!("{reminder} {}", rng.pick(&uses));
            let mut question = Question::new("word_use", text, answer, reason);
            for form in &uses {
                question = question.or(form).or(&format!("{reminder} {form}"));
            }
            question
        }
        _ => {
            let text = ask(rng.word(&DEFINE_VERB), rng.word(&ASK_VERB));
            let answer = filled("To {w} means to {do}, so {p} {does}.", &slots);
            Question::new("word_verb", text, answer, reason)
                .or(&filled("{He} {does}.", &slots))
                .or(&filled("{p} {does}.", &slots))
                .or(&english::capitalised(meaning.action.1))
                .or(meaning.action.0)
        }
    }
}

/// Every frame of this file, for the count and the checks.
#[cfg(test)]
pub(crate) fn frames() -> Vec<&'static str> {
    let mut out = [
        &DEFINE[..],
        &GO_ON,
        &EXAMPLE,
        &KNOWN,
        &DICTATION,
        &DEFINE_VERB,
        &GO_ON_VERB,
        &ASK_USE,
        &ASK_VERB,
    ]
    .concat();
    out.extend(CATEGORIES.iter().flat_map(|category| category.uses));
    out.extend(ASK.iter().map(|(_, ask, _, _)| ask));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coined_words_keep_to_their_split() {
        let mut rng = Rng::at(3, "words", 0);
        for i in 0..2000 {
            let held = i % 2 == 0;
            assert_eq!(held_out(&coin(&mut rng, held)), held);
        }
    }

    #[test]
    fn the_article_of_a_definition_follows_its_adjective() {
        assert_eq!(
            with_articles("A {size} x and a {size} y"),
            "{A size} x and {a size} y"
        );
    }
}
