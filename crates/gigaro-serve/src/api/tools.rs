//! Functions that a reply may call: what a request says of them, how the model is told, the grammar of calls, and calls out of text.
//!
//! A call is written between tags, as Hermes and Qwen were taught it:
//!
//! ```text
//! <tool_call>
//! {"name": "NAME", "arguments": {..}}
//! </tool_call>
//! ```
//!
//! The grammar holds every reply to that form, and the arguments to the function's schema; so a call that was begun is a call that can be
//! read. Models whose template has no word for functions are told of them in the system's message.

use serde_json::{Map, Value, json};

use super::ApiError;
use super::fields::{Fields, wrong_kind};
use super::output::{Wanted, checked_schema};
use crate::engine::Grammar;

/// Functions of one request, as OpenAI has it.
const MAX_FUNCTIONS: usize = 128;
/// Characters of a function's name, as OpenAI has it.
const MAX_NAME: usize = 64;
/// What stands before the name in a call, before the arguments, and after them.
const OPEN: &str = "<tool_call>\n{\"name\": \"";
const BETWEEN: &str = "\", \"arguments\": ";
const CLOSE: &str = "}\n</tool_call>";

/// A function that may be called.
#[derive(Clone, Debug, PartialEq)]
struct Function {
    name: String,
    /// As the request has it.
    described: Map<String, Value>,
    /// The schema of its arguments.
    parameters: Value,
    strict: bool,
}

/// Whether, and which, functions are to be called.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Choice {
    None,
    Auto,
    Required,
    Named(String),
}

/// The functions of a request and what is to be done with them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tools {
    functions: Vec<Function>,
    choice: Choice,
    /// Whether a reply may call several.
    parallel: bool,
}

impl Tools {
    /// The fields `tools`, `tool_choice` and `parallel_tool_calls`. `nested`: a function's description stands in an object `function` of
    /// its own, as in chats.
    pub(super) fn read(fields: &mut Fields, nested: bool) -> Result<Self, ApiError> {
        let functions = match fields.take("tools") {
            None => Vec::new(),
            Some(Value::Array(list)) => {
                let list = list.into_iter().enumerate();
                list.map(|(i, value)| function(value, &format!("tools[{i}]"), nested))
                    .collect::<Result<Vec<_>, _>>()?
            }
            Some(other) => return Err(wrong_kind("tools", "a list of functions", &other)),
        };
        if functions.len() > MAX_FUNCTIONS {
            let n = functions.len();
            let sentence =
                format!("tools has {n} functions, but at most {MAX_FUNCTIONS} are taken");
            return Err(ApiError::bad_field("tools", sentence));
        }
        for (i, function) in functions.iter().enumerate() {
            if functions[..i]
                .iter()
                .any(|other| other.name == function.name)
            {
                let sentence = format!("tools has two functions called {}", function.name);
                return Err(ApiError::bad_field("tools", sentence));
            }
        }
        let choice = match fields.take("tool_choice") {
            None if functions.is_empty() => Choice::None,
            None => Choice::Auto,
            Some(value) => choice(value, &functions, nested)?,
        };
        let parallel = match fields.take("parallel_tool_calls") {
            None => true,
            Some(Value::Bool(parallel)) => parallel,
            Some(other) => {
                return Err(wrong_kind("parallel_tool_calls", "true or false", &other));
            }
        };
        Ok(Self {
            functions,
            choice,
            parallel,
        })
    }

    /// Whether the model is told of functions, and its reply read for calls.
    pub(super) fn are_offered(&self) -> bool {
        self.choice != Choice::None && !self.functions.is_empty()
    }

    /// The functions as OpenAI's chats have them, for a template that knows them.
    pub(super) fn described(&self) -> Vec<Value> {
        let described = self.functions.iter().map(|function| &function.described);
        described
            .map(|object| json!({ "type": "function", "function": object }))
            .collect()
    }

    /// What a model is told whose template has no word for functions.
    pub(super) fn instructions(&self) -> String {
        let lines = self.described();
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        format!(
            "You may call functions. These are the functions, one on a line, as JSON:\n{}\n\nTo call a function, write its name and its arguments like this, and wait for what it gives:\n{OPEN}NAME{BETWEEN}{{}}{CLOSE}",
            lines.join("\n")
        )
    }

    /// The grammar of a reply that may or must call functions, or else is what `wanted` says.
    ///
    /// # Errors
    /// If the two do not go together.
    pub(super) fn grammar(&self, wanted: Option<Wanted>) -> Result<Option<Wanted>, ApiError> {
        if !self.are_offered() {
            return Ok(wanted);
        }
        let speech = match wanted {
            None => None,
            Some(Wanted {
                grammar: Grammar::JsonSchema { schema, strict },
                ..
            }) => Some(Grammar::schema_in_lark(&schema, strict)),
            Some(Wanted { param, .. }) => {
                let sentence = format!(
                    "a reply that may call functions cannot be held to a grammar of another form: leave out {param}, or give a JSON schema"
                );
                return Err(ApiError::bad_field(param, sentence));
            }
        };
        Ok(Some(Wanted {
            grammar: Grammar::Lark(self.lark(speech.as_deref())),
            param: "tools",
        }))
    }

    /// The grammar in Lark's form. Between the calls of one reply stands a line's end.
    fn lark(&self, speech: Option<&str>) -> String {
        let callable = |function: &&Function| match &self.choice {
            Choice::Named(name) => function.name == *name,
            _ => true,
        };
        let functions: Vec<&Function> = self.functions.iter().filter(callable).collect();
        let quoted = |text: &str| Value::from(text).to_string();
        let names: Vec<String> = (0..functions.len()).map(|i| format!("call_{i}")).collect();
        let any = names.join(" | ");
        let more = if self.parallel && !matches!(self.choice, Choice::Named(_)) {
            format!(" ( {} ( {any} ) )*", quoted(&format!("\n{OPEN}")))
        } else {
            String::new()
        };
        let opened = quoted(OPEN);
        let mut lark = match (&self.choice, speech) {
            (Choice::Auto, None) => format!(
                "start: speech | opened ( {any} ){more}\nspeech: TEXT\nopened[lazy]: TEXT {opened}\nTEXT: /(\\n|.)*/\n"
            ),
            (Choice::Auto, Some(json)) => {
                format!("start: speech | {opened} ( {any} ){more}\nspeech: {json}\n")
            }
            _ => format!("start: {opened} ( {any} ){more}\n"),
        };
        for (i, function) in functions.iter().enumerate() {
            let begin = quoted(&format!("{}{BETWEEN}", function.name));
            let arguments = Grammar::schema_in_lark(&function.parameters, function.strict);
            let close = quoted(CLOSE);
            lark +=
                &format!("call_{i}: {begin} arguments_{i} {close}\narguments_{i}: {arguments}\n");
        }
        lark
    }
}

fn function(value: Value, place: &str, nested: bool) -> Result<Function, ApiError> {
    let mut fields = Fields::inside(value, place)?;
    let is_function = |value: &Value| *value == "function";
    fields.refuse("type", is_function, "only functions can be called here")?;
    if nested {
        let path = fields.path("function");
        let mut inner = Fields::inside(fields.required("function")?, &path)?;
        fields.finish()?;
        let function = described(&mut inner)?;
        inner.finish()?;
        return Ok(function);
    }
    let function = described(&mut fields)?;
    fields.finish()?;
    Ok(function)
}

fn described(fields: &mut Fields) -> Result<Function, ApiError> {
    let path = fields.path("name");
    let name = fields.required("name")?;
    let name = name.as_str().filter(|name| {
        let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
        (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(plain)
    });
    let name = name.map(str::to_owned).ok_or_else(|| {
        let sentence =
            format!("{path} must be 1 to {MAX_NAME} letters, digits, underscores or dashes");
        ApiError::bad_field(&path, sentence)
    })?;
    let description = fields.text("description")?;
    let parameters = fields.take("parameters");
    let strict = fields.flag("strict")?;
    let mut described = Map::new();
    described.insert("name".to_owned(), name.as_str().into());
    if let Some(description) = description {
        described.insert("description".to_owned(), description.into());
    }
    if let Some(parameters) = &parameters {
        described.insert("parameters".to_owned(), parameters.clone());
    }
    // Without a word about arguments there are none.
    let none = || json!({ "type": "object", "properties": {}, "additionalProperties": false });
    let path = fields.path("parameters");
    Ok(Function {
        name,
        described,
        parameters: checked_schema(parameters.unwrap_or_else(none), &path)?,
        strict,
    })
}

fn choice(value: Value, functions: &[Function], nested: bool) -> Result<Choice, ApiError> {
    let place = "tool_choice";
    let choice = match value {
        Value::String(word) => match word.as_str() {
            "none" => return Ok(Choice::None),
            "auto" => Choice::Auto,
            "required" => Choice::Required,
            _ => {
                let sentence =
                    "tool_choice must be none, auto, required, or an object that names a function";
                return Err(ApiError::bad_field(place, sentence));
            }
        },
        value => {
            let mut fields = Fields::inside(value, place)?;
            let is_function = |value: &Value| *value == "function";
            fields.refuse("type", is_function, "only functions can be called here")?;
            let name = if nested {
                let mut inner =
                    Fields::inside(fields.required("function")?, "tool_choice.function")?;
                let name = inner.required("name")?;
                inner.finish()?;
                name
            } else {
                fields.required("name")?
            };
            fields.finish()?;
            let known = functions.iter().find(|function| name == *function.name);
            match known {
                Some(function) => Choice::Named(function.name.clone()),
                None => {
                    let sentence = format!("tool_choice names {name}, which is none of tools");
                    return Err(ApiError::bad_field(place, sentence));
                }
            }
        }
    };
    if functions.is_empty() {
        let sentence = "tool_choice only makes sense with tools";
        return Err(ApiError::bad_field(place, sentence));
    }
    Ok(choice)
}

/// An earlier call, as a model has written it or would have.
pub(super) fn call_text(name: &str, arguments: &str) -> String {
    format!("{OPEN}{name}{BETWEEN}{arguments}{CLOSE}")
}

/// What a reply says, in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Words.
    Text(String),
    /// A call of this function begins.
    Call(String),
    /// More of the arguments of the last call.
    Arguments(String),
}

/// Takes the text of a reply, in pieces of any length, apart into words and calls.
#[derive(Clone, Debug, Default)]
pub(super) struct CallReader {
    state: State,
    /// Text that may belong to a tag.
    held: String,
    calls: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Words,
    Name,
    Arguments,
}

impl CallReader {
    /// Calls so far.
    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    /// Takes a piece in; gives what has become certain.
    pub(super) fn push(&mut self, piece: &str) -> Vec<Said> {
        self.held += piece;
        let mut said = Vec::new();
        loop {
            let tag = match self.state {
                State::Words => OPEN,
                State::Name => BETWEEN,
                State::Arguments => CLOSE,
            };
            let found = self.held.find(tag);
            let certain = found.unwrap_or_else(|| self.held.len() - begun(&self.held, tag));
            let before: String = self.held.drain(..certain).collect();
            match self.state {
                // After a call there are only lines' ends.
                State::Words if self.calls == 0 && !before.is_empty() => {
                    said.push(Said::Text(before));
                }
                State::Words => {}
                State::Name if found.is_some() => {
                    self.calls += 1;
                    said.push(Said::Call(before));
                }
                State::Name => self.held.insert_str(0, &before),
                State::Arguments if !before.is_empty() => said.push(Said::Arguments(before)),
                State::Arguments => {}
            }
            if found.is_none() {
                return said;
            }
            self.held.drain(..tag.len());
            self.state = match self.state {
                State::Words => State::Name,
                State::Name => State::Arguments,
                State::Arguments => State::Words,
            };
        }
    }

    /// The end of the reply: what was held back, if it was words after all.
    pub(super) fn finish(&mut self) -> Option<Said> {
        let rest = std::mem::take(&mut self.held);
        let is_words = self.state == State::Words && self.calls == 0 && !rest.is_empty();
        match self.state {
            _ if is_words => Some(Said::Text(rest)),
            State::Arguments if !rest.is_empty() => Some(Said::Arguments(rest)),
            _ => None,
        }
    }
}

/// Length of the longest end of a text that begins a tag.
fn begun(text: &str, tag: &str) -> usize {
    let longest = tag.len().min(text.len() + 1) - 1;
    (1..=longest)
        .rev()
        .find(|&n| text.ends_with(&tag[..n]))
        .unwrap_or(0)
}

#[cfg(test)]
#[path = "tools_tests.rs"]
mod tests;
