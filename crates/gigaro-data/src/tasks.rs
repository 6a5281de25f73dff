//! Tasks that a model is measured on, from files: questions with answers to choose from, and questions to answer in words.
//!
//! JSONL (or a JSON array, gzipped or not), each object one of
//!
//! - `{"question": "..", "choices": ["..", ".."], "answer": 0}`, where `answer` counts the choices from 0,
//! - `{"question": "..", "answer": ".."}`.
//!
//! Other keys are ignored. How such tasks are scored is in `gigaro_train::evaluate`.

use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::corpus::files;
use crate::corpus::records::{self, Record, kind_of};
use crate::{Error, Result};

/// A question, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// What the model reads; never empty.
    pub question: String,
    /// What it is to say.
    pub answer: TaskAnswer,
}

/// What a model is to say to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskAnswer {
    /// The most probable of several texts.
    Choice {
        /// At least two, none of them empty.
        choices: Vec<String>,
        /// Which is right.
        right: usize,
    },
    /// These very words.
    Words(String),
}

/// The tasks in a file, or in all JSON and JSONL files of a folder in the order of their names.
///
/// # Errors
/// If there is nothing at `path`, a file cannot be read, an object is no task, or there is none; with file, line and key.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<Task>> {
    let path = path.as_ref();
    let mut tasks = Vec::new();
    for file in files::list(path, files::holds_records)? {
        for task in read_from(files::open(&file)?, &file.display().to_string()) {
            tasks.push(task?);
        }
    }
    if tasks.is_empty() {
        let place = path.display().to_string();
        let advice = "put one JSON object on each line";
        return Err(Error::malformed(place, "there is no task in it", advice));
    }
    Ok(tasks)
}

/// The tasks of one JSONL text; `place` names it in messages. The first error is the last thing worth reading.
pub fn read_from(
    reader: impl Read + Send + 'static,
    place: &str,
) -> impl Iterator<Item = Result<Task>> {
    records::read(reader, place.to_owned()).map(|record| task(&record?))
}

fn task(record: &Record) -> Result<Task> {
    let question = record.text("question")?.to_owned();
    let refuse = |problem: String| {
        let advice = "give `question`, `choices` and the number of the right one in `answer`, or `question` and the text `answer`";
        Error::malformed(&record.place, problem, advice)
    };
    if question.trim().is_empty() {
        return Err(refuse("the `question` is empty".to_owned()));
    }
    let answer = match record.object.get("choices") {
        None | Some(Value::Null) => TaskAnswer::Words(record.text("answer")?.to_owned()),
        Some(Value::Array(list)) => choice(list, record.object.get("answer")).map_err(refuse)?,
        Some(other) => {
            return Err(refuse(format!(
                "`choices` is {}, not a list",
                kind_of(other)
            )));
        }
    };
    Ok(Task { question, answer })
}

fn choice(list: &[Value], right: Option<&Value>) -> std::result::Result<TaskAnswer, String> {
    let text = |value: &Value| value.as_str().filter(|s| !s.is_empty()).map(str::to_owned);
    let choices: Option<Vec<String>> = list.iter().map(text).collect();
    let Some(choices) = choices.filter(|choices| choices.len() >= 2) else {
        return Err("`choices` is not a list of at least two texts".to_owned());
    };
    let right = right
        .and_then(Value::as_u64)
        .and_then(|n| usize::try_from(n).ok())
        .filter(|&n| n < choices.len())
        .ok_or_else(|| {
            format!(
                "`answer` is not a whole number from 0 to {}",
                choices.len() - 1
            )
        })?;
    Ok(TaskAnswer::Choice { choices, right })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn read(text: &'static str) -> Result<Vec<Task>> {
        read_from(Cursor::new(text), "tasks.jsonl").collect()
    }

    #[test]
    fn both_kinds_are_read_and_other_keys_are_left() {
        let text = r#"{"question": "2+2?", "choices": ["3", "4"], "answer": 1, "kind": "sum"}
{"question": "Who?", "choices": null, "answer": "Ann"}"#;
        let expected = [
            Task {
                question: "2+2?".into(),
                answer: TaskAnswer::Choice {
                    choices: vec!["3".into(), "4".into()],
                    right: 1,
                },
            },
            Task {
                question: "Who?".into(),
                answer: TaskAnswer::Words("Ann".into()),
            },
        ];
        assert_eq!(read(text).expect("two tasks"), expected);
    }

    #[test]
    fn what_is_no_task_is_refused_with_its_place() {
        for text in [
            "{}",
            r#"{"question": " ", "answer": "x"}"#,
            r#"{"question": "a", "answer": 1}"#,
            r#"{"question": "a", "choices": ["b"], "answer": 0}"#,
            r#"{"question": "a", "choices": ["b", ""], "answer": 0}"#,
            r#"{"question": "a", "choices": ["b", "c"], "answer": 2}"#,
            r#"{"question": "a", "choices": ["b", "c"], "answer": -1}"#,
            r#"{"question": "a", "choices": "b", "answer": 0}"#,
        ] {
            let sentence = read(text).expect_err(text).to_string();
            assert!(sentence.starts_with("tasks.jsonl"), "{sentence}");
        }
    }
}
