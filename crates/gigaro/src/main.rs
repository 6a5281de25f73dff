//! The `gigaro` command: reads arguments, runs one command, prints what it returns, and sets the exit code.
//!
//! Not the place where anything is computed: that is in the libraries, which never print. One file per command stands under
//! `commands/`; `cli.rs` lists them. Read next: `failure.rs` for exit codes, `output.rs` for what goes to which stream.

mod cli;
mod commands;
mod device;
mod failure;
mod flags;
mod imported;
mod interrupt;
mod logs;
mod machine;
mod output;
mod pipeline;
mod recipe;
mod remote;
mod sampling_flags;
mod text_source;
mod trained;
mod turns;

use std::process::ExitCode;

use clap::Parser;
use gigaro_tensor::catch_failure;

fn main() -> ExitCode {
    failure::install_panic_hook();
    let cli = cli::Cli::parse();
    let output = output::Output::new(cli.command.wants_json());
    let run = || {
        // A card that is lost or full in the middle of a step ends the command with a sentence; checkpoints are on disk.
        catch_failure(|| cli.command.run(&output)).unwrap_or_else(|failure| Err(failure.into()))
    };
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    match done {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => failure::report(&error, &output),
        // The hook has already said what happened.
        Err(_) => ExitCode::from(failure::ERROR),
    }
}
