//! `cargo xtask check`: the list of steps, cheapest first, and the loop that runs them.
//!
//! A step is a line in [`STEPS`]. Those that call a tool and find it missing fail and say how to install it; none is
//! ever passed over in silence. The rules behind the `tidy` step are in [`crate::tidy`].

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::{licences, metadata, tidy};

/// One check, and what to do when it fails.
struct Step {
    name: &'static str,
    action: Action,
    remedy: &'static str,
}

/// How a step is carried out.
enum Action {
    /// A program with its arguments and additional environment variables.
    Program(
        &'static [&'static str],
        &'static [(&'static str, &'static str)],
    ),
    /// A function of this crate that returns its complaints.
    Own(fn(&Path) -> Result<Vec<String>, String>),
}

/// Clippy, rustdoc and the tests share the release profile, so that build scripts and procedural macros are compiled
/// once for all three.
const STEPS: [Step; 9] = [
    Step {
        name: "format",
        action: Action::Program(&["cargo", "fmt", "--all", "--check"], &[]),
        remedy: "Run `cargo fmt --all`.",
    },
    Step {
        name: "typos",
        action: Action::Program(&["typos", "--config", "typos.toml"], &[]),
        remedy: "Correct the word (`typos --write-changes`), or add a term of the field to typos.toml. \
                 If the program is missing: `pip install typos==1.52.0` (a prebuilt binary), or `cargo install typos-cli`.",
    },
    Step {
        name: "licences",
        action: Action::Own(licence_findings),
        remedy: "Choose another crate, or change deny.toml with the reason beside it.",
    },
    Step {
        name: "tidy",
        action: Action::Own(tidy::findings),
        remedy: "Each line names a file, a rule and its reason; the rules are listed in STYLE.md.",
    },
    Step {
        name: "clippy",
        action: Action::Program(
            &[
                "cargo",
                "clippy",
                "--workspace",
                "--release",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ],
            &[],
        ),
        remedy: "Follow the lint, or `#[expect(lint, reason = \"…\")]` where it is wrong. \
                 If clippy is missing: `rustup component add clippy`.",
    },
    Step {
        name: "features",
        // What is left out of the usual build.
        action: Action::Program(
            &[
                "cargo",
                "clippy",
                "--release",
                "--package",
                "gigaro",
                "--package",
                "gigaro-serve",
                "--features",
                "otel",
                "--",
                "-D",
                "warnings",
            ],
            &[],
        ),
        remedy: "Something behind a cargo feature does not fit the rest any more; follow the complaint.",
    },
    Step {
        name: "fuzz",
        // A workspace of its own, which no other step sees; in the same target folder most of it is compiled already.
        action: Action::Program(
            &[
                "cargo",
                "check",
                "--manifest-path",
                "fuzz/Cargo.toml",
                "--release",
                "--target-dir",
                "target",
                "--quiet",
            ],
            &[],
        ),
        remedy: "A target in fuzz/ calls what is no longer there, or fuzz/Cargo.lock is old; see fuzz/README.md.",
    },
    Step {
        name: "docs",
        action: Action::Program(
            &[
                "cargo",
                "doc",
                "--workspace",
                "--release",
                "--no-deps",
                "--quiet",
            ],
            &[("RUSTDOCFLAGS", "-D warnings")],
        ),
        remedy: "Repair the link or the missing sentence that rustdoc names.",
    },
    Step {
        name: TESTS,
        action: Action::Program(&["cargo", "test", "--workspace", "--release"], &[]),
        remedy: "Run the failing test alone: `cargo test --release -p CRATE NAME -- --nocapture`.",
    },
];

/// The step that `--fast` leaves out.
const TESTS: &str = "tests";

/// What the command line asked for.
#[derive(Default)]
pub(crate) struct Options {
    fast: bool,
    keep_going: bool,
    only: Vec<String>,
}

impl Options {
    /// Reads the words after `check`.
    pub(crate) fn parse(words: &[&str]) -> Result<Self, String> {
        let mut options = Options::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--fast" => options.fast = true,
                "--keep-going" => options.keep_going = true,
                "--only" => options.only.push(step_name(words.next().copied())?),
                other => {
                    return Err(format!(
                        "`{other}` is not an option of check; try `cargo xtask help`."
                    ));
                }
            }
        }
        Ok(options)
    }

    fn wants(&self, step: &Step) -> bool {
        let named = self.only.is_empty() || self.only.iter().any(|name| name == step.name);
        named && !(self.fast && step.name == TESTS)
    }
}

fn step_name(word: Option<&str>) -> Result<String, String> {
    let names = STEPS.map(|s| s.name);
    let known = word.filter(|w| names.contains(w));
    known
        .map(str::to_owned)
        .ok_or_else(|| format!("--only takes one of: {}.", names.join(", ")))
}

/// Runs the steps in order, printing name, seconds and, for a failure, what to do.
pub(crate) fn run(root: &Path, options: &Options) -> Result<(), String> {
    let mut failed = Vec::new();
    for step in STEPS.iter().filter(|s| options.wants(s)) {
        println!("== {}", step.name);
        let start = Instant::now();
        let outcome = step.action.perform(root);
        let seconds = start.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => println!("== {}: ok in {seconds:.1} s", step.name),
            Err(sentence) => {
                println!(
                    "{sentence}\n== {}: FAILED after {seconds:.1} s. {}",
                    step.name, step.remedy
                );
                failed.push(step.name);
                if !options.keep_going {
                    break;
                }
            }
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("cargo xtask check failed: {}.", failed.join(", ")))
    }
}

impl Action {
    fn perform(&self, root: &Path) -> Result<(), String> {
        match self {
            Action::Program(words, variables) => {
                let mut command = Command::new(words[0]);
                command
                    .args(&words[1..])
                    .envs(variables.iter().copied())
                    .current_dir(root);
                match command.status() {
                    Ok(status) if status.success() => Ok(()),
                    Ok(status) => Err(format!("`{}` ended with {status}.", words.join(" "))),
                    Err(e) if e.kind() == ErrorKind::NotFound => {
                        Err(format!("The program `{}` is not installed.", words[0]))
                    }
                    Err(e) => Err(format!("`{}` could not be started: {e}.", words[0])),
                }
            }
            Action::Own(findings) => {
                let found = findings(root)?;
                if found.is_empty() {
                    Ok(())
                } else {
                    Err(found.join("\n"))
                }
            }
        }
    }
}

fn licence_findings(root: &Path) -> Result<Vec<String>, String> {
    licences::findings(root, &metadata::packages(root)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_leaves_out_the_tests_and_only_them() {
        let options = Options::parse(&["--fast"]).unwrap();
        let left: Vec<&str> = STEPS
            .iter()
            .filter(|s| options.wants(s))
            .map(|s| s.name)
            .collect();
        assert_eq!(left.len(), STEPS.len() - 1);
        assert!(!left.contains(&TESTS));
    }

    #[test]
    fn an_unknown_step_or_option_is_refused_by_name() {
        assert!(
            Options::parse(&["--only", "tset"])
                .err()
                .unwrap()
                .contains("clippy")
        );
        assert!(
            Options::parse(&["--quick"])
                .err()
                .unwrap()
                .contains("--quick")
        );
    }

    #[test]
    fn a_missing_program_fails_and_is_named() {
        let action = Action::Program(&["gigaro-no-such-program"], &[]);
        assert!(
            action
                .perform(Path::new("."))
                .unwrap_err()
                .contains("is not installed")
        );
    }
}
