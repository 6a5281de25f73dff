//! `gigaro completions SHELL`: the script that lets a shell complete commands and flags.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::output::Output;

const EXAMPLE: &str = "\
Example:
  gigaro completions bash > ~/.local/share/bash-completion/completions/gigaro
  gigaro completions fish > ~/.config/fish/completions/gigaro.fish";

/// Print a script that completes commands and flags in your shell
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// Which shell
    shell: Shell,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "gigaro", &mut script);
    output.piece(String::from_utf8(script)?);
    Ok(())
}
