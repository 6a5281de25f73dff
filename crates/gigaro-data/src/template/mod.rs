//! Conversations by a tokenizer's own chat template, the Jinja text that models come with.
//!
//! A model that was taught in one format answers badly in another, so whoever tunes it further keeps its format. Three
//! things are added to what a template engine does:
//!
//! - **No forged turns.** Special tokens that the template writes become ids; the same strings inside a message stay text
//!   (`guard.rs`).
//! - **What is learnt.** The answers: what stands in `{% generation %}` blocks where the template has them; else what an
//!   answer adds to the prompt before it, which is found by rendering both.
//! - **Bounds.** A template is foreign code that loops: its work and memory are limited in proportion to the messages.
//!
//! - **Functions.** Templates that have words for tools are given them, and the calls in earlier messages (`tools.rs`).
//!
//! Not here: pictures in messages. The house format, which needs no template, is in [`crate::chat`].

mod engine;
mod guard;
mod python_json;
#[cfg(test)]
mod tests;
mod tools;

use std::ops::Range;
use std::path::Path;

use minijinja::{Environment, context};
use serde_json::{Map, Value};

use crate::chat::{Message, Rendered, Role};
use crate::tokenizer::Before;
use crate::{Error, Result, Tokenizer};
use guard::Marks;

/// The file in a tokenizer's folder that holds the template among other settings.
pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// The file in a tokenizer's folder that holds nothing but the template; it wins.
pub const CHAT_TEMPLATE_FILE: &str = "chat_template.jinja";

/// A day, for templates that write today's date into the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// Such as 2026.
    pub year: i32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
}

/// Renders conversations by a Jinja template with the special tokens of one tokenizer.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    engine: Environment<'static>,
    source: String,
    place: String,
    tokenizer: Tokenizer,
    /// `bos_token` and its like by name.
    tokens: Map<String, Value>,
    /// Whether the template says itself what is learnt.
    says_what_is_learnt: bool,
    date: Date,
}

/// A conversation as the template wrote it, with marks.
struct Written {
    text: String,
    marks: Marks,
}

impl ChatTemplate {
    /// The template in `source`; `place` names it in messages. The date that it may ask for is the first of 2026 until
    /// [`ChatTemplate::on`] says otherwise, so that the same conversation gives the same tokens on every day.
    ///
    /// # Errors
    /// If it is no Jinja template, with the line.
    pub fn new(source: &str, place: &str, tokenizer: &Tokenizer) -> Result<ChatTemplate> {
        ChatTemplate::with_tokens(source, place, tokenizer, Map::new())
    }

    fn with_tokens(
        source: &str,
        place: &str,
        tokenizer: &Tokenizer,
        tokens: Map<String, Value>,
    ) -> Result<ChatTemplate> {
        let (source, says_what_is_learnt) = engine::replace_generation_tags(source);
        Ok(ChatTemplate {
            engine: engine::compile(&source, place)?,
            source,
            place: place.to_owned(),
            tokenizer: tokenizer.clone(),
            tokens,
            says_what_is_learnt,
            date: Date {
                year: 2026,
                month: 1,
                day: 1,
            },
        })
    }

    /// The template in a `tokenizer_config.json`; `None` if there is none in it.
    ///
    /// # Errors
    /// If the file is damaged, or the template is no Jinja template.
    pub fn from_tokenizer_config(
        bytes: &[u8],
        place: &str,
        tokenizer: &Tokenizer,
    ) -> Result<Option<ChatTemplate>> {
        let keys = config_keys(bytes, place)?;
        let source = match keys.get("chat_template") {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(source)) => source,
            Some(Value::Array(several)) => several
                .iter()
                .find(|one| one["name"] == "default")
                .and_then(|one| one["template"].as_str())
                .ok_or_else(|| {
                    bad_config(place, "none of its chat templates is the default".into())
                })?,
            Some(_) => return Err(bad_config(place, "its chat_template is no text".into())),
        };
        let inside = format!("{place}, chat_template");
        let template = ChatTemplate::with_tokens(source, &inside, tokenizer, special_names(&keys));
        template.map(Some)
    }

    /// The template in the folder of a tokenizer: [`CHAT_TEMPLATE_FILE`], or else the one in [`TOKENIZER_CONFIG`]; `None` if
    /// neither is there.
    ///
    /// # Errors
    /// If a file cannot be read, is damaged, or the template is no Jinja template.
    pub fn find(folder: &Path, tokenizer: &Tokenizer) -> Result<Option<ChatTemplate>> {
        ChatTemplate::from_files(&files(folder)?, folder, tokenizer)
    }

    /// The template in files as [`files`] gives them; `folder` is where they are, for messages.
    ///
    /// # Errors
    /// If a file is damaged, or the template is no Jinja template.
    pub fn from_files(
        files: &[(String, Vec<u8>)],
        folder: &Path,
        tokenizer: &Tokenizer,
    ) -> Result<Option<ChatTemplate>> {
        let named = |name: &str| {
            let (_, bytes) = files.iter().find(|(known, _)| known == name)?;
            Some((bytes, folder.join(name).display().to_string()))
        };
        let config = named(TOKENIZER_CONFIG);
        if let Some((bytes, place)) = named(CHAT_TEMPLATE_FILE) {
            let Ok(source) = std::str::from_utf8(bytes) else {
                return Err(Error::malformed(
                    place,
                    "it is not UTF-8",
                    "save it as UTF-8",
                ));
            };
            let keys = match &config {
                Some((bytes, place)) => config_keys(bytes, place)?,
                None => Map::new(),
            };
            let names = special_names(&keys);
            return ChatTemplate::with_tokens(source, &place, tokenizer, names).map(Some);
        }
        match config {
            Some((bytes, place)) => ChatTemplate::from_tokenizer_config(bytes, &place, tokenizer),
            None => Ok(None),
        }
    }

    /// The same, with the date that `strftime_now` gives.
    #[must_use]
    pub fn on(mut self, date: Date) -> ChatTemplate {
        self.date = date;
        self
    }

    /// The conversation as text; with `add_generation_prompt` up to where the next answer begins.
    ///
    /// # Errors
    /// If the template refuses the messages or breaks down, with the line, or it does more work than messages of this
    /// length can need.
    pub fn text(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let written = self.write(messages, add_generation_prompt)?;
        Ok(written.marks.remove(&written.text))
    }

    /// A whole conversation with its loss mask, for training.
    ///
    /// # Errors
    /// As [`ChatTemplate::text`], or if an answer does not simply follow its prompt, so that what is learnt cannot be told.
    pub fn render(&self, messages: &[Message]) -> Result<Rendered> {
        let written = self.write(messages, false)?;
        if self.says_what_is_learnt {
            return Ok(self.tokens_of(&written, &[]));
        }
        let mut answers: Vec<Range<usize>> = Vec::new();
        for (i, message) in messages.iter().enumerate() {
            if message.role != Role::Assistant {
                continue;
            }
            let prompt = self.write_marked(&messages[..i], true, &written.marks)?;
            let until = if i + 1 == messages.len() {
                written.text.clone()
            } else {
                self.write_marked(&messages[..=i], false, &written.marks)?
            };
            if !(until.starts_with(&prompt) && written.text.starts_with(&until)) {
                let problem = format!(
                    "message {} is not written as a continuation of what stands before it, so its words cannot be found",
                    i + 1
                );
                let advice = "put {% generation %} and {% endgeneration %} around the answer in the template";
                return Err(Error::malformed(&self.place, problem, advice));
            }
            answers.push(prompt.len()..until.len());
        }
        Ok(self.tokens_of(&written, &answers))
    }

    /// What a model reads before it writes the next answer; never nothing.
    ///
    /// # Errors
    /// As [`ChatTemplate::text`], or if the template writes nothing at all.
    pub fn prompt(&self, messages: &[Message]) -> Result<Vec<u32>> {
        self.to_be_answered(&self.write(messages, true)?)
    }

    /// The tokens of what was written; never none.
    fn to_be_answered(&self, written: &Written) -> Result<Vec<u32>> {
        let ids = self.tokens_of(written, &[]).ids;
        if ids.is_empty() {
            return Err(Error::malformed(
                &self.place,
                "the template writes nothing for this conversation, so there is nothing to answer",
                "use another template",
            ));
        }
        Ok(ids)
    }

    /// What a model should write after [`ChatTemplate::prompt`] for this answer: up to the token that ends it, if the template
    /// writes one; what it writes after that is for the next turn.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`].
    pub fn answer(&self, messages: &[Message], answer: &str) -> Result<Vec<u32>> {
        let prompt = self.prompt(messages)?;
        let mut all = messages.to_vec();
        all.push(Message::assistant(answer));
        let mut ids = self.render(&all)?.ids;
        if !ids.starts_with(&prompt) {
            return Err(Error::malformed(
                &self.place,
                "an answer is not written as a continuation of what stands before it, so its words cannot be found",
                "use a template that writes the same turns before an answer as it does to ask for one",
            ));
        }
        ids.drain(..prompt.len());
        let end = ids.iter().rposition(|&id| self.tokenizer.is_special(id));
        ids.truncate(end.map_or(ids.len(), |at| at + 1));
        Ok(ids)
    }

    /// The tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn write(&self, messages: &[Message], add_generation_prompt: bool) -> Result<Written> {
        let texts = messages.iter().map(|m| m.content.as_str());
        let texts = texts.chain([self.source.as_str()]);
        let Some(marks) = Marks::absent_from(texts) else {
            return Err(Error::malformed(
                &self.place,
                "the messages hold every one of Unicode's noncharacters, of which three are needed to keep words and marks apart",
                "take the noncharacters U+FDD0 to U+FDEF out of the messages",
            ));
        };
        let text = self.write_marked(messages, add_generation_prompt, &marks)?;
        Ok(Written { text, marks })
    }

    fn write_marked(&self, messages: &[Message], prompt: bool, marks: &Marks) -> Result<String> {
        let specials = self.tokenizer.specials();
        let guarded = messages.iter().map(|m| {
            let content = marks.guard(&m.content, specials);
            context! { role => m.role.name(), content }
        });
        let scene = engine::Scene {
            messages: guarded.collect(),
            tools: None,
            bytes: messages.iter().map(|m| m.content.len()).sum(),
            add_generation_prompt: prompt,
            tokens: &self.tokens,
            learn: marks.learn(),
            date: self.date,
        };
        engine::render(&self.engine, &self.place, scene)
    }

    /// Cuts at special tokens, at marks, and where answers begin and end, as a model meets the pieces when it answers.
    fn tokens_of(&self, written: &Written, answers: &[Range<usize>]) -> Rendered {
        let (text, marks) = (&written.text, &written.marks);
        let (mut out, mut words) = (Rendered::default(), String::new());
        let (mut at, mut marked) = (0, false);
        let mut learn = false;
        let flush = |words: &mut String, out: &mut Rendered, learn: bool| {
            let before = match out.ids.last() {
                None => Before::Nothing,
                Some(&id) if self.is_written_special(id) => Before::Special,
                Some(_) => Before::Text,
            };
            self.tokenizer.encode_after(words, before, &mut out.ids);
            out.loss.resize(out.ids.len(), learn);
            words.clear();
        };
        while let Some(c) = text[at..].chars().next() {
            let now = marked || answers.iter().any(|range| range.contains(&at));
            if now != learn || answers.iter().any(|range| range.start == at) {
                flush(&mut words, &mut out, learn);
                learn = now;
            }
            if let Some((name, id)) = self.special_at(&text[at..]) {
                flush(&mut words, &mut out, learn);
                out.ids.push(id);
                out.loss.push(learn);
                at += name.len();
                continue;
            }
            if marks.is_mark(c) {
                marked = marks.is_learnt_after(c, marked);
            } else {
                words.push(c);
            }
            at += c.len_utf8();
        }
        flush(&mut words, &mut out, learn);
        out
    }

    fn is_written_special(&self, id: u32) -> bool {
        let specials = self.tokenizer.specials();
        specials.binary_search_by_key(&id, |&(_, id)| id).is_ok()
    }

    /// The longest special token that a text begins with.
    fn special_at(&self, text: &str) -> Option<(&str, u32)> {
        self.tokenizer
            .specials()
            .iter()
            .filter(|(name, _)| guard::is_guarded(name) && text.starts_with(name.as_str()))
            .max_by_key(|(name, _)| name.len())
            .map(|(name, id)| (name.as_str(), *id))
    }
}

/// The files in a folder from which the template of its tokenizer is read, name and bytes, as far as they are there: what has to
/// go along with a model that is to be asked in its own format.
///
/// # Errors
/// If one is there and cannot be read.
pub fn files(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for name in [TOKENIZER_CONFIG, CHAT_TEMPLATE_FILE] {
        let path = folder.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => found.push((name.to_owned(), bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("read", path, e)),
        }
    }
    Ok(found)
}

fn bad_config(place: &str, problem: String) -> Error {
    let advice = "give the tokenizer_config.json that came with the tokenizer";
    Error::malformed(place, problem, advice)
}

fn config_keys(bytes: &[u8], place: &str) -> Result<Map<String, Value>> {
    serde_json::from_slice(bytes).map_err(|e| bad_config(place, format!("not a JSON object: {e}")))
}

/// `bos_token` and its like, which are texts, or objects with a text in `content`.
fn special_names(keys: &Map<String, Value>) -> Map<String, Value> {
    let named = keys.iter().filter(|(key, _)| key.ends_with("_token"));
    named
        .filter_map(|(key, value)| {
            let text = value.as_str().or(value["content"].as_str())?;
            Some((key.clone(), text.into()))
        })
        .collect()
}
