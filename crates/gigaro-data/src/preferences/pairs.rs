//! Pairs, rankings and single judgements, and how they become pairs that a reward model can learn from.
//!
//! A ranking of `K` answers says `K (K - 1) / 2` things about pairs of them, less the ties (Ouyang et al. 2022,
//! <https://arxiv.org/abs/2203.02155>, section 3.5). Pairs that teach nothing, because both answers are the same or one is empty, are
//! left out and counted; labels that contradict each other are kept, since both were meant, and counted too.

use super::rows::Row;
use crate::chat::Conversation;
use rustc_hash::FxHashMap;
use serde::Serialize;

/// One answer is better than another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    /// What was asked, up to where the answers begin.
    pub prompt: Conversation,
    /// The better answer.
    pub chosen: String,
    /// The worse answer.
    pub rejected: String,
}

/// Several answers in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ranking {
    /// What was asked, up to where the answers begin.
    pub prompt: Conversation,
    /// The answers, in no particular order.
    pub answers: Vec<String>,
    /// For each answer its rank: a smaller number is better, the same number a tie.
    pub ranks: Vec<u32>,
}

/// One answer, good or bad (KTO; Ethayarajh et al. 2024, <https://arxiv.org/abs/2402.01306>).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Judgement {
    /// What was asked, up to where the answer begins.
    pub prompt: Conversation,
    /// The answer.
    pub completion: String,
    /// Whether it is good.
    pub label: bool,
}

/// What was found in a preference data set, and what was left out of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PreferenceReport {
    /// Objects read.
    pub rows: usize,
    /// Pairs that can be learned from.
    pub pairs: usize,
    /// Pairs of answers that a ranking puts level; they say nothing about which is better.
    pub ties: usize,
    /// Pairs left out because both answers are the same but for space around them.
    pub equal: usize,
    /// Pairs and judgements left out because an answer is empty.
    pub empty: usize,
    /// Rows left out because their dialogues part before the last answer.
    pub diverging: usize,
    /// Pairs that say again what another has said.
    pub repeated: usize,
    /// Pairs of answers to one prompt of which each was preferred at least once.
    pub contradictions: usize,
    /// Judgements of good answers.
    pub good: usize,
    /// Judgements of bad answers.
    pub bad: usize,
}

impl PreferenceReport {
    /// What a person should know, one sentence each; what did not occur is not mentioned.
    pub fn sentences(&self) -> Vec<String> {
        let mut said = vec![format!(
            "{} rows give {} pairs and {} single judgements ({} good, {} bad).",
            self.rows,
            self.pairs,
            self.good + self.bad,
            self.good,
            self.bad
        )];
        let mut say = |count: usize, one: &str, many: &str| {
            if count > 0 {
                let words = if count == 1 { one } else { many };
                said.push(format!("{count} {words}."));
            }
        };
        say(
            self.ties,
            "pair is a tie and gives nothing to learn",
            "pairs are ties and give nothing to learn",
        );
        say(
            self.equal,
            "pair has the same answer twice and is left out",
            "pairs have the same answer twice and are left out",
        );
        say(
            self.empty,
            "pair or judgement has an empty answer and is left out",
            "pairs or judgements have an empty answer and are left out",
        );
        say(
            self.diverging,
            "row has dialogues that part before the last answer and is left out",
            "rows have dialogues that part before the last answer and are left out",
        );
        say(
            self.repeated,
            "pair says again what another has said",
            "pairs say again what others have said",
        );
        say(
            self.contradictions,
            "pair of answers was judged both ways; both judgements are kept",
            "pairs of answers were judged both ways; both judgements are kept",
        );
        said
    }
}

/// Preferences ready for training, and what became of the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    /// The pairs in the order of the rows; those of one ranking stand together.
    pub pairs: Vec<Pair>,
    /// For each pair the number of the row that it comes from, so that the pairs of one ranking can share a batch.
    pub row_of_pair: Vec<usize>,
    /// The single judgements.
    pub judgements: Vec<Judgement>,
    /// What was found and what was left out.
    pub report: PreferenceReport,
}

impl Preferences {
    /// Sorts rows into pairs and judgements, and counts what is left out.
    pub fn from_rows(rows: impl IntoIterator<Item = Row>) -> Preferences {
        let mut found = Preferences::default();
        for (number, row) in rows.into_iter().enumerate() {
            found.report.rows += 1;
            match row {
                Row::Pair(pair) => found.add_pair(pair, number),
                Row::Ranking(ranking) => {
                    found.report.ties += ranking.ties();
                    for pair in ranking.pairs() {
                        found.add_pair(pair, number);
                    }
                }
                Row::Judgement(judgement) => found.add_judgement(judgement),
                Row::Diverging => found.report.diverging += 1,
            }
        }
        found.report.pairs = found.pairs.len();
        found.count_repeats();
        found
    }

    fn add_pair(&mut self, pair: Pair, row: usize) {
        let (chosen, rejected) = (pair.chosen.trim(), pair.rejected.trim());
        if chosen.is_empty() || rejected.is_empty() {
            self.report.empty += 1;
        } else if chosen == rejected {
            self.report.equal += 1;
        } else {
            self.pairs.push(pair);
            self.row_of_pair.push(row);
        }
    }

    fn add_judgement(&mut self, judgement: Judgement) {
        if judgement.completion.trim().is_empty() {
            self.report.empty += 1;
            return;
        }
        if judgement.label {
            self.report.good += 1;
        } else {
            self.report.bad += 1;
        }
        self.judgements.push(judgement);
    }

    /// Counts the pairs that occur again, and those that occur the other way round as well.
    fn count_repeats(&mut self) {
        // For the two answers in the order of their text: how often the first was preferred, and how often the second.
        let mut seen: FxHashMap<(&Conversation, &str, &str), [usize; 2]> = FxHashMap::default();
        for pair in &self.pairs {
            let (chosen, rejected) = (pair.chosen.trim(), pair.rejected.trim());
            let swapped = chosen > rejected;
            let (first, second) = if swapped {
                (rejected, chosen)
            } else {
                (chosen, rejected)
            };
            seen.entry((&pair.prompt, first, second)).or_default()[usize::from(swapped)] += 1;
        }
        let (mut repeated, mut contradictions) = (0, 0);
        for [first, second] in seen.into_values() {
            repeated += first.saturating_sub(1) + second.saturating_sub(1);
            contradictions += usize::from(first > 0 && second > 0);
        }
        self.report.repeated = repeated;
        self.report.contradictions = contradictions;
    }
}

impl Ranking {
    /// All pairs of answers that are not level, the better one chosen, in the order of the answers.
    ///
    /// # Panics
    /// If there is not one rank per answer.
    #[track_caller]
    pub fn pairs(&self) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for (i, j) in self.places() {
            if self.ranks[i] != self.ranks[j] {
                let (better, worse) = if self.ranks[i] < self.ranks[j] {
                    (i, j)
                } else {
                    (j, i)
                };
                pairs.push(Pair {
                    prompt: self.prompt.clone(),
                    chosen: self.answers[better].clone(),
                    rejected: self.answers[worse].clone(),
                });
            }
        }
        pairs
    }

    /// How many pairs of answers are level.
    ///
    /// # Panics
    /// If there is not one rank per answer.
    #[track_caller]
    pub fn ties(&self) -> usize {
        self.places()
            .filter(|&(i, j)| self.ranks[i] == self.ranks[j])
            .count()
    }

    #[track_caller]
    fn places(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let n = self.answers.len();
        assert_eq!(n, self.ranks.len(), "Ranking: one rank per answer");
        (0..n).flat_map(move |i| (i + 1..n).map(move |j| (i, j)))
    }
}

/// Ranks without gaps that say the same: 1 for the best, 2 for the next, ties level.
pub fn dense_ranks(ranks: &[u32]) -> Vec<u32> {
    let mut levels = ranks.to_vec();
    levels.sort_unstable();
    levels.dedup();
    // Every rank is one of the levels.
    ranks
        .iter()
        .map(|rank| levels.partition_point(|level| level < rank) as u32 + 1)
        .collect()
}
