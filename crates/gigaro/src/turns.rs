//! How a model is given a conversation: in the format of the chat template beside its tokenizer, or in the house format.
//!
//! Whatever trains, asks or compares a model asks here, so that a model meets the same format everywhere.

use std::path::Path;

use anyhow::{Context, Result};
use gigaro_data::Tokenizer;
use gigaro_data::chat::{ChatFormat, Message, Rendered};
use gigaro_data::template::{ChatTemplate, Date};
use gigaro_train::quantity::Timestamp;
use serde_json::Value;

use crate::trained::Trained;

/// How conversations are written.
pub(crate) enum Turns {
    /// Special tokens of our own.
    House(ChatFormat),
    /// The tokenizer's own format.
    Template(Box<ChatTemplate>),
}

impl Turns {
    /// The format of a model.
    ///
    /// # Errors
    /// If its template is damaged, or it has none and its tokenizer lacks the tokens of the house format.
    pub(crate) fn of(trained: &Trained) -> Result<Self> {
        Self::beside(&trained.tokenizer, &trained.beside, &trained.dir)
    }

    /// The format of a tokenizer with these files beside it, which were found in the folder `dir`.
    ///
    /// # Errors
    /// As [`Turns::of`].
    pub(crate) fn beside(
        tokenizer: &Tokenizer,
        files: &[(String, Vec<u8>)],
        dir: &Path,
    ) -> Result<Self> {
        if let Some(template) = ChatTemplate::from_files(files, dir, tokenizer)? {
            return Ok(Self::Template(template.into()));
        }
        let format =
            ChatFormat::new(tokenizer).context("this tokenizer cannot write conversations")?;
        Ok(Self::House(format))
    }

    /// The model's own format; `None` if it has none, whatever its tokenizer.
    ///
    /// # Errors
    /// If its template is damaged.
    pub(crate) fn own(trained: &Trained) -> Result<Option<Self>> {
        let found = ChatTemplate::from_files(&trained.beside, &trained.dir, &trained.tokenizer)?;
        Ok(found.map(|template| Self::Template(template.into())))
    }

    /// The same with today's date, which some templates tell the model. Training and comparisons keep one date instead, so that they
    /// can be repeated.
    #[must_use]
    pub(crate) fn today(self) -> Self {
        match self {
            Self::House(format) => Self::House(format),
            Self::Template(template) => Self::Template(template.on(today()).into()),
        }
    }

    /// Whether it is the tokenizer's own.
    pub(crate) fn is_template(&self) -> bool {
        matches!(self, Self::Template(_))
    }

    /// A whole conversation with its loss mask.
    ///
    /// # Errors
    /// If the template refuses it.
    pub(crate) fn render(&self, messages: &[Message]) -> gigaro_data::Result<Rendered> {
        match self {
            Self::House(format) => Ok(format.render(messages)),
            Self::Template(template) => template.render(messages),
        }
    }

    /// What a model reads before it writes the next answer; never nothing.
    ///
    /// # Errors
    /// If the template refuses the conversation.
    pub(crate) fn prompt(&self, messages: &[Message]) -> gigaro_data::Result<Vec<u32>> {
        match self {
            Self::House(format) => Ok(format.prompt(messages)),
            Self::Template(template) => template.prompt(messages),
        }
    }

    /// Whether it has words for functions that may be called.
    pub(crate) fn knows_tools(&self) -> bool {
        match self {
            Self::House(_) => false,
            Self::Template(template) => template.knows_tools(),
        }
    }

    /// What a model reads before it writes the next answer, in which it may call functions; messages and functions as the API has them.
    ///
    /// # Errors
    /// If the format has no words for functions, or the template refuses the conversation.
    pub(crate) fn prompt_with_tools(
        &self,
        messages: &[Value],
        tools: &[Value],
    ) -> gigaro_data::Result<Vec<u32>> {
        match self {
            Self::House(_) => Err(gigaro_data::Error::Setting {
                problem: "the house format has no words for functions".into(),
                advice: "tell the model of them in the system's message".into(),
            }),
            Self::Template(template) => template.prompt_with_tools(messages, tools),
        }
    }

    /// What a model should write for this answer to the conversation.
    ///
    /// # Errors
    /// If the template refuses it.
    pub(crate) fn answer(
        &self,
        messages: &[Message],
        answer: &str,
    ) -> gigaro_data::Result<Vec<u32>> {
        match self {
            Self::House(format) => Ok(format.answer(answer)),
            Self::Template(template) => template.answer(messages, answer),
        }
    }
}

/// The date in UTC.
pub(crate) fn today() -> Date {
    let (year, month, day) = Timestamp::now().date();
    Date {
        year: year.try_into().unwrap_or(i32::MAX),
        month: month.try_into().unwrap_or(1),
        day: day.try_into().unwrap_or(1),
    }
}
