//! Reviews of inns, books, plays, meals and shoes, good ones and bad ones, each with its label.
//!
//! The praise and the blame are in what is said, not in one word: bad reviews may hold a kind remark and good ones a
//! complaint, as people write them, but the verdict at the end is always that of the label.

use super::World;
use super::frames::{Slots, Text, filled};
use super::questions::{HeldOut, Question};
use super::rng::{Rng, one_in};

/// Whether a review praises or blames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sentiment {
    /// The writer was pleased.
    Good,
    /// The writer was not.
    Bad,
}

/// A review with its label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// What the writer wrote, one paragraph.
    pub text: String,
    /// What the writer thought.
    pub sentiment: Sentiment,
    /// Whether it is kept for measuring.
    pub held_out: bool,
}

/// Something to review and what can be said of its parts.
struct Subject {
    opening: &'static [&'static str],
    good: &'static [&'static str],
    bad: &'static [&'static str],
}

const SUBJECTS: [Subject; 6] = [
    Subject {
        opening: &[
            "We spent two nights at the inn in {town}.",
            "{p} and I stayed at the inn of {town}.",
            "On our way through {town} we slept at the inn.",
        ],
        good: &[
            "The beds were soft and clean.",
            "The landlord carried our bags up the stairs.",
            "Breakfast was warm and there was plenty of it.",
            "From the window we saw the whole valley.",
            "It was so quiet that we slept until nine.",
        ],
        bad: &[
            "The beds were hard and the sheets were damp.",
            "The landlord was rude to everyone.",
            "Breakfast was cold and there was too little of it.",
            "From the window we saw only a wall.",
            "It was so loud that nobody slept.",
        ],
    },
    Subject {
        opening: &[
            "I have just read the new book by {p}.",
            "{p} has written a book about {town}.",
            "My sister gave me the book that {p} wrote.",
        ],
        good: &[
            "The story is full of surprises.",
            "I laughed on every page.",
            "I could not put it down.",
            "The people in it seem alive.",
            "The last chapter made me cry, and I was glad of it.",
        ],
        bad: &[
            "The story goes nowhere.",
            "I yawned on every page.",
            "I fell asleep over it three times.",
            "The people in it seem made of wood.",
            "The last chapter made no sense at all.",
        ],
    },
    Subject {
        opening: &[
            "We had supper at the new place in {town}.",
            "{p} cooked for the whole street.",
            "I tried the {food} in {town}.",
        ],
        good: &[
            "The {food} was fresh and full of taste.",
            "The soup was just right.",
            "They brought us more without being asked.",
            "Every plate came back empty.",
            "I would walk ten miles for that {food}.",
        ],
        bad: &[
            "The {food} was old and had no taste.",
            "The soup was cold.",
            "We waited an hour for our plates.",
            "Most plates came back full.",
            "I would not give that {food} to a dog.",
        ],
    },
    Subject {
        opening: &[
            "Last night we saw the play in {town}.",
            "The players came to {town} with a new play.",
            "{p} took me to the play.",
        ],
        good: &[
            "The players knew every word by heart.",
            "The music was lovely.",
            "The crowd clapped until their hands hurt.",
            "I forgot the time.",
            "The costumes shone like gold.",
        ],
        bad: &[
            "The players forgot their words.",
            "The music hurt my ears.",
            "Half the crowd went home before the end.",
            "I looked at the clock again and again.",
            "The costumes were torn and dirty.",
        ],
    },
    Subject {
        opening: &[
            "I bought a pair of shoes at the market of {town}.",
            "{p} made me a new pair of shoes.",
            "These shoes come from {town}.",
        ],
        good: &[
            "They fit as if they had grown on my feet.",
            "After a year they still look new.",
            "No rain gets through them.",
            "I can walk all day in them.",
            "The leather is soft and strong.",
        ],
        bad: &[
            "They pinch with every step.",
            "After a week they fell apart.",
            "The rain comes in from all sides.",
            "I cannot walk a mile in them.",
            "The leather is thin and stiff.",
        ],
    },
    Subject {
        opening: &[
            "We took the boat from {town}.",
            "{p} and I went on the boat trip near {town}.",
            "The boat trip from {town} takes three hours.",
        ],
        good: &[
            "The captain told us funny stories.",
            "The water was as smooth as glass.",
            "We saw swans and herons.",
            "There was a seat for everyone.",
            "The children did not want to get off.",
        ],
        bad: &[
            "The captain shouted at us.",
            "The boat leaked from the first minute.",
            "We saw nothing but fog.",
            "There were too few seats.",
            "The children were sick the whole time.",
        ],
    },
];

const VERDICT_GOOD: [&str; 10] = [
    "I can only praise it.",
    "I do not regret a single minute.",
    "It was worth every coin.",
    "What a joy!",
    "I was very pleased.",
    "I tell all my friends about it.",
    "I have seldom been so happy with anything.",
    "It could not have been better.",
    "I expected little and got much.",
    "I have nothing to complain about.",
];
const VERDICT_BAD: [&str; 10] = [
    "I cannot praise it.",
    "I have nothing good to say.",
    "It was not worth a single coin.",
    "What a pity!",
    "I was very disappointed.",
    "I warn all my friends about it.",
    "I have seldom been so angry about anything.",
    "It could not have been worse.",
    "I expected much and got little.",
    "I want my money back.",
];
const BUT_GOOD: [&str; 4] = [
    "It is true that it rained, but who cares?",
    "It was not cheap, but I do not mind.",
    "We came late, and still everyone was kind.",
    "I had my doubts at first, but not for long.",
];
const BUT_BAD: [&str; 4] = [
    "It is true that it was cheap, but that is no excuse.",
    "The sun shone, but that did not help.",
    "People had praised it to me, and I wonder why.",
    "I had hopes at first, but not for long.",
];

/// One review.
pub(crate) fn review(world: &World, rng: &mut Rng) -> Review {
    let subject = rng.pick(&SUBJECTS);
    let sentiment = if rng.chance(50) {
        Sentiment::Good
    } else {
        Sentiment::Bad
    };
    let (parts, verdicts, buts) = match sentiment {
        Sentiment::Good => (subject.good, &VERDICT_GOOD, &BUT_GOOD),
        Sentiment::Bad => (subject.bad, &VERDICT_BAD, &BUT_BAD),
    };
    let mut slots = Slots::new();
    let (p, _) = world.two_people(rng);
    p.put("p", &mut slots);
    slots
        .set("town", world.any_town(rng))
        .set("food", world.any_food(rng));
    let mut text = Text::new();
    text.say(rng.word(subject.opening), &slots);
    let mut parts = parts.to_vec();
    rng.shuffle(&mut parts);
    for frame in parts.iter().take(1 + rng.below(2)) {
        text.say(frame, &slots);
    }
    if rng.chance(30) {
        text.say(rng.word(buts), &slots);
    }
    if rng.chance(80) {
        text.say(rng.word(verdicts), &slots);
    }
    let held_out = one_in(6, &text.out);
    Review {
        text: text.out,
        sentiment,
        held_out,
    }
}

const HEADINGS: [&str; 4] = [
    "A letter to the paper of {town}.",
    "What a visitor writes:",
    "From the book of guests:",
    "One more opinion.",
];
const LABEL: [&str; 3] = [
    "This was a {word} review.",
    "The verdict: {word}.",
    "So the review was {word}.",
];

/// A page with one or two reviews; some end with their verdict in a word. Held-out reviews are never printed.
pub(crate) fn page(world: &World, rng: &mut Rng) -> String {
    let mut text = Text::new();
    for _ in 0..1 + rng.below(2) {
        let review = loop {
            let review = review(world, rng);
            if !review.held_out {
                break review;
            }
        };
        text.line();
        if rng.chance(30) {
            let mut slots = Slots::new();
            slots.set("town", world.any_town(rng));
            text.say(rng.word(&HEADINGS), &slots);
        }
        text.say(&review.text, &Slots::new());
        if rng.chance(40) {
            let mut slots = Slots::new();
            slots.set("word", word(review.sentiment));
            text.say(rng.word(&LABEL), &slots);
        }
    }
    text.out
}

fn word(sentiment: Sentiment) -> &'static str {
    match sentiment {
        Sentiment::Good => "good",
        Sentiment::Bad => "bad",
    }
}

const ASK: [&str; 4] = [
    "Is this review good or bad? {review}",
    "Did the writer of this review like it? Answer good or bad. {review}",
    "Good or bad? {review}",
    "Read this review and say whether it is good or bad. {review}",
];

/// A question about the sentiment of a review, of the wanted split.
pub(crate) fn question(world: &World, rng: &mut Rng, want_held_out: bool) -> Question {
    loop {
        let review = review(world, rng);
        if review.held_out != want_held_out {
            continue;
        }
        let mut slots = Slots::new();
        slots.set("review", review.text.as_str());
        let answer = super::questions::as_sentence(word(review.sentiment));
        return Question::new(
            "sentiment",
            filled(rng.word(&ASK), &slots),
            answer,
            want_held_out.then_some(HeldOut::Argument),
        );
    }
}

/// Every frame of this file, for the count and the checks.
#[cfg(test)]
pub(crate) fn frames() -> Vec<&'static str> {
    let mut out = [
        &VERDICT_GOOD[..],
        &VERDICT_BAD,
        &BUT_GOOD,
        &BUT_BAD,
        &HEADINGS,
        &LABEL,
        &ASK,
    ]
    .concat();
    for subject in &SUBJECTS {
        out.extend(
            subject
                .opening
                .iter()
                .chain(subject.good)
                .chain(subject.bad),
        );
    }
    out
}
