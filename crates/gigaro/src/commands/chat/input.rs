//! Where a chat's lines come from: an edited line with history on a terminal, plain lines elsewhere.

use std::io::{self, BufRead, IsTerminal};

use anyhow::{Context, Result};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use crate::failure::Usage;

/// The user's side of the chat.
pub(super) enum Input {
    /// A person at a terminal.
    Terminal(Box<DefaultEditor>),
    /// A pipe or a file.
    Lines(io::Lines<io::StdinLock<'static>>),
}

impl Input {
    /// Whatever stdin is.
    ///
    /// # Errors
    /// If the terminal does not let lines be edited.
    pub(super) fn new() -> Result<Self> {
        if io::stdin().is_terminal() {
            let editor = DefaultEditor::new().context("cannot edit lines on this terminal")?;
            Ok(Self::Terminal(Box::new(editor)))
        } else {
            Ok(Self::Lines(io::stdin().lock().lines()))
        }
    }

    /// The next line; `None` when the user leaves (end of input, or Ctrl-C at the prompt).
    ///
    /// # Errors
    /// If stdin cannot be read or is not UTF-8.
    pub(super) fn next(&mut self) -> Result<Option<String>> {
        match self {
            Self::Lines(lines) => match lines.next().transpose() {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Usage(
                    "a line on stdin is not UTF-8 text: convert it first, such as with `iconv -f latin1 -t utf-8`"
                        .into(),
                )
                .into()),
                line => line.context("cannot read stdin"),
            },
            Self::Terminal(editor) => match editor.readline("you> ") {
                Ok(line) => {
                    // A line that history refuses (a repeat) is no trouble.
                    let _ = editor.add_history_entry(&line);
                    Ok(Some(line))
                }
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => Ok(None),
                Err(error) => Err(error).context("cannot read from the terminal"),
            },
        }
    }

    /// Whether a person watches.
    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal(_))
    }
}
