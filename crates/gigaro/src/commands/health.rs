//! `gigaro health`: whether a server answers, as an exit code, for containers and scripts that have no other program to ask.

use anyhow::Result;

use crate::output::Output;

const EXAMPLE: &str = "\
Examples:
  gigaro health                              the server on this machine's port 8000
  gigaro health http://10.0.0.5:8000 && echo it answers";

/// Ask whether a server is ready; the exit code says so
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// The address of the server
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:8000")]
    url: String,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    gigaro_serve::health::check(&args.url)?;
    output.say(format_args!("{} is ready.", args.url));
    Ok(())
}
