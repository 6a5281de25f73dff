//! The messages of a chat: roles and texts, calls of functions and what these gave, in the spellings that clients send.

use gigaro_data::chat::{Message, Role};
use serde_json::{Map, Value, json};

use super::ApiError;
use super::fields::{Fields, wrong_kind};
use super::tools::call_text;

/// A conversation in two forms, of which a model reads one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Dialogue {
    /// Roles and texts only: a call is in the text of its message, and what it gave is told by the user.
    pub(super) messages: Vec<Message>,
    /// As chat templates with words for functions are given it.
    pub(super) told: Vec<Value>,
    /// Whether functions were called in it.
    pub(super) has_calls: bool,
}

impl Dialogue {
    /// A message of words alone.
    pub(super) fn say(&mut self, message: Message) {
        let told = json!({ "role": message.role.name(), "content": message.content });
        self.told.push(told);
        self.messages.push(message);
    }

    /// The answer of a function to the call of that number.
    fn give(&mut self, call: &str, content: String, path: &str) -> Result<(), ApiError> {
        let called = |message: &Value| {
            let calls = message["tool_calls"].as_array();
            calls.is_some_and(|calls| calls.iter().any(|one| one["id"] == *call))
        };
        if !self.told.iter().any(called) {
            let sentence = format!("{path} is {call:?}, which is the id of no call before it");
            return Err(ApiError::bad_field(path, sentence));
        }
        let told = json!({ "role": "tool", "tool_call_id": call, "content": content });
        let text = format!("<tool_response>\n{content}\n</tool_response>");
        // What several calls gave is one message: roles take turns.
        let follows = self.told.last().is_some_and(|last| last["role"] == "tool");
        match self.messages.last_mut().filter(|_| follows) {
            Some(last) => last.content = format!("{}\n{text}", last.content),
            None => self.messages.push(Message::user(text)),
        }
        self.told.push(told);
        Ok(())
    }

    /// A message in which functions were called.
    fn call(&mut self, content: String, calls: Vec<Call>) {
        self.has_calls = true;
        let mut lines: Vec<String> = Vec::new();
        if !content.is_empty() {
            lines.push(content.clone());
        }
        lines.extend(calls.iter().map(|call| call_text(&call.name, &call.text)));
        self.messages.push(Message::assistant(lines.join("\n")));
        let told = |call: &Call| {
            let function = json!({ "name": call.name, "arguments": call.arguments });
            json!({ "id": call.id, "type": "function", "function": function })
        };
        let calls: Vec<Value> = calls.iter().map(told).collect();
        let told = json!({ "role": "assistant", "content": content, "tool_calls": calls });
        self.told.push(told);
    }
}

/// An earlier call of a function.
struct Call {
    id: String,
    name: String,
    /// As they were written.
    text: String,
    arguments: Map<String, Value>,
}

/// The messages in a request's field `messages`.
pub(super) fn messages(value: Value, param: &str) -> Result<Dialogue, ApiError> {
    let Value::Array(list) = value else {
        return Err(wrong_kind(param, "a list of messages", &value));
    };
    if list.is_empty() {
        let sentence = format!("{param} is empty: there is nothing to answer");
        return Err(ApiError::bad_field(param, sentence));
    }
    let mut dialogue = Dialogue::default();
    for (i, value) in list.into_iter().enumerate() {
        message(value, &format!("{param}[{i}]"), &mut dialogue)?;
    }
    Ok(dialogue)
}

fn message(value: Value, place: &str, dialogue: &mut Dialogue) -> Result<(), ApiError> {
    let mut fields = Fields::inside(value, place)?;
    let path = fields.path("role");
    let role = match fields.required("role")? {
        Value::String(name) => name,
        other => return Err(wrong_kind(&path, "a string", &other)),
    };
    if role == "tool" {
        return tool_message(fields, dialogue);
    }
    let role = match role.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        _ => {
            let sentence = format!("{path} must be system, developer, user, assistant or tool");
            return Err(ApiError::bad_field(path, sentence));
        }
    };
    let calls = match fields.take("tool_calls") {
        Some(calls) if role == Role::Assistant => calls_of(calls, &fields.path("tool_calls"))?,
        Some(Value::Array(none)) if none.is_empty() => Vec::new(),
        Some(_) => {
            let path = fields.path("tool_calls");
            let sentence = format!("{path} makes sense in a message of the assistant only");
            return Err(ApiError::bad_field(path, sentence));
        }
        None => Vec::new(),
    };
    let path = fields.path("content");
    let content = match fields.take("content") {
        Some(value) => content(value, &path)?,
        // A message may be nothing but calls.
        None if !calls.is_empty() => String::new(),
        None => return Err(ApiError::bad_field(&path, format!("{path} is missing"))),
    };
    // Some clients say of a message that it is text, like of its parts.
    let is_text = |value: &Value| *value == "text";
    fields.refuse("type", is_text, "messages are text")?;
    fields.refuse(
        "name",
        |_| false,
        "the chat format of this model has no names",
    )?;
    let nothing = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    fields.refuse("annotations", nothing, "messages are text")?;
    fields.finish()?;
    if calls.is_empty() {
        dialogue.say(Message::new(role, content));
    } else {
        dialogue.call(content, calls);
    }
    Ok(())
}

/// What a function gave.
fn tool_message(mut fields: Fields, dialogue: &mut Dialogue) -> Result<(), ApiError> {
    let path = fields.path("content");
    let content = content(fields.required("content")?, &path)?;
    let path = fields.path("tool_call_id");
    let call = match fields.required("tool_call_id")? {
        Value::String(id) => id,
        other => return Err(wrong_kind(&path, "a string", &other)),
    };
    // The call that it belongs to has the function's name already.
    fields.text("name")?;
    fields.finish()?;
    dialogue.give(&call, content, &path)
}

/// The calls in a message of the assistant.
fn calls_of(value: Value, place: &str) -> Result<Vec<Call>, ApiError> {
    let Value::Array(list) = value else {
        return Err(wrong_kind(place, "a list of calls", &value));
    };
    let calls = list.into_iter().enumerate();
    calls
        .map(|(i, value)| {
            let place = format!("{place}[{i}]");
            let mut fields = Fields::inside(value, &place)?;
            let is_function = |value: &Value| *value == "function";
            fields.refuse("type", is_function, "only functions can be called here")?;
            // Where a call stood in a stream, which some clients keep.
            fields.count("index", 0..=usize::MAX >> 1)?;
            let id = text(&mut fields, "id")?;
            let path = fields.path("function");
            let mut inner = Fields::inside(fields.required("function")?, &path)?;
            let call = call(&mut inner, id)?;
            inner.finish()?;
            fields.finish()?;
            Ok(call)
        })
        .collect()
}

/// `name` and `arguments`, which are JSON as a text.
fn call(fields: &mut Fields, id: String) -> Result<Call, ApiError> {
    let name = text(fields, "name")?;
    let path = fields.path("arguments");
    let text = text(fields, "arguments")?;
    let arguments = serde_json::from_str(&text).map_err(|e| {
        let sentence = format!("{path} must be a JSON object as a text, but is not: {e}");
        ApiError::bad_field(&path, sentence)
    })?;
    Ok(Call {
        id,
        name,
        text,
        arguments,
    })
}

/// A text that has to be there.
fn text(fields: &mut Fields, name: &'static str) -> Result<String, ApiError> {
    let path = fields.path(name);
    match fields.required(name)? {
        Value::String(text) => Ok(text),
        other => Err(wrong_kind(&path, "a string", &other)),
    }
}

/// A call and what it gave, as `/v1/responses` has them beside messages; whether it was one of them.
pub(super) fn item(
    kind: &str,
    mut fields: Fields,
    dialogue: &mut Dialogue,
) -> Result<(), ApiError> {
    // Numbers and states of items that this server gave itself.
    fields.text("id")?;
    fields.text("status")?;
    let path = fields.path("call_id");
    let id = text(&mut fields, "call_id")?;
    if kind == "function_call" {
        let call = call(&mut fields, id)?;
        fields.finish()?;
        dialogue.call(String::new(), vec![call]);
        return Ok(());
    }
    let output = fields.required("output")?;
    let output = content(output, &fields.path("output"))?;
    fields.finish()?;
    dialogue.give(&id, output, &path)
}

/// A message among such items.
pub(super) fn message_item(
    value: Value,
    place: &str,
    dialogue: &mut Dialogue,
) -> Result<(), ApiError> {
    message(value, place, dialogue)
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
        messages(value, "messages")
            .map(|dialogue| dialogue.messages)
            .map_err(|e| e.message().to_owned())
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
                "messages[0].role must be system, developer, user, assistant or tool",
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

    #[test]
    fn calls_and_what_they_gave_are_told_in_both_forms() {
        let call = |id: &str, n: u32| {
            let arguments = format!("{{\"n\": {n}}}");
            json!({ "id": id, "type": "function", "function": { "name": "look", "arguments": arguments } })
        };
        let dialogue = messages(
            json!([
                { "role": "user", "content": "both?" },
                { "role": "assistant", "content": null, "tool_calls": [call("a", 1), call("b", 2)] },
                { "role": "tool", "tool_call_id": "a", "content": "one" },
                { "role": "tool", "tool_call_id": "b", "content": [{ "type": "text", "text": "two" }] },
                { "role": "assistant", "content": "So." },
            ]),
            "messages",
        );
        let dialogue = dialogue.unwrap_or_else(|e| panic!("{}", e.message()));
        assert!(dialogue.has_calls);
        let calls = [
            call_text("look", "{\"n\": 1}"),
            call_text("look", "{\"n\": 2}"),
        ];
        let expected = vec![
            Message::user("both?"),
            Message::assistant(calls.join("\n")),
            Message::user(
                "<tool_response>\none\n</tool_response>\n<tool_response>\ntwo\n</tool_response>",
            ),
            Message::assistant("So."),
        ];
        assert_eq!(dialogue.messages, expected);
        assert_eq!(dialogue.told.len(), 5);
        let function = &dialogue.told[1]["tool_calls"][1]["function"];
        assert_eq!(
            *function,
            json!({ "name": "look", "arguments": { "n": 2 } })
        );
        assert_eq!(dialogue.told[3]["tool_call_id"], "b");
    }

    #[test]
    fn calls_that_cannot_be_meant_are_refused_by_their_place() {
        let function = json!({ "name": "f", "arguments": "{" });
        for (value, begin) in [
            (
                json!([{ "role": "tool", "tool_call_id": "x", "content": "" }]),
                "messages[0].tool_call_id is \"x\", which is the id of no call before it",
            ),
            (
                json!([{ "role": "assistant", "tool_calls": [{ "id": "a", "function": function }] }]),
                "messages[0].tool_calls[0].function.arguments must be a JSON object as a text, but is not",
            ),
            (
                json!([{ "role": "user", "content": "", "tool_calls": [1] }]),
                "messages[0].tool_calls makes sense in a message of the assistant only",
            ),
            (
                json!([{ "role": "assistant", "tool_calls": 1 }]),
                "messages[0].tool_calls must be a list of calls, but is 1",
            ),
        ] {
            let said = read(value).expect_err(begin);
            assert!(said.starts_with(begin), "{said}");
        }
    }
}
