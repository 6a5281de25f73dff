//! The `gigaro` command: reads arguments, runs one command, prints what it returns, and sets the exit code.
//!
//! Not the place where anything is computed: that is in the libraries, which never print. One file per command stands under
//! `commands/`; `cli.rs` lists them. Read next: `failure.rs` for exit codes, `output.rs` for what goes to which stream.

mod cli;
mod commands;
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

fn main() -> ExitCode {
    failure::install_panic_hook();
    let cli = cli::Cli::parse();
    let output = output::Output::new(cli.command.wants_json());
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cli.command.run(&output)));
    match done {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => failure::report(&error, &output),
        // The hook has already said what happened.
        Err(_) => ExitCode::from(failure::ERROR),
    }
}
