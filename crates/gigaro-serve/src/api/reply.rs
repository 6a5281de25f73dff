//! The text of a reply on its way to a client: without the space that stands before every message, and with calls taken apart.
//!
//! How they are told is beside each address (`chat.rs`, `responses.rs`).

use gigaro_data::chat::message_text;
use gigaro_models::generate::FinishReason;

use super::sampling;
use super::tools::{CallReader, Said};

/// An id by which what a function gives is told to belong to its call.
pub(super) fn call_id() -> String {
    format!("call_{:016x}", sampling::random())
}

/// A reply of which pieces come in.
pub(super) struct ReplyText {
    /// Whether there was text already.
    begun: bool,
    calls: Option<CallReader>,
}

impl ReplyText {
    pub(super) fn new(with_calls: bool) -> Self {
        Self {
            begun: false,
            calls: with_calls.then(CallReader::default),
        }
    }

    /// What is certain with another piece.
    pub(super) fn push(&mut self, piece: &str) -> Vec<Said> {
        let begun = self.begun;
        self.begun |= !piece.is_empty();
        let piece = if begun { piece } else { message_text(piece) };
        match &mut self.calls {
            Some(calls) => calls.push(piece),
            None if piece.is_empty() => Vec::new(),
            None => vec![Said::Text(piece.to_owned())],
        }
    }

    /// What was held back, when there is no more.
    pub(super) fn finish(&mut self) -> Option<Said> {
        self.calls.as_mut().and_then(CallReader::finish)
    }

    /// How many functions were called.
    pub(super) fn called(&self) -> usize {
        self.calls.as_ref().map_or(0, CallReader::calls)
    }

    /// Why the reply ended, in OpenAI's words.
    pub(super) fn reason(&self, reason: FinishReason) -> &'static str {
        match reason {
            FinishReason::Stop if self.called() > 0 => "tool_calls",
            other => other.as_str(),
        }
    }
}

/// The words of a reply, and its calls: name and arguments.
pub(super) fn put_together(said: Vec<Said>) -> (String, Vec<(String, String)>) {
    let (mut words, mut calls) = (String::new(), Vec::<(String, String)>::new());
    for said in said {
        match said {
            Said::Text(text) => words += &text,
            Said::Call(name) => calls.push((name, String::new())),
            // Arguments only come behind a call.
            Said::Arguments(more) => {
                if let Some((_, arguments)) = calls.last_mut() {
                    *arguments += &more;
                }
            }
        }
    }
    (words, calls)
}
