//! What a failed command tells its user, and the exit code that tells a script.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | it could not be done; the sentence on stderr says why and what to do |
//! | 2 | the arguments or the recipe make no sense |
//! | 130 | interrupted by Ctrl-C, after saving; the sentence says how to resume |

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

use crate::output::Output;

/// Exit code of a command that could not do its work.
pub(crate) const ERROR: u8 = 1;
/// Exit code for arguments or recipes that make no sense; clap uses the same.
pub(crate) const USAGE: u8 = 2;
/// Exit code after Ctrl-C: 128 + SIGINT, as shells report it.
pub(crate) const INTERRUPTED: u8 = 130;

/// Arguments or a recipe that make no sense, in a sentence.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

/// The user asked a command to stop, in a sentence that says what was saved and how to go on.
#[derive(Debug)]
pub(crate) struct Interrupted(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}
impl std::error::Error for Interrupted {}

/// Prints the sentence (on stderr, and as an object on stdout under `--json`) and returns the exit code.
pub(crate) fn report(error: &anyhow::Error, output: &Output) -> ExitCode {
    let sentence = sentence(error);
    let code = exit_code(error);
    let label = if code == INTERRUPTED {
        "interrupted"
    } else {
        "error"
    };
    output.complain(format!("{label}: {sentence}"));
    // If not even this can be written there is nobody left to tell.
    let _ = output.result(&json!({ label: sentence, "exit_code": code }));
    ExitCode::from(code)
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if error.chain().any(|cause| cause.is::<Interrupted>()) {
        INTERRUPTED
    } else if error.chain().any(|cause| cause.is::<Usage>()) {
        USAGE
    } else {
        ERROR
    }
}

/// The error and its causes, each once: library errors often repeat their source in their own words.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str("\n  because: ");
            text.push_str(&cause);
        }
    }
    text
}

/// Makes a panic one sentence for the user instead of a trace: whatever it is, it is our bug and not theirs.
pub(crate) fn install_panic_hook() {
    std::panic::set_hook(Box::new(|info| {
        let place = info
            .location()
            .map(|l| format!(" at {}:{}", l.file(), l.line()))
            .unwrap_or_default();
        let what = info.payload_as_str().unwrap_or("an unknown fault");
        let _ = writeln!(
            std::io::stderr(),
            "error: gigaro {} has a bug: {what}{place}. Checkpoints already written are whole. \
             Please report this line and the command you ran at {}/issues",
            env!("CARGO_PKG_VERSION"),
            env!("CARGO_PKG_REPOSITORY"),
        );
    }));
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn causes_are_listed_once_each() {
        let error = anyhow!("the disk is full")
            .context("cannot write a.txt: the disk is full")
            .context("saving failed");
        assert_eq!(
            sentence(&error),
            "saving failed\n  because: cannot write a.txt: the disk is full"
        );
    }

    #[test]
    fn exit_codes_survive_added_context() {
        let usage: anyhow::Result<()> = Err(Usage("no".into()).into());
        assert_eq!(
            exit_code(&usage.context("reading x").expect_err("an error")),
            USAGE
        );
        assert_eq!(
            exit_code(&anyhow::Error::from(Interrupted("saved".into())).context("c")),
            INTERRUPTED
        );
        assert_eq!(exit_code(&anyhow!("else")), ERROR);
    }
}
