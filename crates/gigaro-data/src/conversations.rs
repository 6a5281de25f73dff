//! Conversations from files, in the shapes in which data sets carry them.
//!
//! JSONL (or a JSON array, gzipped or not), each object one of
//!
//! - `{"messages": [{"role": "user", "content": ".."}, ..]}`, as OpenAI's API has it,
//! - `{"conversations": [{"from": "human", "value": ".."}, ..]}`, ShareGPT,
//! - `{"instruction": "..", "input": "..", "output": ".."}`, Alpaca; `input` may be empty or missing,
//! - `{"prompt": "..", "response": ".."}`, also with `completion`, and `{"question": "..", "answer": ".."}`.
//!
//! Other keys are ignored. The shape is told from the keys of each object alone. The types are in [`crate::chat`].

use crate::chat::{Conversation, Message, Role};
use crate::corpus::files;
use crate::corpus::records::{self, Record, kind_of};
use crate::{Error, Result};
use serde_json::Value;
use std::io::Read;
use std::path::Path;

/// The conversations in a file, or in all JSON and JSONL files of a folder in the order of their names.
///
/// # Errors
/// If there is nothing at `path`, a file cannot be read, or an object is none of the shapes above; with file, line and key.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<Conversation>> {
    let path = path.as_ref();
    let mut conversations = Vec::new();
    for file in files::list(path, files::holds_records)? {
        for conversation in read_from(files::open(&file)?, &file.display().to_string()) {
            conversations.push(conversation?);
        }
    }
    if conversations.is_empty() {
        let place = path.display().to_string();
        return Err(Error::malformed(
            place,
            "there is no conversation in it",
            "put one JSON object on each line",
        ));
    }
    Ok(conversations)
}

/// The conversations of one JSONL text; `place` names it in messages. Ends after the first error.
pub fn read_from(
    reader: impl Read + Send + 'static,
    place: &str,
) -> impl Iterator<Item = Result<Conversation>> {
    let mut failed = false;
    records::read(reader, place.to_owned()).map_while(move |record| {
        let conversation = (!failed).then(|| record.and_then(|record| conversation(&record)));
        failed = matches!(conversation, Some(Err(_)));
        conversation
    })
}

fn conversation(record: &Record) -> Result<Conversation> {
    let has = |key: &str| record.object.contains_key(key);
    if has("messages") {
        return listed(record, "messages", "role", "content");
    }
    if has("conversations") {
        return listed(record, "conversations", "from", "value");
    }
    if has("instruction") && has("output") {
        let instruction = record.text("instruction")?;
        let input = match record.object.get("input") {
            None | Some(Value::Null) => "",
            Some(_) => record.text("input")?,
        };
        let question = if input.is_empty() {
            instruction.to_owned()
        } else {
            format!("{instruction}\n\n{input}")
        };
        return Ok(Conversation::exchange(question, record.text("output")?));
    }
    for (question, answer) in [
        ("prompt", "response"),
        ("prompt", "completion"),
        ("question", "answer"),
    ] {
        if has(question) && has(answer) {
            return Ok(Conversation::exchange(
                record.text(question)?,
                record.text(answer)?,
            ));
        }
    }
    Err(Error::malformed(
        &record.place,
        format!("this is no conversation (the keys are: {})", record.keys()),
        "give `messages`, or `instruction` and `output`, or `prompt` and `response`",
    ))
}

fn listed(record: &Record, list: &str, role_key: &str, text_key: &str) -> Result<Conversation> {
    let value = record.object.get(list);
    turns(&record.place, value, list, role_key, text_key).map(Conversation::from)
}

/// The messages of a list of objects that stands at `place` under the name `list`.
pub(crate) fn turns(
    place: &str,
    value: Option<&Value>,
    list: &str,
    role_key: &str,
    text_key: &str,
) -> Result<Vec<Message>> {
    let refuse = |problem: String| {
        let advice = format!("make `{list}` a list of objects with `{role_key}` and `{text_key}`");
        Error::malformed(place, problem, advice)
    };
    let Some(Value::Array(items)) = value else {
        return Err(refuse(format!("the key `{list}` holds no list")));
    };
    if items.is_empty() {
        return Err(refuse(format!("the list `{list}` is empty")));
    }
    let mut messages = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let text = |key: &str| match item.get(key) {
            Some(Value::String(text)) => Ok(text.as_str()),
            Some(other) => Err(refuse(format!(
                "`{list}[{i}].{key}` is {}, not text",
                kind_of(other)
            ))),
            None => Err(refuse(format!("`{list}[{i}]` has no `{key}`"))),
        };
        let name = text(role_key)?;
        let role = Role::from_name(name).ok_or_else(|| {
            refuse(format!(
                "`{list}[{i}].{role_key}` is {name:.40?}, not system, user or assistant"
            ))
        })?;
        messages.push(Message::new(role, text(text_key)?));
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared_data;

    fn parse(text: &str) -> Result<Vec<Conversation>> {
        read_from(std::io::Cursor::new(text.to_owned()), "data.jsonl").collect()
    }

    #[test]
    fn every_shape_gives_the_same_conversation() {
        let expected = Conversation::exchange("Say hi", "Hi!");
        for line in [
            r#"{"messages": [{"role": "user", "content": "Say hi"}, {"role": "assistant", "content": "Hi!"}]}"#,
            r#"{"conversations": [{"from": "human", "value": "Say hi"}, {"from": "gpt", "value": "Hi!"}], "id": 1}"#,
            r#"{"instruction": "Say hi", "input": "", "output": "Hi!"}"#,
            r#"{"instruction": "Say hi", "output": "Hi!"}"#,
            r#"{"prompt": "Say hi", "response": "Hi!"}"#,
            r#"{"question": "Say hi", "answer": "Hi!"}"#,
        ] {
            assert_eq!(parse(line).expect(line), std::slice::from_ref(&expected));
            assert_eq!(
                parse(&format!("\n [{line},\n{line}]")).expect(line),
                [expected.clone(), expected.clone()]
            );
        }
        let with_input =
            parse(r#"{"instruction": "Add", "input": "1 2", "output": "3"}"#).expect("an input");
        assert_eq!(with_input, [Conversation::exchange("Add\n\n1 2", "3")]);
    }

    #[test]
    fn errors_name_file_line_and_key() {
        let good = r#"{"prompt": "a", "response": "b"}"#;
        for (line, expected) in [
            ("{\"prompt\"", "data.jsonl, line 3: not JSON at column"),
            (
                "[]",
                "data.jsonl, line 3: this is a list, not a JSON object",
            ),
            (
                r#"{"prompt": "a"}"#,
                "data.jsonl, line 3: this is no conversation (the keys are: prompt)",
            ),
            (
                r#"{"prompt": 5, "response": "b"}"#,
                "line 3: the key `prompt` holds a number, not text",
            ),
            (
                r#"{"messages": []}"#,
                "line 3: the list `messages` is empty",
            ),
            (
                r#"{"messages": [{"role": "user"}]}"#,
                "line 3: `messages[0]` has no `content`",
            ),
            (
                r#"{"messages": [{"role": "cat", "content": ""}]}"#,
                "`messages[0].role` is \"cat\", not system, user",
            ),
            (
                r#"{"messages": [{"role": "user", "content": []}]}"#,
                "`messages[0].content` is a list, not text",
            ),
        ] {
            let error = parse(&format!("{good}\n\n{line}\n{good}"))
                .expect_err(line)
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
        let error = parse(&format!("[{good}, 7]"))
            .expect_err("a number")
            .to_string();
        assert!(
            error.starts_with("data.jsonl, item 2: this is a number"),
            "{error}"
        );
    }

    #[test]
    fn real_data_sets_are_read() {
        for (name, count) in [
            ("chat/instructions_1100/instruction-data.json", 1100),
            ("chat/llama_factory/alpaca_en_demo.json.gz", 999),
            ("chat/dolly_hhrlhf/train_1000.jsonl.gz", 1000),
            ("chat/gsm8k/train.jsonl.gz", 7473),
        ] {
            let Some(path) = shared_data::find(name) else {
                return;
            };
            let conversations = read(&path).expect(name);
            assert_eq!(conversations.len(), count, "{name}");
            assert!(
                conversations
                    .iter()
                    .all(|conversation| conversation.messages.len() == 2)
            );
        }
    }
}
