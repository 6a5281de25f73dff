//! What is said in a conversation: questions and answers, each after another message, and an answer as it grows.

use super::error::{Error, Result};
use super::{Store, check_owner, list, writers};
use crate::database::{Database, Fault, Refusal, Row, storable};
use gigaro_data::chat;
use gigaro_data::sqlite::now_ms;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longer messages are refused; no model's context holds them.
const CONTENT_BYTES: usize = 1024 * 1024;

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The model is writing it.
    Streaming,
    /// It is whole; all questions are.
    Complete,
    /// Whoever asked has stopped it.
    Stopped,
    /// The server ended before the answer did.
    Interrupted,
    /// The model could not go on; `reason` says why.
    Failed,
}

impl State {
    /// The word in the table and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            State::Streaming => "streaming",
            State::Complete => "complete",
            State::Stopped => "stopped",
            State::Interrupted => "interrupted",
            State::Failed => "failed",
        }
    }

    /// The state of a word in the table.
    fn from_name(name: &str) -> std::result::Result<State, String> {
        [
            State::Streaming,
            State::Complete,
            State::Stopped,
            State::Interrupted,
            State::Failed,
        ]
        .into_iter()
        .find(|state| state.name() == name)
        .ok_or_else(|| format!("{name:?} is no state of a message"))
    }
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Message {
    /// Its number.
    pub id: i64,
    /// What it follows; `None` for the first.
    pub parent: Option<i64>,
    /// `user` or `assistant`.
    pub role: chat::Role,
    /// The words.
    pub content: String,
    /// How far it has come.
    pub state: State,
    /// Why the answer ended: the API's `finish_reason`, or what went wrong.
    pub reason: Option<String>,
    /// The instructions under which the answer was written.
    pub system: String,
    /// How the answer was asked for: the fields of the API's request without the messages.
    pub request: Option<Value>,
    /// What wrote it.
    pub model: Option<String>,
    /// Tokens and times.
    pub usage: Option<Value>,
    /// Whether the probabilities of its tokens are kept ([`Store::tokens`]).
    pub has_tokens: bool,
    /// 1 for a thumb up, -1 for a thumb down.
    pub rating: Option<i64>,
    /// When it was begun, in milliseconds since 1970.
    pub created_ms: i64,
}

/// A conversation with all its branches.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Conversation {
    /// Its number.
    pub id: i64,
    /// Its name; empty before the first question.
    pub title: String,
    /// Instructions that stand before it, for answers to come.
    pub system: String,
    /// The model and how it draws, for answers to come.
    pub settings: Value,
    /// Where the branch on the screen ends; `None` before the first question.
    pub leaf: Option<i64>,
    /// When it was begun, in milliseconds since 1970.
    pub created_ms: i64,
    /// When something was last said in it.
    pub changed_ms: i64,
    /// All messages, in the order in which they were begun.
    pub messages: Vec<Message>,
    /// Which answers were compared, and how.
    pub choices: Vec<super::Choice>,
}

/// How an answer is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerRequest {
    /// The question that it answers.
    pub parent: i64,
    /// The instructions under which it is written.
    pub system: String,
    /// The fields of the API's request without the messages.
    pub request: Value,
    /// What writes it.
    pub model: String,
}

/// How an answer ended.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerEnd {
    /// All its words.
    pub content: String,
    /// How far it has come.
    pub state: State,
    /// The API's `finish_reason`, or what went wrong.
    pub reason: Option<String>,
    /// The API's `logprobs.content`, if it was asked for.
    pub tokens: Option<Value>,
    /// Tokens and times.
    pub usage: Value,
}

/// What an answer was asked by.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The conversation up to the question.
    pub branch: Vec<chat::Message>,
    /// The instructions before it.
    pub system: String,
    /// Who answered.
    pub model: Option<String>,
    /// The answer's tokens as the API's `logprobs.content` has them, if they were kept.
    pub tokens: Option<Value>,
}

impl Store {
    /// The whole conversation.
    ///
    /// # Errors
    /// If it is not there or not this owner's, or the store cannot be read.
    pub fn read(&mut self, owner: &str, id: i64) -> Result<Conversation> {
        let head = self.database.row(
            "SELECT title, system, settings, leaf, created_ms, changed_ms FROM conversations WHERE id = ?1 AND owner = ?2",
            &[&id, &owner],
            |row| {
                Ok(Conversation {
                    id,
                    title: row.get(0)?,
                    system: row.get(1)?,
                    settings: json(row, 2)?.unwrap_or_default(),
                    leaf: row.get(3)?,
                    created_ms: row.get(4)?,
                    changed_ms: row.get(5)?,
                    messages: Vec::new(),
                    choices: Vec::new(),
                })
            },
        )?;
        let Some(mut conversation) = head else {
            return Err(Error::Missing {
                what: "conversation",
                id,
            });
        };
        conversation.messages = self.database.rows(
            "SELECT id, parent, role, content, state, reason, system, request, model, usage, tokens IS NOT NULL, rating, created_ms \
             FROM messages WHERE conversation = ?1 ORDER BY id",
            &[&id],
            message,
        )?;
        conversation.choices = self.choices(id)?;
        Ok(conversation)
    }

    /// The probabilities of an answer's tokens, as the API's `logprobs.content` has them; `None` if none were kept.
    ///
    /// # Errors
    /// If the answer is not there or not this owner's, or the store cannot be read.
    pub fn tokens(&mut self, owner: &str, answer: i64) -> Result<Option<Value>> {
        check_message(&mut self.database, owner, answer, "answer")?;
        let found = self.database.row(
            "SELECT tokens FROM messages WHERE id = ?1",
            &[&answer],
            |row| json(row, 0),
        )?;
        Ok(found.flatten())
    }

    /// What an answer was asked by, and its tokens.
    ///
    /// # Errors
    /// As [`Store::tokens`].
    pub fn asked(&mut self, owner: &str, answer: i64) -> Result<Asked> {
        check_message(&mut self.database, owner, answer, "answer")?;
        let found = self.database.row(
            "SELECT conversation, parent, system, model, tokens FROM messages WHERE id = ?1",
            &[&answer],
            |row| {
                let place: (i64, i64) = (row.get(0)?, row.get(1)?);
                let (system, model): (String, Option<String>) = (row.get(2)?, row.get(3)?);
                Ok((place, system, model, json(row, 4)?))
            },
        )?;
        let ((conversation, parent), system, model, tokens) = found.ok_or(Error::Missing {
            what: "answer",
            id: answer,
        })?;
        Ok(Asked {
            branch: branch(&mut self.database, conversation, parent)?,
            system,
            model,
            tokens,
        })
    }

    /// Puts a question after `parent`, an answer, or at the beginning; the first of a conversation without a title gives it one. Returns
    /// the question's number.
    ///
    /// # Errors
    /// If the conversation is not there or not this owner's, the question is empty or too long, `parent` is no answer in it, or the store
    /// cannot be written.
    pub fn ask(
        &mut self,
        owner: &str,
        conversation: i64,
        parent: Option<i64>,
        content: &str,
    ) -> Result<i64> {
        if content.trim().is_empty() {
            return Err(Error::refused("the message is empty", "write something"));
        }
        check_length(content)?;
        let (now, content) = (now_ms(), storable(content));
        self.database.change(|changes| {
            check_owner(changes, owner, conversation)?;
            if let Some(parent) = parent {
                check_parent(changes, conversation, parent, chat::Role::Assistant)?;
            }
            let id: Option<i64> = changes.row(
                "INSERT INTO messages (conversation, parent, role, content, state, system, created_ms) \
                 VALUES (?1, ?2, 'user', ?3, 'complete', '', ?4) RETURNING id",
                &[&conversation, &parent, &content, &now],
                |row| row.get(0),
            )?;
            let id = id.ok_or_else(not_stored)?;
            changes.execute(
                "UPDATE conversations SET leaf = ?2, changed_ms = ?3, \
                 title = CASE title WHEN '' THEN ?4 ELSE title END WHERE id = ?1",
                &[&conversation, &id, &now, &list::first_title(&content)],
            )?;
            Ok(id)
        })
    }

    /// Begins an answer to a question, without words so far, and returns its number.
    ///
    /// # Errors
    /// If the conversation is not there or not this owner's, the parent is no question in it, or the store cannot be written.
    pub fn begin_answer(
        &mut self,
        owner: &str,
        conversation: i64,
        asked: &AnswerRequest,
    ) -> Result<i64> {
        let (now, writer) = (now_ms(), self.writer);
        let (system, request) = (storable(&asked.system), asked.request.to_string());
        self.database.change(|changes| {
            check_owner(changes, owner, conversation)?;
            check_parent(changes, conversation, asked.parent, chat::Role::User)?;
            let id: Option<i64> = changes.row(
                "INSERT INTO messages (conversation, parent, role, content, state, system, request, model, created_ms) \
                 VALUES (?1, ?2, 'assistant', '', 'streaming', ?3, ?4, ?5, ?6) RETURNING id",
                &[&conversation, &asked.parent, &system, &request, &asked.model, &now],
                |row| row.get(0),
            )?;
            let id = id.ok_or_else(not_stored)?;
            writers::begin(changes, writer, id)?;
            changes.execute(
                "UPDATE conversations SET leaf = ?2, changed_ms = ?3 WHERE id = ?1",
                &[&conversation, &id, &now],
            )?;
            Ok(id)
        })
    }

    /// Stores what there is of an answer so far.
    ///
    /// # Errors
    /// If the store cannot be written. An answer that was deleted meanwhile stays so.
    pub fn grow(&mut self, answer: i64, content: &str) -> Result<()> {
        self.database.execute(
            "UPDATE messages SET content = ?2 WHERE id = ?1 AND role = 'assistant'",
            &[&answer, &storable(content)],
        )?;
        Ok(())
    }

    /// Stores the end of an answer.
    ///
    /// # Errors
    /// If the store cannot be written. An answer that was deleted meanwhile stays so.
    pub fn finish(&mut self, answer: i64, end: &AnswerEnd) -> Result<()> {
        let (content, tokens) = (storable(&end.content), end.tokens.as_ref());
        let (tokens, usage) = (tokens.map(Value::to_string), end.usage.to_string());
        let reason = end.reason.as_deref().map(storable);
        self.database.change(|changes| {
            changes.execute(
                "UPDATE messages SET content = ?2, state = ?3, reason = ?4, tokens = ?5, usage = ?6 WHERE id = ?1 AND role = 'assistant'",
                &[&answer, &content, &end.state.name(), &reason, &tokens, &usage],
            )?;
            writers::end(changes, answer)?;
            Ok(())
        })
    }

    /// The messages from the beginning of a conversation to `message`, as a model is to read them.
    ///
    /// # Errors
    /// If the message is not there, not in this conversation or not this owner's, or the store cannot be read.
    pub fn branch(
        &mut self,
        owner: &str,
        conversation: i64,
        message: i64,
    ) -> Result<Vec<chat::Message>> {
        check_owner(&mut self.database, owner, conversation)?;
        let branch = branch(&mut self.database, conversation, message)?;
        if branch.is_empty() {
            return Err(Error::Elsewhere { id: message });
        }
        Ok(branch)
    }
}

/// The messages of `conversation` from its beginning to `message`; empty if that is not in it.
pub(super) fn branch(
    database: &mut Database,
    conversation: i64,
    message: i64,
) -> std::result::Result<Vec<chat::Message>, Fault> {
    database.rows(
        "WITH RECURSIVE up (id, parent, role, content, depth) AS ( \
           SELECT id, parent, role, content, 0 FROM messages WHERE id = ?1 AND conversation = ?2 \
           UNION ALL SELECT m.id, m.parent, m.role, m.content, depth + 1 FROM messages m JOIN up ON m.id = up.parent AND m.id < up.id \
         ) SELECT role, content FROM up ORDER BY depth DESC",
        &[&message, &conversation],
        |row| {
            Ok(chat::Message {
                role: role(row, 0)?,
                content: row.get(1)?,
            })
        },
    )
}

fn message(row: &Row<'_>) -> std::result::Result<Message, Refusal> {
    let state = row.parsed(4, State::from_name)?;
    Ok(Message {
        id: row.get(0)?,
        parent: row.get(1)?,
        role: role(row, 2)?,
        content: row.get(3)?,
        // The column is never without a word; were it, nothing would be known of the answer's end.
        state: state.unwrap_or(State::Interrupted),
        reason: row.get(5)?,
        system: row.get(6)?,
        request: json(row, 7)?,
        model: row.get(8)?,
        usage: json(row, 9)?,
        has_tokens: row.get(10)?,
        rating: row.get(11)?,
        created_ms: row.get(12)?,
    })
}

fn role(row: &Row<'_>, column: usize) -> std::result::Result<chat::Role, Refusal> {
    let unknown = |name: &str| format!("{name:?} is no role");
    let role = row.parsed(column, |name| {
        chat::Role::from_name(name).ok_or_else(|| unknown(name))
    })?;
    Ok(role.unwrap_or(chat::Role::User))
}

fn json(row: &Row<'_>, column: usize) -> std::result::Result<Option<Value>, Refusal> {
    row.parsed(column, |text| serde_json::from_str(text))
}

/// A database that keeps a row also says which.
fn not_stored() -> Error {
    Error::refused("the message was not stored", "send it again")
}

/// Refuses a message that is not there, or not this owner's.
pub(super) fn check_message(
    database: &mut Database,
    owner: &str,
    id: i64,
    what: &'static str,
) -> Result<()> {
    let found = database.row(
        "SELECT messages.id FROM messages JOIN conversations c ON c.id = conversation \
         WHERE messages.id = ?1 AND c.owner = ?2 AND (role = 'assistant' OR CAST(?3 AS TEXT) <> 'answer')",
        &[&id, &owner, &what],
        |_| Ok(()),
    )?;
    found.ok_or(Error::Missing { what, id })
}

/// Refuses to put a message after one that is elsewhere, or of the same role.
fn check_parent(
    database: &mut Database,
    conversation: i64,
    parent: i64,
    wanted: chat::Role,
) -> Result<()> {
    let found: Option<String> = database.row(
        "SELECT role FROM messages WHERE id = ?1 AND conversation = ?2",
        &[&parent, &conversation],
        |row| row.get(0),
    )?;
    match found {
        None => Err(Error::Elsewhere { id: parent }),
        Some(role) if role == wanted.name() => Ok(()),
        Some(role) => Err(Error::refused(
            format!("message {parent} is of the {role}, and what follows would be too"),
            "put questions after answers and answers after questions",
        )),
    }
}

fn check_length(content: &str) -> Result<()> {
    if content.len() <= CONTENT_BYTES {
        return Ok(());
    }
    Err(Error::refused(
        format!(
            "the message has {} bytes, and {CONTENT_BYTES} are the most",
            content.len()
        ),
        "shorten it",
    ))
}
