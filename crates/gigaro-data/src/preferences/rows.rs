//! One JSON object of a preference data set, in whichever of the ecosystem's shapes it comes.
//!
//! The shapes are listed in [`super`]. Whatever the shape, a pair becomes two whole dialogues first; what they share is the prompt, and
//! what is left must be one answer each. So TRL's explicit and implicit prompts, hh-rlhf's dialogues as text and lists that
//! repeat the prompt are one case. What is done with the rows is in [`super::pairs`].

use super::pairs::{Judgement, Pair, Ranking};
use crate::chat::{Conversation, Message, Role};
use crate::conversations::turns;
use crate::corpus::records::{self, Record, kind_of};
use crate::{Error, Result};
use serde_json::Value;
use std::io::Read;

/// The turns of hh-rlhf's dialogues (Bai et al. 2022, <https://arxiv.org/abs/2204.05862>).
const HUMAN: &str = "\n\nHuman:";
const ASSISTANT: &str = "\n\nAssistant:";

/// What one object of a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// One answer is better than another.
    Pair(Pair),
    /// Several answers in order.
    Ranking(Ranking),
    /// One answer, good or bad.
    Judgement(Judgement),
    /// Two dialogues that part before their last answer, so that there is no prompt that both answer.
    Diverging,
}

/// The rows of one JSONL text or JSON array; `place` names it in messages. Ends after the first error.
pub fn read_from(
    reader: impl Read + Send + 'static,
    place: &str,
) -> impl Iterator<Item = Result<Row>> {
    let mut failed = false;
    records::read(reader, place.to_owned()).map_while(move |record| {
        let row = (!failed).then(|| record.and_then(|record| row(&record)));
        failed = matches!(row, Some(Err(_)));
        row
    })
}

/// What `record` says.
pub(super) fn row(record: &Record) -> Result<Row> {
    let has = |key: &str| record.object.contains_key(key);
    if has("chosen") && has("rejected") {
        return pair(record);
    }
    if has("answers") && has("ranks") {
        let (prompt, answers) = question(record)?;
        let ranks = ranks(record, answers.len())?;
        return Ok(Row::Ranking(Ranking {
            prompt,
            answers,
            ranks,
        }));
    }
    if has("label") && (has("completion") || has("messages") || has("conversations")) {
        return judgement(record);
    }
    Err(Error::malformed(
        &record.place,
        format!("this is no preference (the keys are: {})", record.keys()),
        "give `prompt`, `chosen` and `rejected`, or `prompt`, `answers` and `ranks`, or `prompt`, `completion` and `label`",
    ))
}

/// The prompt and the list of answers of a ranking, or of an item that is still to be ranked.
pub(super) fn question(record: &Record) -> Result<(Conversation, Vec<String>)> {
    let messages = prompt(record)?.ok_or_else(|| no_prompt(record))?;
    let answers = texts(record, "answers")?;
    if answers.len() < 2 {
        return Err(Error::malformed(
            &record.place,
            format!("`answers` has {}, and a ranking needs two", answers.len()),
            "give at least two answers to each prompt",
        ));
    }
    Ok((messages.into(), answers))
}

/// The list of texts under `key`; an answer may also be a message or a list with one.
pub(super) fn texts(record: &Record, key: &str) -> Result<Vec<String>> {
    let Some(Value::Array(items)) = record.object.get(key) else {
        return Err(Error::malformed(
            &record.place,
            format!("the key `{key}` holds no list"),
            "make it a list of strings",
        ));
    };
    let text = |(i, item): (usize, &Value)| {
        let name = format!("{key}[{i}]");
        let mut said = messages(record, item, &name, Role::Assistant)?;
        match (said.pop(), said.is_empty()) {
            (Some(message), true) => Ok(message.content),
            _ => Err(Error::malformed(
                &record.place,
                format!("`{name}` has several messages"),
                "make it one answer",
            )),
        }
    };
    items.iter().enumerate().map(text).collect()
}

fn ranks(record: &Record, answers: usize) -> Result<Vec<u32>> {
    let refuse = |problem: String| {
        let advice = "give one whole number per answer, 1 for the best, the same number for a tie";
        Error::malformed(&record.place, problem, advice)
    };
    let Some(Value::Array(items)) = record.object.get("ranks") else {
        return Err(refuse("the key `ranks` holds no list".to_owned()));
    };
    if items.len() != answers {
        return Err(refuse(format!(
            "there are {answers} answers and {} ranks",
            items.len()
        )));
    }
    let rank = |item: &Value| {
        item.as_u64()
            .and_then(|rank| u32::try_from(rank).ok())
            .ok_or_else(|| refuse(format!("`ranks` holds {item:.40}")))
    };
    items.iter().map(rank).collect()
}

fn pair(record: &Record) -> Result<Row> {
    let prompt = prompt(record)?;
    let chosen = dialogue(record, prompt.as_deref(), "chosen")?;
    let rejected = dialogue(record, prompt.as_deref(), "rejected")?;
    let (asked, chosen) = last_answer(record, chosen, "chosen")?;
    let (also_asked, rejected) = last_answer(record, rejected, "rejected")?;
    Ok(if asked == also_asked {
        Row::Pair(Pair {
            prompt: asked,
            chosen,
            rejected,
        })
    } else {
        Row::Diverging
    })
}

fn judgement(record: &Record) -> Result<Row> {
    let label = match record.object.get("label") {
        Some(Value::Bool(label)) => *label,
        Some(Value::Number(number)) if number.as_u64() == Some(1) => true,
        Some(Value::Number(number)) if number.as_u64() == Some(0) => false,
        other => {
            let found = other.map_or("nothing", kind_of);
            return Err(Error::malformed(
                &record.place,
                format!("the key `label` holds {found}, not true or false"),
                "make it true for a good answer and false for a bad one",
            ));
        }
    };
    let prompt = prompt(record)?;
    let whole = match (&prompt, record.object.contains_key("completion")) {
        // The answer is the last of the messages.
        (Some(whole), false) => whole.clone(),
        _ => dialogue(record, prompt.as_deref(), "completion")?,
    };
    let key = if record.object.contains_key("completion") {
        "completion"
    } else {
        "messages"
    };
    let (prompt, completion) = last_answer(record, whole, key)?;
    Ok(Row::Judgement(Judgement {
        prompt,
        completion,
        label,
    }))
}

/// What stands before the answers, under whichever key; `None` if no key for it is there.
fn prompt(record: &Record) -> Result<Option<Vec<Message>>> {
    let get = |key: &str| record.object.get(key);
    let mut asked = None;
    for key in [
        "prompt",
        "question",
        "instruction",
        "messages",
        "conversations",
    ] {
        if let Some(value) = get(key) {
            asked = Some(messages(record, value, key, Role::User)?);
            if key == "instruction"
                && let Some(Value::String(input)) = get("input")
                && !input.is_empty()
                && let Some([instruction]) = asked.as_deref_mut()
            {
                instruction.content = format!("{}\n\n{input}", instruction.content);
            }
            break;
        }
    }
    if let Some(asked) = &mut asked {
        // hh-rlhf's prompts end with the assistant's name and nothing after it.
        if asked
            .last()
            .is_some_and(|last| last.role == Role::Assistant && last.content.is_empty())
        {
            asked.pop();
        }
        if let Some(Value::String(system)) = get("system")
            && !system.is_empty()
            && asked.first().is_none_or(|first| first.role != Role::System)
        {
            asked.insert(0, Message::system(system));
        }
    }
    Ok(asked)
}

/// The whole dialogue that ends with the answer under `key`.
fn dialogue(record: &Record, prompt: Option<&[Message]>, key: &str) -> Result<Vec<Message>> {
    let value = record.object.get(key).unwrap_or(&Value::Null);
    let said = messages(record, value, key, Role::Assistant)?;
    match prompt {
        Some(prompt) if said.len() > prompt.len() && said.starts_with(prompt) => Ok(said),
        // hh-rlhf's text is whole in itself.
        Some(_) if said.len() > 1 && value.is_string() => Ok(said),
        Some(prompt) => Ok([prompt, &said].concat()),
        None if said.len() > 1 => Ok(said),
        None => Err(no_prompt(record)),
    }
}

/// Takes the answer off a dialogue.
fn last_answer(
    record: &Record,
    mut dialogue: Vec<Message>,
    key: &str,
) -> Result<(Conversation, String)> {
    match dialogue.pop() {
        Some(last) if last.role == Role::Assistant && !dialogue.is_empty() => {
            Ok((dialogue.into(), last.content))
        }
        Some(last) if last.role == Role::Assistant => Err(no_prompt(record)),
        _ => Err(Error::malformed(
            &record.place,
            format!("`{key}` does not end with the assistant's words"),
            "end the dialogue with the answer that is judged",
        )),
    }
}

/// Text, a message, or a list of messages. Text in hh-rlhf's form is a dialogue, other text one message of `role`.
fn messages(record: &Record, value: &Value, name: &str, role: Role) -> Result<Vec<Message>> {
    let list = |items: &Value| {
        let from = items
            .get(0)
            .is_some_and(|first| first.get("from").is_some());
        let (role_key, text_key) = if from {
            ("from", "value")
        } else {
            ("role", "content")
        };
        turns(&record.place, Some(items), name, role_key, text_key)
    };
    match value {
        Value::String(text) => {
            Ok(human_assistant(text).unwrap_or_else(|| vec![Message::new(role, text.as_str())]))
        }
        Value::Array(_) => list(value),
        Value::Object(_) => list(&Value::Array(vec![value.clone()])),
        other => Err(Error::malformed(
            &record.place,
            format!(
                "the key `{name}` holds {}, neither text nor messages",
                kind_of(other)
            ),
            "make it a string or a list of messages",
        )),
    }
}

/// The turns of `\n\nHuman: ..\n\nAssistant: ..`; `None` if the text is not of that form.
fn human_assistant(text: &str) -> Option<Vec<Message>> {
    if !text.starts_with(HUMAN) && !text.starts_with(ASSISTANT) {
        return None;
    }
    let mut messages = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (role, marker) = if rest.starts_with(HUMAN) {
            (Role::User, HUMAN)
        } else {
            (Role::Assistant, ASSISTANT)
        };
        let body = &rest[marker.len()..];
        let end = [HUMAN, ASSISTANT]
            .iter()
            .filter_map(|marker| body.find(marker))
            .min()
            .unwrap_or(body.len());
        messages.push(Message::new(role, body[..end].trim()));
        rest = &body[end..];
    }
    Some(messages)
}

fn no_prompt(record: &Record) -> Error {
    Error::malformed(
        &record.place,
        format!(
            "there is no prompt before the answers (the keys are: {})",
            record.keys()
        ),
        "give `prompt`, or whole dialogues in `chosen` and `rejected`",
    )
}
