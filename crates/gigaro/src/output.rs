//! Where words go: results to stdout, and under `--json` one object as its last line while the words go to stderr.
//!
//! A reader who closes the pipe (`gigaro ... | head`) is no error: what is written after that is dropped, and the work goes on, because
//! a training run must not die with its reader. Commands that only print ask [`Output::is_closed`] and stop.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

/// The streams of one command.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    closed: AtomicBool,
}

impl Output {
    /// `json`: keep stdout for one object.
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            closed: AtomicBool::new(false),
        }
    }

    /// A line for a person.
    pub(crate) fn say(&self, line: impl Display) {
        self.piece(format_args!("{line}\n"));
    }

    /// Text for a person without a line end, shown at once.
    pub(crate) fn piece(&self, text: impl Display) {
        if self.json {
            self.note_errors(write_now(&mut io::stderr().lock(), text));
        } else {
            self.note_errors(write_now(&mut io::stdout().lock(), text));
        }
    }

    /// A line about trouble, on stderr whatever the mode.
    pub(crate) fn complain(&self, line: impl Display) {
        let _ = write_now(&mut io::stderr().lock(), format_args!("{line}\n"));
    }

    /// Aligned `name  value` lines under a heading; pairs with an empty value are left out.
    pub(crate) fn fields(&self, heading: &str, pairs: &[(&str, String)]) {
        let shown = || pairs.iter().filter(|(_, value)| !value.is_empty());
        let width = shown()
            .map(|(name, _)| name.chars().count())
            .max()
            .unwrap_or(0);
        self.say(heading);
        for (name, value) in shown() {
            self.say(format_args!("  {name:width$}  {value}"));
        }
    }

    /// Under `--json`, the object that ends stdout; otherwise nothing.
    ///
    /// # Errors
    /// If the object cannot be written as JSON (a number that is not finite is written as null).
    pub(crate) fn result(&self, object: &impl Serialize) -> anyhow::Result<()> {
        if self.json {
            let line = serde_json::to_string(object)?;
            self.note_errors(write_now(
                &mut io::stdout().lock(),
                format_args!("{line}\n"),
            ));
        }
        Ok(())
    }

    /// Whether stdout carries one object.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether the reader has gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Whether moving bars may be drawn.
    pub(crate) fn has_bars() -> bool {
        io::stderr().is_terminal()
    }

    fn note_errors(&self, written: io::Result<()>) {
        if written.is_err() {
            self.closed.store(true, Ordering::Relaxed);
        }
    }
}

fn write_now(stream: &mut impl Write, text: impl Display) -> io::Result<()> {
    write!(stream, "{text}")?;
    stream.flush()
}
