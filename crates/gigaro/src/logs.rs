//! Where events of a service go: lines on stderr, for people or for programs.
//!
//! The libraries only say what happens (`tracing`); that nothing of users stands in it is their business, and tested there. Lines go through
//! a thread of their own: whoever reads them may be slow or have stopped, and no reply waits for that. Then lines are lost.

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::time::Duration;

use anyhow::{Context, Result};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::failure::Usage;

/// The form of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Form {
    /// For people
    Text,
    /// An object on each line, for programs
    Json,
    /// None at all
    Off,
}

/// Lines that wait to be written, at most.
const WAITING: usize = 4096;
/// How long the end of the program waits for the last lines.
const PATIENCE: Duration = Duration::from_secs(1);

enum Message {
    Line(Vec<u8>),
    /// All lines before this are written when the other end hears of it.
    Flush(Sender<()>),
}

/// Takes whole lines, and never waits.
#[derive(Clone)]
struct Lines(SyncSender<Message>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A line for which there is no room is lost.
        let _ = self.0.try_send(Message::Line(bytes.to_vec()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written until it is dropped, which waits for the last lines.
pub(crate) struct Log(Option<Lines>);

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(Lines(lines)) = &self.0 {
            let (written, heard) = mpsc::channel();
            if lines.try_send(Message::Flush(written)).is_ok() {
                let _ = heard.recv_timeout(PATIENCE);
            }
        }
    }
}

/// A word by itself is a level; the library would also take it for the name of a part that is to tell everything.
fn filter(levels: &str) -> Option<Targets> {
    let is_level = |part: &str| {
        let is_word = !part.trim().is_empty() && part.trim().parse::<LevelFilter>().is_ok();
        part.contains('=') || is_word
    };
    let parsed = levels.parse().ok();
    parsed.filter(|_| levels.split(',').all(is_level))
}

fn write_on(lines: &Receiver<Message>) {
    for message in lines {
        match message {
            // There is nobody left to tell that it cannot be written.
            Message::Line(line) => drop(io::stderr().lock().write_all(&line)),
            Message::Flush(written) => drop(written.send(())),
        }
    }
}

/// Writes events from now on, once for the whole command. `levels` is a level, or levels by part: `info,gigaro_serve=debug`.
///
/// # Errors
/// If `levels` names no level, or the system gives no thread.
pub(crate) fn start(form: Form, levels: &str) -> Result<Log> {
    let filter = filter(levels).ok_or_else(|| {
        Usage(format!(
            "--log-level {levels} is no level: give off, error, warn, info, debug or trace, or parts as in info,gigaro_serve=debug"
        ))
    })?;
    let (sender, receiver) = mpsc::sync_channel(WAITING);
    let lines = Lines(sender);
    let writer = lines.clone();
    let layer = fmt::layer().with_writer(move || writer.clone());
    let layer = match form {
        Form::Off => return Ok(Log(None)),
        Form::Text => layer.with_filter(filter).boxed(),
        Form::Json => {
            let json = layer.json().flatten_event(true);
            let json = json.with_current_span(false).with_span_list(false);
            json.with_filter(filter).boxed()
        }
    };
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_on(&receiver))
        .context("cannot start the thread that writes the log")?;
    // Whoever was here before writes the same lines.
    let _ = tracing_subscriber::registry().with(layer).try_init();
    Ok(Log(Some(lines)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_levels_and_no_other_words() {
        for fine in [
            "info",
            "off",
            "WARN",
            "info,gigaro_serve=debug",
            "gigaro::request=off",
        ] {
            assert!(filter(fine).is_some(), "{fine}");
        }
        for odd in ["", "loud", "info,loud", "gigaro_serve=loud"] {
            assert!(filter(odd).is_none(), "{odd}");
        }
    }
}
