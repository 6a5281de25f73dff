//! The template engine as transformers sets it up, with bounds.
//!
//! transformers renders with blocks trimmed, loop controls, Python's methods on strings and maps, and the functions
//! `raise_exception` and `strftime_now`. What is not set is empty or false; printing or looping over it is an error, as it
//! nearly always is a misspelt name.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value, context};
use serde_json::Map;

use super::{Date, python_json};
use crate::{Error, Result};

/// Longest template, in bytes; published ones have up to 20 thousand.
const MAX_SOURCE: usize = 1 << 20;
/// Steps that a template may take for any conversation, and more for each message and byte of text.
const FUEL: [u64; 3] = [200_000, 5_000, 1];
/// The variables that stand around what is learnt.
const MARKS: [&str; 2] = ["generation_begin_mark", "generation_end_mark"];
/// What `raise_exception` puts before its words, to be told from the engine's own.
const RAISED: &str = "raised: ";

/// What a template sees.
pub(super) struct Scene<'a> {
    /// Each with `role`, `content`, and what else an API gives it.
    pub(super) messages: Vec<Value>,
    /// Functions that may be called, as an API describes them; nothing if there is no word of any.
    pub(super) tools: Option<Value>,
    /// Bytes of all that, which bound the template's work.
    pub(super) bytes: usize,
    pub(super) add_generation_prompt: bool,
    /// `bos_token` and its like.
    pub(super) tokens: &'a Map<String, serde_json::Value>,
    /// What is written before and after what is learnt.
    pub(super) learn: [char; 2],
    pub(super) date: Date,
}

/// Replaces the tags `{% generation %}` and `{% endgeneration %}`, which are an extension of transformers, by blocks that
/// print a mark and trim the space around them as the tags would. Also says whether there were any.
pub(super) fn replace_generation_tags(source: &str) -> (String, bool) {
    let (mut out, mut rest, mut found) = (String::new(), source, false);
    while let Some(open) = rest.find("{%") {
        let (before, tag) = rest.split_at(open);
        // From behind the opening: in `{%}` the two share a character.
        let Some(close) = tag[2..].find("%}").map(|at| at + 2) else {
            break;
        };
        let inner = &tag[2..close];
        let (left, inner) = match inner.as_bytes().first() {
            Some(b'-' | b'+') => inner.split_at(1),
            _ => ("", inner),
        };
        let (inner, right) = match inner.as_bytes().last() {
            Some(b'-' | b'+') => inner.split_at(inner.len() - 1),
            _ => (inner, ""),
        };
        out.push_str(before);
        let mark = match inner.trim() {
            "generation" => Some(MARKS[0]),
            "endgeneration" => Some(MARKS[1]),
            _ => None,
        };
        match mark {
            Some(mark) => {
                found = true;
                out.push_str(&format!(
                    "{{%{left} if true %}}{{{{ {mark} }}}}{{% endif {right}%}}"
                ));
            }
            None => out.push_str(&tag[..close + 2]),
        }
        rest = &tag[close + 2..];
    }
    out.push_str(rest);
    (out, found)
}

/// An engine that holds the template.
pub(super) fn compile(source: &str, place: &str) -> Result<Environment<'static>> {
    if source.len() > MAX_SOURCE {
        let problem = format!("{} bytes are too many for a chat template", source.len());
        return Err(Error::malformed(place, problem, "is it another file?"));
    }
    let mut engine = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
        .map_err(|e| explain(&e, place))?;
    engine.set_syntax(syntax);
    engine.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    engine.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    engine.add_filter("tojson", python_json::tojson);
    engine.add_function("raise_exception", |message: String| {
        let message = format!("{RAISED}{message}");
        Err::<Value, _>(minijinja::Error::new(ErrorKind::InvalidOperation, message))
    });
    engine
        .add_template_owned(NAME, source.to_owned())
        .map_err(|e| explain(&e, place))?;
    Ok(engine)
}

/// Whether the template asks for something of that name.
pub(super) fn asks_for(engine: &Environment<'static>, name: &str) -> bool {
    let template = engine.get_template(NAME);
    template.is_ok_and(|template| template.undeclared_variables(false).contains(name))
}

/// The template's name inside its engine.
const NAME: &str = "chat_template";

/// What the template writes.
pub(super) fn render(engine: &Environment<'static>, place: &str, scene: Scene) -> Result<String> {
    let mut engine = engine.clone();
    let bytes = scene.bytes;
    let [always, per_message, per_byte] = FUEL;
    let messages = scene.messages.len() as u64;
    engine.set_fuel(Some(
        always + per_message * messages + per_byte * bytes as u64,
    ));
    let date = scene.date;
    engine.add_function("strftime_now", move |format: String| {
        strftime(date, &format)
    });
    for name in ["bos_token", "eos_token", "unk_token", "pad_token"] {
        engine.add_global(name, "");
    }
    for (name, token) in scene.tokens {
        engine.add_global(name.clone(), token.as_str().unwrap_or_default().to_owned());
    }
    let [begin, end] = scene.learn.map(String::from);
    engine.add_global(MARKS[0], begin);
    engine.add_global(MARKS[1], end);
    let add_generation_prompt = scene.add_generation_prompt;
    let scene = match scene.tools {
        Some(tools) => context! { messages => scene.messages, tools, add_generation_prompt },
        None => context! { messages => scene.messages, add_generation_prompt },
    };
    let template = engine.get_template(NAME).map_err(|e| explain(&e, place))?;
    template.render(scene).map_err(|e| explain(&e, place))
}

/// The engine's complaint as a sentence with the line.
fn explain(error: &minijinja::Error, place: &str) -> Error {
    let place = match error.line() {
        Some(line) => format!("{place}, line {line}"),
        None => place.to_owned(),
    };
    let detail = error.detail().unwrap_or_default();
    if let Some(words) = detail.strip_prefix(RAISED) {
        let problem = format!("the template refuses this conversation: {words}");
        let advice = "change the conversation, or use a template that takes it";
        return Error::malformed(place, problem, advice);
    }
    match error.kind() {
        ErrorKind::OutOfFuel => Error::malformed(
            place,
            "the template does more work than a conversation of this length can need",
            "look for a loop that does not end in time, or use another template",
        ),
        ErrorKind::UndefinedError => Error::malformed(
            place,
            format!("the template uses something that is not there ({detail})"),
            "correct the name; there are messages with role and content, add_generation_prompt, bos_token and eos_token",
        ),
        kind => Error::malformed(
            place,
            format!("the chat template fails: {kind}, {detail}"),
            "correct the template, or remove it to use the built-in format",
        ),
    }
}

/// A date as `strftime` writes it; other directives than those of a date stay as they are.
fn strftime(date: Date, format: &str) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let month = MONTHS[usize::from(date.month.clamp(1, 12)) - 1];
    let (mut out, mut characters) = (String::new(), format.chars());
    while let Some(c) = characters.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match characters.next() {
            Some('Y') => out.push_str(&date.year.to_string()),
            Some('y') => out.push_str(&format!("{:02}", date.year.rem_euclid(100))),
            Some('m') => out.push_str(&format!("{:02}", date.month)),
            Some('d') => out.push_str(&format!("{:02}", date.day)),
            Some('B') => out.push_str(month),
            Some('b' | 'h') => out.push_str(&month[..3]),
            Some('%') => out.push('%'),
            Some(other) => out.extend(['%', other]),
            None => out.push('%'),
        }
    }
    out
}
