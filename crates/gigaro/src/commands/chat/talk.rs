//! A conversation as it stands, wherever the model is: what was said, and what the commands do with it.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use gigaro_data::chat::Message;
use serde_json::json;

use super::words::{HELP, Line};
use crate::output::Output;

/// The instructions and the turns after them.
#[derive(Debug, Default)]
pub(super) struct Talk {
    pub(super) system: Option<String>,
    /// In order.
    pub(super) turns: Vec<Message>,
}

impl Talk {
    /// Nothing said yet.
    pub(super) fn new(system: Option<String>) -> Self {
        Self {
            system,
            turns: Vec::new(),
        }
    }

    /// All of it, as a model is given it.
    pub(super) fn messages(&self) -> Vec<Message> {
        let system = self.system.iter().map(Message::system);
        system.chain(self.turns.iter().cloned()).collect()
    }

    /// Does what a command says.
    pub(super) fn obey(&mut self, line: Line, output: &Output) {
        match line {
            Line::Reset => {
                self.turns.clear();
                output.say("(forgotten)");
            }
            Line::System(instructions) => {
                self.turns.clear();
                self.system = instructions;
                output.say("(begun anew)");
            }
            Line::Save(path) => match self.save(&path) {
                Ok(()) => output.say(format_args!("(saved to {})", path.display())),
                Err(error) => output.complain(format_args!("error: {error:#}")),
            },
            Line::Help => output.say(HELP),
            Line::Mistake(sentence) => output.complain(sentence),
            Line::Nothing | Line::Say(_) | Line::Quit => {}
        }
    }

    fn save(&self, path: &Path) -> Result<()> {
        let shown = path.display();
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .with_context(|| format!("cannot make {shown}"))?;
        let line = json!({ "messages": self.messages() });
        writeln!(file, "{line}").with_context(|| format!("cannot write {shown}"))
    }
}
