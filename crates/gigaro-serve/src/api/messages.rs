//! The messages of a chat: roles and texts, in the spellings that clients send.

use gigaro_data::chat::{Message, Role};
use serde_json::Value;

use super::ApiError;
use super::fields::{Fields, wrong_kind};

/// The messages in a request's field `messages`.
pub(super) fn messages(value: Value, param: &str) -> Result<Vec<Message>, ApiError> {
    let Value::Array(list) = value else {
        return Err(wrong_kind(param, "a list of messages", &value));
    };
    if list.is_empty() {
        let sentence = format!("{param} is empty: there is nothing to answer");
        return Err(ApiError::bad_field(param, sentence));
    }
    let read = |(i, value)| message(value, &format!("{param}[{i}]"));
    list.into_iter().enumerate().map(read).collect()
}

fn message(value: Value, place: &str) -> Result<Message, ApiError> {
    let mut fields = Fields::inside(value, place)?;
    let role = match fields.required("role")? {
        Value::String(name) => role(&name, &fields.path("role"))?,
        other => return Err(wrong_kind(&fields.path("role"), "a string", &other)),
    };
    let path = fields.path("content");
    let content = content(fields.required("content")?, &path)?;
    // Some clients say of a message that it is text, like of its parts.
    let is_text = |value: &Value| *value == "text";
    fields.refuse("type", is_text, "messages are text")?;
    fields.refuse(
        "name",
        |_| false,
        "the chat format of this model has no names",
    )?;
    let no_tools = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    fields.refuse("tool_calls", no_tools, "this server calls no tools yet")?;
    let nothing = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    fields.refuse("annotations", nothing, "messages are text")?;
    fields.finish()?;
    Ok(Message::new(role, content))
}

fn role(name: &str, path: &str) -> Result<Role, ApiError> {
    match name {
        "system" | "developer" => Ok(Role::System),
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        "tool" | "function" => Err(ApiError::bad_field(
            path,
            format!("{path} is {name}, but this server calls no tools yet"),
        )),
        _ => Err(ApiError::bad_field(
            path,
            format!("{path} must be system, developer, user or assistant"),
        )),
    }
}

/// A string, or a list of parts that are text.
fn content(value: Value, path: &str) -> Result<String, ApiError> {
    match value {
        Value::String(text) => Ok(text),
        Value::Array(parts) => {
            let parts = parts.into_iter().enumerate();
            parts
                .map(|(i, value)| part(value, &format!("{path}[{i}]")))
                .collect()
        }
        other => Err(wrong_kind(path, "a string or a list of parts", &other)),
    }
}

fn part(value: Value, place: &str) -> Result<String, ApiError> {
    let mut fields = Fields::inside(value, place)?;
    let is_text =
        |value: &Value| *value == "text" || *value == "input_text" || *value == "output_text";
    fields.refuse("type", is_text, "this model reads text only")?;
    let text = fields.required("text")?;
    let path = fields.path("text");
    fields.finish()?;
    match text {
        Value::String(text) => Ok(text),
        other => Err(wrong_kind(&path, "a string", &other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<Vec<Message>, String> {
        messages(value, "messages").map_err(|e| e.message().to_owned())
    }

    #[test]
    fn texts_may_be_whole_or_in_parts_and_answers_may_come_back_as_they_were_sent() {
        let read = read(json!([
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "type": "text"},
            {"role": "assistant", "content": "c", "refusal": null, "tool_calls": null, "annotations": []},
        ]));
        let expected = vec![
            Message::system("Be brief."),
            Message::user("ab"),
            Message::assistant("c"),
        ];
        assert_eq!(read, Ok(expected));
    }

    #[test]
    fn a_message_that_cannot_be_meant_is_refused_by_its_place() {
        for (value, sentence) in [
            (
                json!("hello"),
                "messages must be a list of messages, but is a string",
            ),
            (json!([]), "messages is empty: there is nothing to answer"),
            (json!([1]), "messages[0] must be an object, but is 1"),
            (json!([{"role": "user"}]), "messages[0].content is missing"),
            (
                json!([{"role": "user", "content": 1}]),
                "messages[0].content must be a string or a list of parts, but is 1",
            ),
            (
                json!([{"role": "king", "content": ""}]),
                "messages[0].role must be system, developer, user or assistant",
            ),
            (
                json!([{"role": "user", "content": "", "mood": "good"}]),
                "there is no field messages[0].mood here",
            ),
            (
                json!([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]),
                "messages[0].content[0].type is not available: this model reads text only",
            ),
        ] {
            assert_eq!(read(value), Err(sentence.to_owned()));
        }
    }
}
