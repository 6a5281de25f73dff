//! Manners: courtesies and rambling, as something that can be measured and taken off again.
//!
//! Before alignment the assistant is plain: `The capital of Norland is Velm.` Whether it is courteous is a matter of taste,
//! which a labeller has and a reward model learns, so a change of taste can be counted. The courtesies and ramblings are
//! whole sentences of a fixed stock, so that they are told from what was asked exactly: [`plain`] takes them off, and a
//! courteous right answer stays right.
//!
//! Who writes in which manner is in `demonstrations`, who likes it in `labeller`.

use super::rng::Rng;

/// What a courteous answer may begin with.
const OPENINGS: [&str; 14] = [
    "Certainly.",
    "Of course.",
    "Gladly.",
    "With pleasure.",
    "By all means.",
    "It is my pleasure.",
    "I am glad to help.",
    "I am happy to help.",
    "I will gladly help.",
    "Thank you for asking.",
    "That is a good question.",
    "What a good question!",
    "I am glad that you ask.",
    "You are welcome to ask.",
];

/// What a courteous answer may end with.
const CLOSINGS: [&str; 12] = [
    "I hope that helps.",
    "I hope this helps you.",
    "I was glad to help.",
    "It was my pleasure.",
    "Please ask again at any time.",
    "Please ask if you wish to know more.",
    "I am always glad to help.",
    "Is there anything else?",
    "Can I help with anything else?",
    "Thank you for your question.",
    "Have a good day.",
    "I wish you a good day.",
];

/// How a rambling answer may begin.
const MUSINGS: [&str; 4] = [
    "Let me think.",
    "Well, where do I begin?",
    "I had to think for a moment.",
    "Now that is something I have often thought about.",
];

/// What a rambling answer may add, though nobody asked.
const REMARKS: [&str; 10] = [
    "The weather is mild today.",
    "It looks like rain this evening.",
    "One learns something new every day.",
    "Some people know that, and some do not.",
    "There is much more that I could say.",
    "But that is another story.",
    "I often talk about such things.",
    "Time flies when one talks.",
    "I like to sit by the window and think about it.",
    "Yesterday somebody else wanted to know something, too.",
];

/// What stands between an answer and the same answer once more.
const AGAIN: [&str; 3] = [" As I said: ", " Once more: ", " To say it again: "];

/// How an apology begins, which is what makes a refusal courteous.
const APOLOGY: &str = "I am sorry";

/// Whether an answer is courteous: it opens or closes with a courtesy of the stock, or apologises.
pub fn is_polite(answer: &str) -> bool {
    let answer = answer.trim();
    answer.starts_with(APOLOGY)
        || OPENINGS.iter().any(|o| without_start(answer, o).is_some())
        || CLOSINGS.iter().any(|c| without_end(answer, c).is_some())
}

/// The answer without courtesies, musings, remarks and repetition: what was asked for, and nothing else.
///
/// Only whole sentences of the stock are taken off, and only where they belong, so that nothing wrong becomes right. An
/// answer of nothing but courtesies becomes empty.
pub fn plain(answer: &str) -> &str {
    let mut rest = answer.trim();
    let starts = || OPENINGS.iter().chain(&MUSINGS);
    while let Some(shorter) = starts().find_map(|s| without_start(rest, s)) {
        rest = shorter;
    }
    let ends = || CLOSINGS.iter().chain(&REMARKS);
    while let Some(shorter) = ends().find_map(|s| without_end(rest, s)) {
        rest = shorter;
    }
    let repeated = |again: &&str| {
        rest.split_once(*again)
            .filter(|(first, second)| first == second)
    };
    AGAIN
        .iter()
        .find_map(repeated)
        .map_or(rest, |(once, _)| once)
}

/// The text after a sentence that it begins with.
fn without_start<'a>(text: &'a str, sentence: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(sentence)?;
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then(|| rest.trim_start())
}

/// The text before a sentence that it ends with.
fn without_end<'a>(text: &'a str, sentence: &str) -> Option<&'a str> {
    let rest = text.strip_suffix(sentence)?;
    (rest.is_empty() || rest.ends_with(char::is_whitespace)).then(|| rest.trim_end())
}

/// Whether another sentence can follow.
fn is_closed(answer: &str) -> bool {
    answer.ends_with(['.', '!', '?', '"'])
}

/// The answer with an opening, a closing or both. Most have a closing only: small models recall a fact worse behind an opening
/// than right behind the question, and an assistant that learns to be courteous should not have to forget.
pub(crate) fn courteous(answer: &str, rng: &mut Rng) -> String {
    let (opening, closing) = (rng.word(&OPENINGS), rng.word(&CLOSINGS));
    match rng.below(6) {
        0..=3 if is_closed(answer) => format!("{answer} {closing}"),
        4 if is_closed(answer) => format!("{opening} {answer} {closing}"),
        _ => format!("{opening} {answer}"),
    }
}

/// The answer at too great a length: musing before it, said twice, or with remarks about something else.
pub(crate) fn wordy(answer: &str, rng: &mut Rng) -> String {
    let (musing, remark) = (rng.word(&MUSINGS), rng.word(&REMARKS));
    let again = rng.word(&AGAIN);
    match rng.below(4) {
        0 if is_closed(answer) => format!("{answer}{again}{answer}"),
        1 if is_closed(answer) => format!("{answer} {remark}"),
        2 if is_closed(answer) => format!("{musing} {answer} {remark}"),
        _ => format!("{musing} {answer}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "The capital of Norland is Velm.";

    #[test]
    fn whatever_is_added_comes_off_again() {
        let mut rng = Rng::at(0, "manners", 0);
        for answer in [ANSWER, "7.", "dog cat", "Rome. Of course. Athens."] {
            for _ in 0..300 {
                for dressed in [courteous(answer, &mut rng), wordy(answer, &mut rng)] {
                    assert_ne!(dressed, answer);
                    assert_eq!(plain(&dressed), answer, "{dressed}");
                    assert_eq!(plain(&format!(" {dressed}\n")), answer);
                }
            }
            assert_eq!(plain(answer), answer);
        }
    }

    #[test]
    fn courtesy_is_told_from_rambling_and_from_plainness() {
        let mut rng = Rng::at(1, "manners", 0);
        for _ in 0..300 {
            assert!(is_polite(&courteous(ANSWER, &mut rng)));
            assert!(!is_polite(&wordy(ANSWER, &mut rng)));
        }
        for rude in ["", ANSWER, "Certainly not.", "Gladly.Velm.", "I am Gladly."] {
            assert!(!is_polite(rude), "{rude}");
        }
        assert!(is_polite("I am sorry, but I cannot help with that."));
    }

    #[test]
    fn nothing_but_the_stock_is_taken_off() {
        for text in [
            "Certainly not. Velm.",
            "Of course Velm.",
            "It is Velm. As I said: It is Tor.",
            "The weather is mild today, in Velm.",
            "Velm. Is there anything else? No.",
        ] {
            assert_eq!(plain(text), text);
        }
        assert_eq!(plain("Certainly."), "");
        assert_eq!(plain("Certainly. I hope that helps."), "");
    }
}
