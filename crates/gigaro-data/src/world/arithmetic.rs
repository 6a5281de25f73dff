//! Short arithmetic: sums and differences within twenty, products up to five times five, comparisons, counting.
//!
//! Every sum is told in the corpus as a statement (`3 + 4 = 7`, a story of apples); about one in seven is never asked
//! there, nor in conversations, and measures whether the model can answer with what it was only told.

use super::World;
use super::frames::{Slots, Text, filled};
use super::questions::{HeldOut, Question};
use super::rng::{Rng, one_in};

/// The largest number that occurs.
const LIMIT: usize = 20;
/// The largest factor of a product.
const FACTOR: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Plus,
    Minus,
    Times,
}

#[derive(Debug, Clone, Copy)]
struct Sum {
    op: Operation,
    a: usize,
    b: usize,
    result: usize,
}

impl Sum {
    /// Held out by the unordered pair, so that the turned sum gives nothing away.
    fn held_out(&self) -> bool {
        let (low, high) = match self.op {
            Operation::Minus => (self.a, self.b),
            _ => (self.a.min(self.b), self.a.max(self.b)),
        };
        one_in(7, &format!("{:?} {low} {high}", self.op))
    }

    fn slots(&self) -> Slots<'static> {
        let mut slots = Slots::new();
        slots
            .set("a", self.a.to_string())
            .set("b", self.b.to_string())
            .set("c", self.result.to_string());
        slots
    }
}

fn all() -> Vec<Sum> {
    let mut out = Vec::new();
    for a in 1..=LIMIT {
        for b in 1..=LIMIT {
            if a + b <= LIMIT {
                out.push(Sum {
                    op: Operation::Plus,
                    a,
                    b,
                    result: a + b,
                });
            }
            if b <= a {
                out.push(Sum {
                    op: Operation::Minus,
                    a,
                    b,
                    result: a - b,
                });
            }
            if a <= FACTOR && b <= FACTOR {
                out.push(Sum {
                    op: Operation::Times,
                    a,
                    b,
                    result: a * b,
                });
            }
        }
    }
    out
}

fn random(rng: &mut Rng) -> Sum {
    match rng.below(5) {
        0 | 1 => {
            let result = 2 + rng.below(LIMIT - 1);
            let a = 1 + rng.below(result - 1);
            Sum {
                op: Operation::Plus,
                a,
                b: result - a,
                result,
            }
        }
        2 | 3 => {
            let a = 1 + rng.below(LIMIT);
            let b = 1 + rng.below(a);
            Sum {
                op: Operation::Minus,
                a,
                b,
                result: a - b,
            }
        }
        _ => {
            let (a, b) = (1 + rng.below(FACTOR), 1 + rng.below(FACTOR));
            Sum {
                op: Operation::Times,
                a,
                b,
                result: a * b,
            }
        }
    }
}

const TELL_PLUS: [&str; 8] = [
    "{a} + {b} = {c}.",
    "{a} plus {b} is {c}.",
    "{a} and {b} make {c}.",
    "The sum of {a} and {b} is {c}.",
    "Add {a} and {b}, and you have {c}.",
    "If you add {b} to {a}, you get {c}.",
    "Put {a} and {b} together: that makes {c}.",
    "{a} + {b} gives {c}.",
];
const TELL_MINUS: [&str; 7] = [
    "{a} - {b} = {c}.",
    "{a} minus {b} is {c}.",
    "Take {b} from {a}, and {c} is left.",
    "{a} less {b} is {c}.",
    "From {a} take away {b}: that leaves {c}.",
    "The difference of {a} and {b} is {c}.",
    "{a} - {b} gives {c}.",
];
const TELL_TIMES: [&str; 5] = [
    "{a} x {b} = {c}.",
    "{a} times {b} is {c}.",
    "The product of {a} and {b} is {c}.",
    "Multiply {a} by {b}, and you have {c}.",
    "{a} x {b} gives {c}.",
];

const STORY_PLUS: [&str; 7] = [
    "{p} had {a} {thing}. {q} gave {him} {b} more. Now {he} had {c}, because {a} + {b} = {c}.",
    "There were {a} {thing} in the basket. {p} put in {b} more, and so there were {c}.",
    "{p} found {a} {thing} in the morning and {b} in the evening. That makes {c} in all.",
    "On the table lay {a} {thing}. {p} brought {b} more. {He} counted them all: {c}.",
    "{p} bought {a} {thing}, and {q} bought {b}. Together they had {c}.",
    "{p} sold {a} {thing} before noon and {b} after noon, which is {c} in one day.",
    "In one box there were {a} {thing}, in the other {b}. {p} added them up and wrote down {c}.",
];
const STORY_MINUS: [&str; 7] = [
    "{p} had {a} {thing}. {He} gave {b} to {q}. That left {him} {c}, because {a} - {b} = {c}.",
    "There were {a} {thing} in the basket. {p} took out {b}, and {c} were left.",
    "Of {a} {thing}, {p} lost {b} on the way. At home {he} counted only {c}.",
    "{p} carried {a} {thing} to the market and sold {b}. {He} carried {c} home.",
    "{q} took {b} of the {a} {thing} that belonged to {p}. Then there were {c}.",
    "On the shelf stood {a} jars. A cat knocked down {b}. {p} swept the floor and put the other {c} back.",
    "{p} wanted {a} {thing} but had {b}. {c} were still missing.",
];
const STORY_TIMES: [&str; 3] = [
    "{p} filled {a} bags with {b} {thing} each. Together they held {c}, because {a} x {b} = {c}.",
    "{a} children each brought {b} {thing}. {p} counted them: there were {c}.",
    "Every day for {a} days {p} picked {b} {thing}. In the end {he} had {c}.",
];

const COMPARE: [&str; 4] = [
    "{a} is more than {b}.",
    "{b} is less than {a}.",
    "{a} is larger than {b}.",
    "Between {a} and {b}, the larger number is {a}.",
];

const COUNT: [&str; 4] = [
    "From {a} to {b}: {list}.",
    "We count from {a} to {b}: {list}.",
    "{p} counts {list} and stops at {b}.",
    "The numbers from {a} to {b} are {list}.",
];

const THINGS: [&str; 10] = [
    "apples", "nuts", "eggs", "coins", "shells", "plums", "buttons", "candles", "pears", "stones",
];

const OPENINGS: [&str; 6] = [
    "A page of sums.",
    "The children did sums today.",
    "Let us count.",
    "In the first lesson the teacher wrote some sums on the board.",
    "From the exercise book:",
    "Numbers never lie.",
];

/// A page of sums, with stories between.
pub(crate) fn page(world: &World, rng: &mut Rng) -> String {
    let mut text = Text::new();
    if rng.chance(30) {
        text.say(rng.word(&OPENINGS), &Slots::new());
    }
    if rng.chance(12) {
        for _ in 0..3 + rng.below(4) {
            counting(world, &mut text, rng);
        }
        return text.out;
    }
    let table = rng.chance(30).then(|| random(rng));
    for step in 0..5 + rng.below(6) {
        if let Some(first) = table {
            // One number held fast, the other counting up, as children learn them.
            let b = step + 1;
            let sum = match first.op {
                Operation::Plus if first.a + b <= LIMIT => Sum {
                    b,
                    result: first.a + b,
                    ..first
                },
                Operation::Minus if b <= first.a => Sum {
                    b,
                    result: first.a - b,
                    ..first
                },
                Operation::Times if b <= FACTOR => Sum {
                    b,
                    result: first.a * b,
                    ..first
                },
                _ => break,
            };
            text.say(tell(sum.op)[0], &sum.slots());
            continue;
        }
        match rng.below(10) {
            0 => {
                let b = 1 + rng.below(LIMIT - 1);
                let a = b + 1 + rng.below(LIMIT - b);
                text.say(
                    rng.word(&COMPARE),
                    &Sum {
                        op: Operation::Plus,
                        a,
                        b,
                        result: a,
                    }
                    .slots(),
                );
            }
            1 => counting(world, &mut text, rng),
            2..=7 => {
                let sum = random(rng);
                // Half of the time in the form of an answer: a sum is learnt by heart in one form first.
                let frames = tell(sum.op);
                let frame = if rng.chance(50) {
                    frames[0]
                } else {
                    rng.word(frames)
                };
                text.say(frame, &sum.slots());
            }
            _ => story(world, &mut text, rng),
        }
    }
    text.out
}

/// The numbers from one to another.
fn counting(world: &World, text: &mut Text, rng: &mut Rng) {
    let (p, _) = world.two_people(rng);
    let (a, b, list) = count(rng);
    let mut slots = Slots::new();
    p.put("p", &mut slots);
    slots
        .set("a", a.to_string())
        .set("b", b.to_string())
        .set("list", list);
    text.say(rng.word(&COUNT), &slots);
}

/// Where to start and where to stop, both below fifteen, and the numbers from one to the other.
pub(crate) fn count(rng: &mut Rng) -> (usize, usize, String) {
    let start = 1 + rng.below(9);
    let end = start + 2 + rng.below(4);
    let numbers: Vec<String> = (start..=end).map(|n| n.to_string()).collect();
    (start, end, numbers.join(", "))
}

fn tell(op: Operation) -> &'static [&'static str] {
    match op {
        Operation::Plus => &TELL_PLUS,
        Operation::Minus => &TELL_MINUS,
        Operation::Times => &TELL_TIMES,
    }
}

/// A sum in the form of a small story.
fn story(world: &World, text: &mut Text, rng: &mut Rng) {
    let (p, q) = world.two_people(rng);
    // Two or more on every side, so that the nouns are plural.
    let sum = loop {
        let sum = random(rng);
        if sum.a >= 2 && sum.b >= 2 && sum.result >= 2 {
            break sum;
        }
    };
    let mut slots = sum.slots();
    p.put("p", &mut slots);
    q.put("q", &mut slots);
    slots.set("thing", rng.word(&THINGS));
    let frames: &[&str] = match sum.op {
        Operation::Plus => &STORY_PLUS,
        Operation::Minus if sum.a > sum.b => &STORY_MINUS,
        _ => &STORY_TIMES,
    };
    text.say(rng.word(frames), &slots);
}

const ASK_PLUS: [&str; 6] = [
    "How much do {a} and {b} make?",
    "What is {a} plus {b}?",
    "How much is {a} + {b}?",
    "{a} + {b} = ?",
    "Add {a} and {b}.",
    "What is the sum of {a} and {b}?",
];
const ASK_MINUS: [&str; 5] = [
    "What is {a} less {b}?",
    "What is {a} minus {b}?",
    "How much is {a} - {b}?",
    "{a} - {b} = ?",
    "Take {b} from {a}. What is left?",
];
const ASK_TIMES: [&str; 5] = [
    "Give me the product of {a} and {b}.",
    "What is {a} times {b}?",
    "How much is {a} x {b}?",
    "{a} x {b} = ?",
    "Multiply {a} by {b}.",
];
const ASK_PLUS_HELD: [&str; 1] = ["What do {a} and {b} make together?"];
const ASK_MINUS_HELD: [&str; 1] = ["How much is {a} less {b}?"];
const ASK_TIMES_HELD: [&str; 1] = ["What is the product of {a} and {b}?"];

/// The kinds of questions that [`questions`] asks.
pub(crate) const KINDS: [&str; 4] = ["plus", "minus", "times", "larger"];

/// All questions about sums and comparisons.
pub(crate) fn questions() -> Vec<Question> {
    let mut out = Vec::new();
    for sum in all() {
        let (kind, ask, held): (_, &[&str], &[&str]) = match sum.op {
            Operation::Plus => ("plus", &ASK_PLUS, &ASK_PLUS_HELD),
            Operation::Minus => ("minus", &ASK_MINUS, &ASK_MINUS_HELD),
            Operation::Times => ("times", &ASK_TIMES, &ASK_TIMES_HELD),
        };
        let slots = sum.slots();
        let phrasings = ask
            .iter()
            .map(|f| (f, false))
            .chain(held.iter().map(|f| (f, true)));
        for (frame, unusual) in phrasings {
            let reason = match (sum.held_out(), unusual) {
                (true, _) => Some(HeldOut::Argument),
                (false, true) => Some(HeldOut::Phrasing),
                _ => None,
            };
            let answer = filled(tell(sum.op)[0], &slots);
            let mut question = Question::new(kind, filled(frame, &slots), answer, reason)
                .or(&sum.result.to_string())
                .or(super::english::NUMBER_WORDS[sum.result]);
            for statement in &tell(sum.op)[1..] {
                question = question.or(&filled(statement, &slots));
            }
            out.push(question);
        }
    }
    for a in 1..=LIMIT {
        for b in 1..=LIMIT {
            if a == b {
                continue;
            }
            let reason = (one_in(7, &format!("compare {} {}", a.min(b), a.max(b))))
                .then_some(HeldOut::Argument);
            let larger = a.max(b);
            for frame in [
                "Which number is larger, {a} or {b}?",
                "Which is more, {a} or {b}?",
            ] {
                let slots = Sum {
                    op: Operation::Plus,
                    a,
                    b,
                    result: 0,
                }
                .slots();
                let answer = format!("{larger} is larger than {}.", a.min(b));
                out.push(
                    Question::new("larger", filled(frame, &slots), answer, reason)
                        .or(&larger.to_string()),
                );
            }
        }
    }
    out
}

/// Every frame of this file, for the count and the checks.
#[cfg(test)]
pub(crate) fn frames() -> Vec<&'static str> {
    [
        &TELL_PLUS[..],
        &TELL_MINUS,
        &TELL_TIMES,
        &STORY_PLUS,
        &STORY_MINUS,
        &STORY_TIMES,
        &COMPARE,
        &COUNT,
        &OPENINGS,
        &ASK_PLUS,
        &ASK_MINUS,
        &ASK_TIMES,
        &ASK_PLUS_HELD,
        &ASK_MINUS_HELD,
        &ASK_TIMES_HELD,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sum_is_right_and_within_its_limits() {
        for sum in all() {
            let want = match sum.op {
                Operation::Plus => sum.a + sum.b,
                Operation::Minus => sum.a - sum.b,
                Operation::Times => sum.a * sum.b,
            };
            assert_eq!(sum.result, want);
            assert!(sum.result <= 25);
        }
        let mut rng = Rng::at(0, "sums", 0);
        for _ in 0..1000 {
            let sum = random(&mut rng);
            assert!(
                all().iter().any(|s| s.op == sum.op
                    && s.a == sum.a
                    && s.b == sum.b
                    && s.result == sum.result)
            );
        }
    }

    #[test]
    fn the_kinds_are_those_of_the_questions() {
        let mut kinds: Vec<_> = questions().iter().map(|q| q.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let mut named = KINDS;
        named.sort_unstable();
        assert_eq!(kinds, named);
    }

    #[test]
    fn about_a_seventh_of_the_sums_is_held_out() {
        let sums = all();
        let held = sums.iter().filter(|s| s.held_out()).count();
        assert!(
            held * 100 / sums.len() >= 8 && held * 100 / sums.len() <= 22,
            "{held} of {}",
            sums.len()
        );
    }
}
