//! What people thought of answers, and the preference data that it becomes.
//!
//! A thumb is a judgement of one answer. A choice between two answers to the same question is a pair, unless they were level; a thumb up
//! and a thumb down under the same question make a pair as well, if the two were not compared outright. Pairs and judgements are
//! gigaro-data's ([`gigaro_data::preferences`]), so everything that learns from preferences reads them.

use super::error::{Error, Result};
use super::{Store, tree};
use crate::database::{Refusal, Row};
use gigaro_data::chat::{self, Conversation};
use gigaro_data::preferences::{Judgement, Pair};
use gigaro_data::sqlite::now_ms;
use serde::Serialize;

/// Two answers to one question that were compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// One answer.
    pub first: i64,
    /// The other.
    pub second: i64,
    /// The better one; `None` if they are level.
    pub chosen: Option<i64>,
}

/// How much people have said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FeedbackCounts {
    /// Answers with a thumb up.
    pub up: usize,
    /// Answers with a thumb down.
    pub down: usize,
    /// Pairs of answers that were compared.
    pub compared: usize,
    /// Pairs to learn from that all this gives.
    pub pairs: usize,
}

/// One answer that is better than another, by their numbers.
struct Preferred {
    conversation: i64,
    question: i64,
    chosen: i64,
    rejected: i64,
}

impl Store {
    /// Puts a thumb up (1) or down (-1) on an answer, or takes it away (`None`).
    ///
    /// # Errors
    /// If the answer is not there, not this owner's or still being written, or the store cannot be written.
    pub fn rate(&mut self, owner: &str, answer: i64, rating: Option<i64>) -> Result<()> {
        if rating.is_some_and(|rating| rating != 1 && rating != -1) {
            return Err(Error::refused(
                "the rating is neither 1 nor -1",
                "give 1 for a good answer, -1 for a bad one, null for none",
            ));
        }
        self.database.change(|changes| {
            tree::check_message(changes, owner, answer, "answer")?;
            let changed = changes.execute(
                "UPDATE messages SET rating = ?2 WHERE id = ?1 AND state <> 'streaming'",
                &[&answer, &rating],
            )?;
            if changed == 0 {
                return Err(Error::refused(
                    "the answer is still being written",
                    "wait for its end",
                ));
            }
            Ok(())
        })
    }

    /// Keeps which of two answers to the same question is better (`None`: they are level), in place of what was said before, and goes on
    /// with that one.
    ///
    /// # Errors
    /// If one is not there, not this owner's or still being written, they answer different questions, or the store cannot be written.
    pub fn choose(&mut self, owner: &str, answers: [i64; 2], chosen: Option<i64>) -> Result<()> {
        let [first, second] = [answers[0].min(answers[1]), answers[0].max(answers[1])];
        if first == second || chosen.is_some_and(|chosen| !answers.contains(&chosen)) {
            return Err(Error::refused(
                "the choice is not between two answers",
                "name two answers, and one of them or null as the better one",
            ));
        }
        self.database.change(|changes| {
            tree::check_message(changes, owner, first, "answer")?;
            tree::check_message(changes, owner, second, "answer")?;
            let question: Option<i64> = changes.row(
                "SELECT a.conversation FROM messages a JOIN messages b ON a.parent = b.parent \
                 WHERE a.id = ?1 AND b.id = ?2 AND a.state <> 'streaming' AND b.state <> 'streaming'",
                &[&first, &second],
                |row| row.get(0),
            )?;
            let Some(conversation) = question else {
                return Err(Error::refused(
                    "the two are not finished answers to the same question",
                    "compare answers to one question, when both are whole",
                ));
            };
            changes.execute(
                "INSERT INTO choices (first, second, chosen, at_ms) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (first, second) DO UPDATE SET chosen = excluded.chosen, at_ms = excluded.at_ms",
                &[&first, &second, &chosen, &now_ms()],
            )?;
            changes.execute(
                "UPDATE conversations SET leaf = ?2 WHERE id = ?1",
                &[&conversation, &chosen.unwrap_or(first)],
            )?;
            Ok(())
        })
    }

    /// What was compared in a conversation.
    pub(super) fn choices(&mut self, conversation: i64) -> Result<Vec<Choice>> {
        let found = self.database.rows(
            "SELECT first, second, chosen FROM choices JOIN messages ON messages.id = first WHERE conversation = ?1 ORDER BY first, second",
            &[&conversation],
            |row| {
                Ok(Choice {
                    first: row.get(0)?,
                    second: row.get(1)?,
                    chosen: row.get(2)?,
                })
            },
        )?;
        Ok(found)
    }

    /// The pairs that choices and thumbs give, of one owner or of all: choices in the order of the answers, then thumbs.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn pairs(&mut self, owner: Option<&str>) -> Result<Vec<Pair>> {
        let mut pairs = Vec::new();
        for preferred in self.preferred(owner)? {
            let (system, chosen) = self.answer(preferred.chosen)?;
            let (_, rejected) = self.answer(preferred.rejected)?;
            pairs.push(Pair {
                prompt: self.prompt(preferred.conversation, preferred.question, system)?,
                chosen,
                rejected,
            });
        }
        Ok(pairs)
    }

    /// The answers with thumbs, of one owner or of all, each good or bad by itself.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn judgements(&mut self, owner: Option<&str>) -> Result<Vec<Judgement>> {
        let rated: Vec<(i64, i64, i64, bool)> = self.database.rows(
            "SELECT conversation, parent, messages.id, rating > 0 FROM messages JOIN conversations c ON c.id = conversation \
             WHERE rating IS NOT NULL AND (CAST(?1 AS TEXT) IS NULL OR c.owner = ?1) ORDER BY messages.id",
            &[&owner],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )?;
        let mut judgements = Vec::new();
        for (conversation, question, answer, label) in rated {
            let (system, completion) = self.answer(answer)?;
            judgements.push(Judgement {
                prompt: self.prompt(conversation, question, system)?,
                completion,
                label,
            });
        }
        Ok(judgements)
    }

    /// How much one owner has said, or all have.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn feedback_counts(&mut self, owner: Option<&str>) -> Result<FeedbackCounts> {
        let mut count = |what: &str| -> Result<usize> {
            let query = format!(
                "SELECT count(*) FROM {what} JOIN conversations c ON c.id = conversation WHERE (CAST(?1 AS TEXT) IS NULL OR c.owner = ?1)"
            );
            let found = self
                .database
                .row(&query, &[&owner], |row| row.get::<i64>(0))?;
            Ok(found.map_or(0, |count| count.unsigned_abs() as usize))
        };
        Ok(FeedbackCounts {
            up: count("(SELECT conversation FROM messages WHERE rating = 1) x")?,
            down: count("(SELECT conversation FROM messages WHERE rating = -1) x")?,
            compared: count(
                "(SELECT conversation FROM choices JOIN messages ON messages.id = first) x",
            )?,
            pairs: self.preferred(owner)?.len(),
        })
    }

    /// Which answers are preferred to which. Answers written under different instructions, or with the same words, say nothing.
    fn preferred(&mut self, owner: Option<&str>) -> Result<Vec<Preferred>> {
        let comparable = "a.parent = b.parent AND a.system = b.system AND trim(a.content) <> trim(b.content) \
             AND trim(a.content) <> '' AND trim(b.content) <> '' AND (CAST(?1 AS TEXT) IS NULL OR c.owner = ?1)";
        let row = |row: &Row<'_>| -> std::result::Result<Preferred, Refusal> {
            Ok(Preferred {
                conversation: row.get(0)?,
                question: row.get(1)?,
                chosen: row.get(2)?,
                rejected: row.get(3)?,
            })
        };
        let chosen = format!(
            "SELECT a.conversation, a.parent, a.id, b.id FROM choices \
             JOIN messages a ON a.id = chosen JOIN messages b ON b.id = first + second - chosen \
             JOIN conversations c ON c.id = a.conversation WHERE {comparable} ORDER BY first, second"
        );
        let rated = format!(
            "SELECT a.conversation, a.parent, a.id, b.id FROM messages a JOIN messages b ON a.parent = b.parent \
             JOIN conversations c ON c.id = a.conversation WHERE a.rating = 1 AND b.rating = -1 AND {comparable} \
             AND NOT EXISTS (SELECT 1 FROM choices WHERE (first = a.id AND second = b.id) OR (first = b.id AND second = a.id)) \
             ORDER BY a.id, b.id"
        );
        let mut found = self.database.rows(&chosen, &[&owner], row)?;
        found.extend(self.database.rows(&rated, &[&owner], row)?);
        Ok(found)
    }

    /// The instructions under which an answer was written, and its words.
    fn answer(&mut self, id: i64) -> Result<(String, String)> {
        let found = self.database.row(
            "SELECT system, content FROM messages WHERE id = ?1",
            &[&id],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        found.ok_or(Error::Missing { what: "answer", id })
    }

    fn prompt(&mut self, conversation: i64, question: i64, system: String) -> Result<Conversation> {
        let mut messages = tree::branch(&mut self.database, conversation, question)?;
        if !system.is_empty() {
            messages.insert(0, chat::Message::system(system));
        }
        Ok(messages.into())
    }
}
