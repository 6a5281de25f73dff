//! `cargo xtask`: the project's checks as a program, so that a laptop and CI run the same ones.
//!
//! It builds and ships nothing. The list of steps is in [`check`], the rules about the source tree in [`tidy`], the
//! licences in [`licences`]; `ratchet` rewrites the list of long functions after one has become shorter. Programs of others and crowds
//! are put to a served model by [`clients`], and kernels for graphics cards are compiled by [`cuda`] and put to
//! one by [`gpu_check`].
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program speaks to its caller"
)]

mod check;
mod clients;
mod cuda;
mod gpu_check;
mod licences;
mod metadata;
mod program;
mod source;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask COMMAND

Commands:
  check                 every check, cheapest first: format, typos, licences, tidy, clippy, features, fuzz, docs, tests
  check --fast          the same without the tests
  check --only STEP     one step (may be repeated)
  check --keep-going    do not stop at the first step that fails
  ratchet               shorten xtask/long_functions.txt to what is true now; never lengthens it
  cuda                  every kernel for graphics cards, compiled for every kind of card: registers, spills; installs NVRTC under target/
  gpu-check [--peer PYTHON PROGRAM]
                        on a graphics card: the tests that run on an emulated one elsewhere, then the benchmarks, beside PyTorch's if a program is
                        named that takes the arguments of `gigaro bench`; a table at the end
  clients [SUITE ..]    other people's programs against a served model: openai, lm-eval, openapi, page, full-disk (all, if none is named);
                        installs pinned Python packages under target/
  soak [--minutes M] [--clients N]
                        a crowd for a long time, a third of which hangs up [30 minutes, 64 clients]
  kills [--times N]     kill -9 under load, and what the store of conversations holds after it [20 times]";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["check", options @ ..] => {
            check::Options::parse(options).and_then(|o| check::run(&repository_root(), &o))
        }
        ["ratchet"] => {
            tidy::functions::tighten(&repository_root()).map(|message| println!("{message}"))
        }
        ["cuda"] => cuda::run(&repository_root()),
        ["gpu-check", words @ ..] => gpu_check::run(&repository_root(), words),
        ["clients", suites @ ..] => clients::run(&repository_root(), suites),
        ["soak", words @ ..] => clients::stand_alone(&repository_root(), "soak.py", words),
        ["kills", words @ ..] => clients::stand_alone(&repository_root(), "kills.py", words),
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        [other, ..] => Err(format!("`{other}` is not a command of xtask.\n\n{USAGE}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("{sentence}");
            ExitCode::FAILURE
        }
    }
}

/// The folder that holds the workspace's Cargo.toml.
fn repository_root() -> PathBuf {
    // Cargo says at each run where the package lies; where it was built may be another clone that shares the target folder.
    let here =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&here)
        .parent()
        .expect("xtask lies inside the workspace")
        .to_path_buf()
}
