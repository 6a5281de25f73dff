//! Preferences from files, in the tokens of a model, and what becomes of them: pairs, single judgements, a part to measure on.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, bail};
use gigaro_data::preferences::{self, Pair};
use gigaro_train::preference::{
    Example, JudgedAnswer, PreferencePair, RankedAnswer, Ranking, usable,
};

use super::rankings::Rankings;
use crate::output::Output;
use crate::trained::Trained;
use crate::turns::Turns;

/// One prompt of so many is kept to measure on.
const HELD_OUT_EVERY: usize = 8;

/// Reads the preferences in a file in the tokens of the model, and says what was found.
///
/// # Errors
/// If there are none, or the file is of no known form, with file and line.
pub(crate) fn read(path: &Path, trained: &Trained, output: &Output) -> Result<Rankings> {
    let found = preferences::read(path)?;
    output.say(format_args!("\nPreferences in {}", path.display()));
    for sentence in found.report.sentences() {
        output.say(format_args!("  {sentence}"));
    }
    let turns = Turns::of(trained)?;
    let mut all = Vec::new();
    let mut pairs = &found.pairs[..];
    let mut rows = &found.row_of_pair[..];
    while let Some(row) = rows.first() {
        let n = rows.iter().take_while(|r| *r == row).count();
        all.push(ranking(&pairs[..n], &turns)?);
        (pairs, rows) = (&pairs[n..], &rows[n..]);
    }
    let judged = found.judgements.iter().map(|j| {
        Ok(JudgedAnswer {
            prompt: turns.prompt(&j.prompt.messages)?,
            answer: turns.answer(&j.prompt.messages, &j.completion)?,
            desirable: j.label,
        })
    });
    Ok(Rankings {
        all,
        judged: judged.collect::<Result<_>>()?,
        labeller: format!("the preferences in {}", path.display()),
    })
}

/// The ranking that says what these pairs of one prompt say: an answer's place is the number of answers that are better.
fn ranking<'a>(pairs: &'a [Pair], turns: &Turns) -> Result<Ranking> {
    let mut answers: Vec<(&'a str, u32)> = Vec::new();
    let mut place = |text: &'a str| match answers.iter().position(|(known, _)| *known == text) {
        Some(place) => place,
        None => {
            answers.push((text, 1));
            answers.len() - 1
        }
    };
    let worse: Vec<usize> = pairs
        .iter()
        .map(|pair| {
            place(pair.chosen.as_str());
            place(pair.rejected.as_str())
        })
        .collect();
    worse.into_iter().for_each(|i| answers[i].1 += 1);
    let asked = &pairs[0].prompt.messages;
    let answer = |(text, rank): (&str, u32)| {
        let tokens = turns.answer(asked, text)?;
        Ok(RankedAnswer { tokens, rank })
    };
    Ok(Ranking {
        prompt: turns.prompt(asked)?,
        answers: answers.into_iter().map(answer).collect::<Result<_>>()?,
    })
}

/// Two parts: to learn from, and to measure on. All examples of one prompt are in the same part, or the second would measure
/// memory.
pub(super) fn split<E>(all: Vec<E>, prompt: impl Fn(&E) -> &[u32]) -> (Vec<E>, Vec<E>) {
    let mut numbers: HashMap<Vec<u32>, usize> = HashMap::new();
    let mut parts = (Vec::new(), Vec::new());
    for example in all {
        let next = numbers.len();
        let number = *numbers.entry(prompt(&example).to_vec()).or_insert(next);
        if number % HELD_OUT_EVERY == HELD_OUT_EVERY - 1 {
            parts.1.push(example);
        } else {
            parts.0.push(example);
        }
    }
    parts
}

/// The examples that fit a model, after a sentence about the others.
///
/// # Errors
/// If there are none.
pub(super) fn fitting<E: Example>(
    examples: Vec<E>,
    what: &str,
    trained: &Trained,
    output: &Output,
) -> Result<Vec<E>> {
    let (kept, dropped) = usable(examples, trained.context());
    output.say(format_args!("{what}: {dropped}"));
    if kept.is_empty() {
        bail!(
            "there is nothing to learn from. {dropped} The context of {} is {} tokens; the answers to a prompt must differ",
            trained.dir.display(),
            trained.context()
        );
    }
    Ok(kept)
}

/// All pairs of answers that are not level.
pub(super) fn pairs(rankings: &[Ranking]) -> Vec<PreferencePair> {
    let mut pairs = Vec::new();
    for ranking in rankings {
        for better in &ranking.answers {
            let worse = ranking.answers.iter().filter(|a| better.rank < a.rank);
            pairs.extend(worse.map(|worse| PreferencePair {
                prompt: ranking.prompt.clone(),
                chosen: better.tokens.clone(),
                rejected: worse.tokens.clone(),
            }));
        }
    }
    pairs
}

/// The best answers of each ranking as good ones and the worst as bad ones; those between say nothing by themselves.
pub(super) fn judgements(rankings: &[Ranking]) -> Vec<JudgedAnswer> {
    let mut judged = Vec::new();
    for ranking in rankings {
        let ranks = || ranking.answers.iter().map(|a| a.rank);
        let (Some(best), Some(worst)) = (ranks().min(), ranks().max()) else {
            continue;
        };
        if best == worst {
            continue;
        }
        let extremes = ranking.answers.iter();
        let extremes = extremes.filter(|a| a.rank == best || a.rank == worst);
        judged.extend(extremes.map(|a| JudgedAnswer {
            prompt: ranking.prompt.clone(),
            answer: a.tokens.clone(),
            desirable: a.rank == best,
        }));
    }
    judged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranking(prompt: u32, ranks: &[u32]) -> Ranking {
        let answer = |(i, &rank): (usize, &u32)| RankedAnswer {
            tokens: vec![i as u32],
            rank,
        };
        Ranking {
            prompt: vec![prompt],
            answers: ranks.iter().enumerate().map(answer).collect(),
        }
    }

    #[test]
    fn a_ranking_gives_a_pair_for_each_difference_and_its_ends_as_judgements() {
        let rankings = [ranking(7, &[1, 2, 3, 3]), ranking(8, &[2, 2])];
        let found: Vec<(u32, u32)> = pairs(&rankings)
            .iter()
            .map(|p| (p.chosen[0], p.rejected[0]))
            .collect();
        assert_eq!(found, [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)]);
        let judged: Vec<(u32, bool)> = judgements(&rankings)
            .iter()
            .map(|j| (j.answer[0], j.desirable))
            .collect();
        assert_eq!(judged, [(0, true), (2, false), (3, false)]);
    }

    #[test]
    fn no_prompt_is_learnt_from_and_measured_on() {
        let all: Vec<u32> = (0..300).map(|i| i * 7 % 40).collect();
        let (learn, measure) = split(all, std::slice::from_ref);
        assert_eq!(learn.len() + measure.len(), 300);
        assert!(!measure.is_empty() && measure.len() < 60);
        assert!(measure.iter().all(|prompt| !learn.contains(prompt)));
    }
}
