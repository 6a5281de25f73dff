//! How far labellers agree, beyond what chance would give.
//!
//! A ranking is reduced to its pairs of answers: the first is better, the second is better, or they are level. Raw agreement is the
//! share of these decisions on which two labellers say the same; kappa is what is left of it after taking away what they would
//! agree on by chance: 1 for always, 0 for no more than chance, below 0 for less.
//!
//! - Two labellers: Cohen (1960), A Coefficient of Agreement for Nominal Scales, <https://doi.org/10.1177/001316446002000104>.
//! - Many: Fleiss (1971), Measuring Nominal Scale Agreement Among Many Raters, <https://doi.org/10.1037/h0031619>.
//!
//! Significance and weights for near misses are not here. Where the rankings come from is in [`super::store`].

use rustc_hash::FxHashMap;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// First better, second better, level.
const CATEGORIES: usize = 3;

/// One labeller's ranks for one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranked {
    /// Which item; the same number means the same answers in the same order.
    pub item: i64,
    /// Who ranked it.
    pub labeller: String,
    /// For each answer its rank, smaller is better.
    pub ranks: Vec<u32>,
}

/// How far the labellers of a data set agree.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Agreement {
    /// Items that two or more have ranked.
    pub items: usize,
    /// Pairs of answers on which two or more have decided.
    pub decisions: usize,
    /// The labellers of these items.
    pub labellers: Vec<String>,
    /// The share of decisions on which two labellers say the same, averaged over decisions; `None` without any.
    pub raw: Option<f64>,
    /// Cohen's kappa, if there are just two labellers; `None` also where chance alone would make them always agree.
    pub cohen_kappa: Option<f64>,
    /// Fleiss' kappa; `None` where chance alone would make them always agree.
    pub fleiss_kappa: Option<f64>,
}

impl Agreement {
    /// The agreement of these rankings; each labeller is to rank an item at most once.
    ///
    /// # Panics
    /// If two rankings of one item have different numbers of answers.
    #[track_caller]
    pub fn of(rankings: &[Ranked]) -> Agreement {
        let mut items: BTreeMap<i64, Vec<&Ranked>> = BTreeMap::new();
        for ranked in rankings {
            items.entry(ranked.item).or_default().push(ranked);
        }
        items.retain(|_, ranked| ranked.len() > 1);
        let labellers: BTreeSet<&str> = items
            .values()
            .flatten()
            .map(|ranked| ranked.labeller.as_str())
            .collect();
        let (mut counts, mut both) = (Vec::new(), Vec::new());
        for ranked in items.values() {
            let answers = ranked[0].ranks.len();
            assert!(
                ranked.iter().all(|other| other.ranks.len() == answers),
                "Agreement::of: item {} was ranked with different numbers of answers",
                ranked[0].item
            );
            for (i, j) in (0..answers).flat_map(|i| (i + 1..answers).map(move |j| (i, j))) {
                let said = |ranked: &Ranked| decision(&ranked.ranks, i, j);
                let mut row = vec![0; CATEGORIES];
                ranked.iter().for_each(|ranked| row[said(ranked)] += 1);
                counts.push(row);
                if labellers.len() == 2 {
                    // In the order of the names, whoever came first.
                    let at = |name: &str| ranked.iter().find(|r| r.labeller == name);
                    let mut names = labellers.iter();
                    if let (Some(a), Some(b)) = (
                        names.next().and_then(|name| at(name)),
                        names.next().and_then(|name| at(name)),
                    ) {
                        both.push((said(a), said(b)));
                    }
                }
            }
        }
        Agreement {
            items: items.len(),
            decisions: counts.len(),
            labellers: labellers.into_iter().map(str::to_owned).collect(),
            raw: raw_agreement(&counts),
            cohen_kappa: cohen_kappa(&both),
            fleiss_kappa: fleiss_kappa(&counts),
        }
    }

    /// What a person should know, in a sentence.
    pub fn sentence(&self) -> String {
        let Some(raw) = self.raw else {
            return "No pair of answers has been judged by two people yet.".to_owned();
        };
        let kappa = match (self.cohen_kappa, self.fleiss_kappa) {
            (Some(kappa), _) => format!("Cohen's kappa {kappa:.2}"),
            (None, Some(kappa)) => format!("Fleiss' kappa {kappa:.2}"),
            (None, None) => "kappa is not defined, since all decisions are the same".to_owned(),
        };
        format!(
            "{:.0} % agreement on {} pairs of answers in {} items, {kappa}.",
            raw * 100.0,
            self.decisions,
            self.items
        )
    }
}

/// What ranks say about answers `i` and `j`: 0 the first is better, 1 the second, 2 level.
fn decision(ranks: &[u32], i: usize, j: usize) -> usize {
    match ranks[i].cmp(&ranks[j]) {
        std::cmp::Ordering::Less => 0,
        std::cmp::Ordering::Greater => 1,
        std::cmp::Ordering::Equal => 2,
    }
}

/// Cohen's kappa: `(p_o - p_e) / (1 - p_e)` over what two labellers said about each of several things.
///
/// `p_o` is the share of equal decisions, `p_e` the sum over categories of the product of the two labellers' shares. `None` without
/// decisions, or if `p_e` is 1.
pub fn cohen_kappa(said: &[(usize, usize)]) -> Option<f64> {
    let n = said.len() as f64;
    let mut shares: FxHashMap<usize, (f64, f64)> = FxHashMap::default();
    for &(a, b) in said {
        shares.entry(a).or_default().0 += 1.0;
        shares.entry(b).or_default().1 += 1.0;
    }
    let equal = said.iter().filter(|(a, b)| a == b).count() as f64;
    // Whole numbers, so that the order in which a map gives them changes no bit.
    let by_chance: f64 = shares.values().map(|(a, b)| a * b).sum();
    kappa(equal / n, by_chance / (n * n))
}

/// Fleiss' kappa: `(P - P_e) / (1 - P_e)` over rows that say how many labellers chose each category.
///
/// `P` is [`raw_agreement`], `P_e` the sum of the squared shares of the categories. Rows with fewer than two labellers are passed over;
/// where their number differs between rows, the shares are over all decisions, which is Fleiss' formula when it does not. `None`
/// without rows, or if `P_e` is 1.
pub fn fleiss_kappa(counts: &[Vec<u32>]) -> Option<f64> {
    let several = || counts.iter().filter(|row| row.iter().sum::<u32>() > 1);
    let categories = counts.iter().map(Vec::len).max().unwrap_or(0);
    let total: u32 = several().flatten().sum();
    let by_chance: f64 = (0..categories)
        .map(|category| {
            let chosen: u32 = several().filter_map(|row| row.get(category)).sum();
            (f64::from(chosen) / f64::from(total)).powi(2)
        })
        .sum();
    kappa(raw_agreement(counts)?, by_chance)
}

/// The share of pairs of labellers who say the same, averaged over rows that say how many chose each category.
///
/// Rows with fewer than two labellers are passed over; `None` if no other is there.
pub fn raw_agreement(counts: &[Vec<u32>]) -> Option<f64> {
    let (mut sum, mut rows) = (0.0, 0u32);
    for row in counts {
        let n = f64::from(row.iter().sum::<u32>());
        if n >= 2.0 {
            let agreeing: f64 = row
                .iter()
                .map(|&c| f64::from(c) * (f64::from(c) - 1.0))
                .sum();
            sum += agreeing / (n * (n - 1.0));
            rows += 1;
        }
    }
    (rows > 0).then(|| sum / f64::from(rows))
}

fn kappa(observed: f64, by_chance: f64) -> Option<f64> {
    // Not a number without decisions; rounding aside, 1 is reached only when everything said is the same.
    (by_chance < 1.0 - 1e-12).then(|| (observed - by_chance) / (1.0 - by_chance))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: Option<f64>, expected: f64, tolerance: f64) {
        let found = found.expect("defined");
        assert!((found - expected).abs() < tolerance, "{found} {expected}");
    }

    /// The 200 cases of Cohen (1968), Weighted Kappa, table 1, for which he reports an unweighted kappa of .492.
    #[test]
    fn cohens_own_example_gives_his_kappa() {
        let table = [[88, 14, 18], [10, 40, 10], [2, 6, 12]];
        let mut said = Vec::new();
        for (a, row) in table.iter().enumerate() {
            for (b, &count) in row.iter().enumerate() {
                said.extend(std::iter::repeat_n((a, b), count));
            }
        }
        close(cohen_kappa(&said), 0.492, 5e-4);
    }

    /// Table 1 of Fleiss (1971): 30 patients, six psychiatrists each, five diagnoses; he reports .556, .220 and .430.
    #[test]
    fn fleiss_own_example_gives_his_kappa() {
        let counts = [
            "00060", "03003", "01401", "00006", "03030", "20400", "00402", "20310", "20040",
            "00006", "10050", "11040", "03300", "10050", "02031", "00501", "30012", "51000",
            "02040", "10203", "00006", "01050", "02013", "20040", "10041", "05010", "40002",
            "02040", "10500", "00006",
        ]
        .map(|row| row.bytes().map(|digit| u32::from(digit - b'0')).collect());
        close(raw_agreement(&counts), 0.556, 5e-4);
        close(fleiss_kappa(&counts), 0.430, 5e-4);
    }

    fn ranked(item: i64, labeller: &str, ranks: &[u32]) -> Ranked {
        Ranked {
            item,
            labeller: labeller.to_owned(),
            ranks: ranks.to_vec(),
        }
    }

    #[test]
    fn rankings_are_compared_pair_by_pair_with_ties() {
        let found = Agreement::of(&[
            ranked(1, "ann", &[1, 2, 3]),
            ranked(1, "bob", &[1, 3, 3]),
            ranked(2, "ann", &[2, 1]),
            ranked(2, "bob", &[2, 1]),
            ranked(3, "ann", &[1, 2]),
        ]);
        assert_eq!((found.items, found.decisions), (2, 4));
        // Equal on three of four pairs; ann says 3 first and 1 second, bob 2 first, 1 second, 1 level.
        close(found.raw, 0.75, 1e-12);
        let by_chance = (3.0 * 2.0 + 1.0) / 16.0;
        close(
            found.cohen_kappa,
            (0.75 - by_chance) / (1.0 - by_chance),
            1e-12,
        );
        assert!(found.sentence().starts_with("75 % agreement on 4 pairs"));
    }

    #[test]
    fn with_three_labellers_there_is_fleiss_kappa_only() {
        let found = Agreement::of(&[
            ranked(1, "ann", &[1, 2]),
            ranked(1, "bob", &[1, 2]),
            ranked(1, "cas", &[2, 1]),
            ranked(2, "ann", &[2, 1]),
            ranked(2, "cas", &[2, 1]),
        ]);
        assert_eq!(found.cohen_kappa, None);
        close(found.raw, (1.0 / 3.0 + 1.0) / 2.0, 1e-12);
        assert!(found.fleiss_kappa.is_some());
    }

    #[test]
    fn kappa_is_undefined_where_all_say_the_same_and_absent_without_decisions() {
        let same = Agreement::of(&[ranked(1, "ann", &[1, 2]), ranked(1, "bob", &[1, 2])]);
        assert_eq!(
            (same.raw, same.cohen_kappa, same.fleiss_kappa),
            (Some(1.0), None, None)
        );
        assert!(same.sentence().contains("not defined"));
        let none = Agreement::of(&[ranked(1, "ann", &[1, 2])]);
        assert_eq!(
            (none.raw, none.fleiss_kappa, none.cohen_kappa),
            (None, None, None)
        );
        assert!(none.sentence().starts_with("No pair"));
    }
}
