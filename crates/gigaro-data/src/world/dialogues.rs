//! Talk: people asking each other and pages of exercises in the corpus, and conversations between a user and the assistant
//! for fine-tuning.
//!
//! Questions about facts are answered by whole sentences: in the corpus by any that tells the fact, in a conversation always
//! by the same, so that it can be checked exactly, in the manner of one of several hands ([`super::demonstrations`]). Only
//! [`Split::Train`] questions are asked in either.

use super::World;
use super::demonstrations;
use super::english;
use super::frames::{Slots, Text, filled};
use super::questions::{Question, Split};
use super::rng::Rng;

/// Who says a message of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The one who asks.
    User,
    /// The one who answers.
    Assistant,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// A conversation between a user and the assistant, the user first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// The turns, alternating.
    pub messages: Vec<Message>,
    /// Always [`Split::Train`] from [`World::conversations`]; from [`World::exam`] it is that of its question.
    pub split: Split,
}

const SCENES: [&str; 12] = [
    "{p} and {q} sat by the fire and asked each other questions.",
    "On the way to the mill {p} talked with {q}.",
    "It rained, and {p} and {q} played a game of questions.",
    "{p} met {q} at the market.",
    "In the evening {p} wanted to know a few things from {q}.",
    "{p} was curious that day, and {q} knew the answers.",
    "On a long walk {p} turned to {q}.",
    "{p} and {q} waited for the boat and passed the time with questions.",
    "After supper {p} had some questions for {q}.",
    "{q} had a test the next day, so {p} asked the questions.",
    "At the well {p} stopped to talk to {q}.",
    "{p} was new in town, and {q} was glad to help.",
];

const ASKED: [&str; 8] = [
    "\"{ask}\" asked {p}. \"{tell}\" said {q}.",
    "{p} asked: \"{ask}\" {q} answered: \"{tell}\"",
    "\"{ask}\" {p} wanted to know. \"{tell}\" {q} told {p.him}.",
    "Then {p} asked, \"{ask}\" and {q} said, \"{tell}\"",
    "\"{ask}\" said {p}. {q} did not have to think. \"{tell}\"",
    "\"Here is an easy one,\" said {p}. \"{ask}\" \"{tell}\" answered {q}.",
    "\"{ask}\" asked {p}. {q} smiled. \"{tell}\"",
    "\"And {lower}\" asked {p}. \"{tell}\" said {q}.",
];

const ENDINGS: [&str; 8] = [
    "\"You know so much,\" said {p}.",
    "\"Thank you,\" said {p}, and went home wiser than before.",
    "\"Now I shall remember it,\" said {p}.",
    "They laughed and said good night.",
    "{p} wrote it all down in the evening.",
    "\"Ask me again tomorrow,\" said {q}.",
    "\"Every word of it is true,\" said {q}.",
    "",
];

/// People asking each other, in prose.
pub(crate) fn talk(world: &World, rng: &mut Rng) -> String {
    let (p, q) = world.two_people(rng);
    let mut slots = Slots::new();
    p.put("p", &mut slots);
    q.put("q", &mut slots);
    let mut text = Text::new();
    text.say(rng.word(&SCENES), &slots);
    for i in 0..2 + rng.below(4) {
        let (ask, fact) = world.asked_fact(rng);
        let mut tell = Text::new();
        fact.tell(&mut tell, rng);
        let mut lower = ask.clone();
        lower[..1].make_ascii_lowercase();
        let whether_lower =
            ask.starts_with("Wh") || ask.starts_with("How") || ask.starts_with("In ");
        let frames = if i == 0 || !whether_lower {
            &ASKED[..ASKED.len() - 1]
        } else {
            &ASKED[..]
        };
        let mut frame = rng.word(frames).to_string();
        // Before "said" a spoken sentence ends with a comma, at the end of a line with its stop.
        if frame.contains("{tell}\" ") {
            frame = frame.replace("{tell}\" ", "{spoken}\" ");
            let mut spoken = tell.out.clone();
            if spoken.ends_with('.') {
                spoken.pop();
                spoken.push(',');
            }
            slots.set("spoken", spoken);
        }
        // A request that is no question ends with a comma before "asked".
        let mut ask = ask;
        if ask.ends_with('.') && (frame.starts_with("\"{ask}\" ") || frame.contains("{ask}\" and"))
        {
            ask.pop();
            ask.push(',');
        }
        slots
            .set("ask", ask)
            .set("lower", lower)
            .set("tell", tell.out);
        text.say(&frame, &slots);
    }
    let ending = rng.word(&ENDINGS);
    if !ending.is_empty() {
        text.say(ending, &slots);
    }
    text.out
}

/// How a page of exercises opens.
const EXERCISES: [&str; 6] = [
    "Questions and answers.",
    "From the exercise book:",
    "The teacher asks, the class answers.",
    "A page of exercises.",
    "Test yourself!",
    "What everyone should be able to answer:",
];
/// How it sets out a question and its answer.
const EXERCISE: [&str; 4] = [
    "{ask} {answer}",
    "Question: {ask} Answer: {answer}",
    "- {ask}\n- {answer}",
    "{ask}\n{answer}",
];

/// A page of questions, each with its answer, one to a line.
pub(crate) fn exercises(world: &World, rng: &mut Rng) -> String {
    let mut lines = Vec::new();
    if rng.chance(40) {
        lines.push(rng.word(&EXERCISES).to_string());
    }
    let frame = rng.word(&EXERCISE);
    for _ in 0..4 + rng.below(6) {
        let question = world.ask(rng, Split::Train);
        let mut slots = Slots::new();
        slots
            .set("ask", question.text)
            .set("answer", question.answer);
        lines.push(filled(frame, &slots));
    }
    lines.join("\n")
}

/// Small talk: what the user says, and what the assistant answers.
const SMALL_TALK: [(&[&str], &str); 7] = [
    (
        &["Hello!", "Hello.", "Hi!", "Good day."],
        "Hello! How can I help you?",
    ),
    (
        &["Good morning!", "Good morning."],
        "Good morning! How can I help you?",
    ),
    (
        &["Good evening!", "Good evening."],
        "Good evening! How can I help you?",
    ),
    (
        &["How are you?", "How are you today?"],
        "I am well, thank you. How can I help you?",
    ),
    (
        &["Who are you?", "What is your name?", "What are you?"],
        "I am Gigaro, an assistant.",
    ),
    (
        &["What can you do?", "How can you help me?"],
        "I can answer questions about the small world.",
    ),
    (
        &[
            "Can I ask you something?",
            "I have a question.",
            "May I ask a question?",
        ],
        "Of course. What would you like to know?",
    ),
];
const THANKS: [&str; 5] = [
    "Thank you!",
    "Thank you.",
    "Thanks!",
    "Thank you very much.",
    "That helps, thank you.",
];
const WELCOME: &str = "You are welcome!";
const GOODBYE: [&str; 3] = ["Goodbye!", "Goodbye.", "See you tomorrow."];
const FAREWELL: &str = "Goodbye!";

/// Ways to put a question: most of them plain.
const WRAPS: [&str; 14] = [
    "{q}",
    "{q}",
    "{q}",
    "{q}",
    "{q}",
    "{q}",
    "{q}",
    "Please help me. {q}",
    "Hello! {q}",
    "I have a question. {q}",
    "{q} Thank you.",
    "Excuse me. {q}",
    "Please answer this. {q}",
    "Here is another one. {q}",
];

fn message(role: Role, content: impl Into<String>) -> Message {
    Message {
        role,
        content: content.into(),
    }
}

/// A question as the user puts it.
pub(crate) fn put(question: &str, rng: &mut Rng) -> String {
    let mut slots = Slots::new();
    slots.set("q", question);
    let wrap = rng.word(&WRAPS);
    // A list or a sentence at the end of an instruction stays at the end.
    if wrap.ends_with("Thank you.") && !question.ends_with(['?', '.']) {
        question.to_string()
    } else {
        filled(wrap, &slots)
    }
}

/// A conversation of one to six exchanges: questions, or one request for help or harm, and perhaps some small talk around.
pub(crate) fn conversation(world: &World, rng: &mut Rng) -> Conversation {
    let mut messages = Vec::new();
    if rng.chance(12) {
        let (said, answer) = rng.pick(&SMALL_TALK);
        messages.push(message(Role::User, rng.word(said)));
        messages.push(message(Role::Assistant, *answer));
    }
    if rng.chance(demonstrations::REQUESTS) {
        let (text, answer) = demonstrations::request(world, rng);
        messages.push(message(Role::User, put(&text, rng)));
        messages.push(message(Role::Assistant, answer));
    } else {
        let turns = [1, 1, 1, 2, 2, 3][rng.below(6)];
        for _ in 0..turns {
            let question = world.ask(rng, Split::Train);
            let answer = demonstrations::demonstration(&question.answer, rng);
            messages.push(message(Role::User, put(&question.text, rng)));
            messages.push(message(Role::Assistant, answer));
        }
    }
    if rng.chance(10) {
        messages.push(message(Role::User, rng.word(&THANKS)));
        messages.push(message(Role::Assistant, WELCOME));
    }
    if rng.chance(4) {
        messages.push(message(Role::User, rng.word(&GOODBYE)));
        messages.push(message(Role::Assistant, FAREWELL));
    }
    Conversation {
        messages,
        split: Split::Train,
    }
}

/// The conversation that puts one question as it stands and gives its answer.
pub(crate) fn of_question(question: &Question) -> Conversation {
    Conversation {
        messages: vec![
            message(Role::User, english::capitalised(&question.text)),
            message(Role::Assistant, question.answer.clone()),
        ],
        split: question.split,
    }
}

/// Every frame of this file, for the count and the checks.
#[cfg(test)]
pub(crate) fn frames() -> Vec<&'static str> {
    [
        &SCENES[..],
        &ASKED,
        &ENDINGS[..ENDINGS.len() - 1],
        &EXERCISES,
        &WRAPS[6..],
    ]
    .concat()
}
