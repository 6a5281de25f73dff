//! What a user types in a chat: something to the model, or a command that begins with `/`.

use std::path::PathBuf;

/// One line of the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// For the model.
    Say(String),
    /// Forget the conversation.
    Reset,
    /// Begin anew under these instructions; none clears them.
    System(Option<String>),
    /// Write the conversation to a file.
    Save(PathBuf),
    /// Show the commands.
    Help,
    /// Leave.
    Quit,
    /// Nothing was typed.
    Nothing,
    /// A command that there is not, or one without what it needs: a sentence.
    Mistake(String),
}

/// The commands, for `/help`.
pub(super) const HELP: &str = "\
/reset          forget the conversation
/system TEXT    begin anew under these instructions (none: without)
/save FILE      write the conversation as one line of JSON, as `gigaro sft` reads it
/quit           leave (also Ctrl-D)
Ctrl-C stops a reply; a second one leaves.";

impl Line {
    /// Reads a line.
    pub(super) fn parse(line: &str) -> Self {
        let line = line.trim();
        let Some(command) = line.strip_prefix('/') else {
            return if line.is_empty() {
                Self::Nothing
            } else {
                Self::Say(line.to_owned())
            };
        };
        let (name, rest) = command
            .split_once(char::is_whitespace)
            .unwrap_or((command, ""));
        let rest = rest.trim();
        match name {
            "reset" => Self::Reset,
            "system" => Self::System((!rest.is_empty()).then(|| rest.to_owned())),
            "save" if rest.is_empty() => Self::Mistake("say where: /save FILE".into()),
            "save" => Self::Save(rest.into()),
            "help" | "?" => Self::Help,
            "quit" | "exit" => Self::Quit,
            _ => Self::Mistake(format!("there is no command /{name}; /help lists them")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_words_or_commands() {
        let check = |line, expected| assert_eq!(Line::parse(line), expected, "{line:?}");
        check(" hello / there\n", Line::Say("hello / there".into()));
        check("", Line::Nothing);
        check("/reset", Line::Reset);
        check(
            "/system  Be brief. ",
            Line::System(Some("Be brief.".into())),
        );
        check("/system", Line::System(None));
        check("/save a b.jsonl", Line::Save("a b.jsonl".into()));
        check("/save", Line::Mistake("say where: /save FILE".into()));
        check("/quit", Line::Quit);
        check(
            "/dance",
            Line::Mistake("there is no command /dance; /help lists them".into()),
        );
    }
}
