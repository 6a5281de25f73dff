//! Labels out of the store: rankings, what each labeller has done, and how far they agree.

use super::Store;
use crate::preferences::Ranking;
use crate::preferences::agreement::{Agreement, Ranked};
use crate::{Error, Result};
use rusqlite::Row;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A ranking with who made it and what wrote the answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// The item's number.
    pub item: i64,
    /// Who ranked.
    pub labeller: String,
    /// The prompt, the answers as imported, and their ranks.
    pub ranking: Ranking,
    /// For each answer what wrote it, where that is known.
    pub sources: Vec<Option<String>>,
    /// Whether the labeller asked for somebody to look again.
    pub flag: bool,
    /// How long it took.
    pub seconds: f64,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

impl Labelled {
    /// What a file says beside the ranking itself.
    pub fn about(&self) -> Value {
        json!({
            "labeller": self.labeller, "sources": self.sources, "flag": self.flag,
            "seconds": self.seconds, "at_ms": self.at_ms, "item": self.item,
        })
    }
}

/// What one labeller has done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabellerCounts {
    /// Their name.
    pub labeller: String,
    /// Items ranked.
    pub ranked: u64,
    /// Items passed over.
    pub skipped: u64,
    /// Items flagged, ranked or not.
    pub flagged: u64,
    /// Labels taken back.
    pub undone: u64,
    /// The middle of the seconds taken per item ranked; 0 without any.
    pub median_seconds: f64,
}

/// What is in a store.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelReport {
    /// Items.
    pub items: u64,
    /// Items that everyone gets.
    pub shared: u64,
    /// Items that at least one labeller has ranked.
    pub ranked: u64,
    /// Each labeller, in the order of their names.
    pub labellers: Vec<LabellerCounts>,
    /// How far they agree.
    pub agreement: Agreement,
}

/// A standing label as it lies in the table.
struct Label {
    item: i64,
    labeller: String,
    ranks: Option<String>,
    flag: bool,
    seconds: f64,
    at_ms: i64,
}

impl Label {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Label> {
        Ok(Label {
            item: row.get(0)?,
            labeller: row.get(1)?,
            ranks: row.get(2)?,
            flag: row.get(3)?,
            seconds: row.get(4)?,
            at_ms: row.get(5)?,
        })
    }
}

impl Store {
    /// The rankings that stand, in the order of items and then of labellers.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged.
    pub fn labelled(&self) -> Result<Vec<Labelled>> {
        let mut found = Vec::new();
        for label in self.standing()? {
            let Some(ranks) = self.ranks(&label)? else {
                continue;
            };
            let prompt: String = self
                .connection
                .query_row(
                    "SELECT prompt FROM items WHERE id = ?1",
                    [label.item],
                    |row| row.get(0),
                )
                .map_err(|error| self.broken(&error))?;
            let (answers, sources): (Vec<_>, Vec<_>) =
                self.answers(label.item)?.into_iter().unzip();
            if answers.len() != ranks.len() {
                return Err(self.wrong_length(label.item));
            }
            found.push(Labelled {
                item: label.item,
                labeller: label.labeller,
                ranking: Ranking {
                    prompt: self.messages(label.item, &prompt)?,
                    answers,
                    ranks,
                },
                sources,
                flag: label.flag,
                seconds: label.seconds,
                at_ms: label.at_ms,
            });
        }
        Ok(found)
    }

    fn wrong_length(&self, item: i64) -> Error {
        self.damaged(&format!("item {item} has a label of the wrong length"))
    }

    /// How far the labellers agree so far.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged.
    pub fn agreement(&self) -> Result<Agreement> {
        let mut rankings: Vec<Ranked> = Vec::new();
        let mut answers: BTreeMap<i64, usize> = BTreeMap::new();
        for label in self.standing()? {
            if let Some(ranks) = self.ranks(&label)? {
                // One item has one number of answers, unless the file was tampered with.
                if *answers.entry(label.item).or_insert(ranks.len()) != ranks.len() {
                    return Err(self.wrong_length(label.item));
                }
                rankings.push(Ranked {
                    item: label.item,
                    labeller: label.labeller,
                    ranks,
                });
            }
        }
        Ok(Agreement::of(&rankings))
    }

    /// Who has done what, and how far they agree.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged.
    pub fn report(&self) -> Result<LabelReport> {
        let count = |query: &str| {
            self.connection
                .query_row(query, [], |row| row.get::<_, i64>(0))
                .map(i64::unsigned_abs)
                .map_err(|error| self.broken(&error))
        };
        Ok(LabelReport {
            items: count("SELECT count(*) FROM items")?,
            shared: count("SELECT count(*) FROM items WHERE shared")?,
            ranked: count("SELECT count(DISTINCT item) FROM standing WHERE kind = 'ranked'")?,
            labellers: self.labellers()?,
            agreement: self.agreement()?,
        })
    }

    fn labellers(&self) -> Result<Vec<LabellerCounts>> {
        let mut query = self
            .connection
            .prepare("SELECT labeller, sum(kind = 'undone') FROM labels GROUP BY labeller ORDER BY labeller")
            .map_err(|error| self.broken(&error))?;
        let undone: Vec<(String, i64)> = query
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .and_then(Iterator::collect)
            .map_err(|error| self.broken(&error))?;
        let standing = self.standing()?;
        let counts = |(labeller, undone): (String, i64)| {
            let own = || standing.iter().filter(|label| label.labeller == labeller);
            let mut seconds: Vec<f64> = own()
                .filter(|label| label.ranks.is_some())
                .map(|label| label.seconds)
                .collect();
            seconds.sort_by(f64::total_cmp);
            LabellerCounts {
                ranked: seconds.len() as u64,
                skipped: own().filter(|label| label.ranks.is_none()).count() as u64,
                flagged: own().filter(|label| label.flag).count() as u64,
                undone: undone.unsigned_abs(),
                median_seconds: seconds.get(seconds.len() / 2).copied().unwrap_or(0.0),
                labeller,
            }
        };
        Ok(undone.into_iter().map(counts).collect())
    }

    /// The labels that stand, in the order of items and then of labellers.
    fn standing(&self) -> Result<Vec<Label>> {
        let mut query = self
            .connection
            .prepare("SELECT item, labeller, ranks, flag, seconds, at_ms FROM standing ORDER BY item, labeller")
            .map_err(|error| self.broken(&error))?;
        query
            .query_map([], Label::from_row)
            .and_then(Iterator::collect)
            .map_err(|error| self.broken(&error))
    }

    fn ranks(&self, label: &Label) -> Result<Option<Vec<u32>>> {
        let parse = |text: &String| {
            serde_json::from_str(text).map_err(|error| {
                self.damaged(&format!(
                    "a label of item {} has no readable ranks ({error})",
                    label.item
                ))
            })
        };
        label.ranks.as_ref().map(parse).transpose()
    }
}
