//! `gigaro man`: the manual pages, made from the same definitions as the help.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::cli::Cli;
use crate::output::Output;

const EXAMPLE: &str = "\
Example:
  gigaro man | man -l -                  read it now
  gigaro man --out ~/.local/share/man/man1";

/// Print the manual page, or write one page per command into a folder
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// Write gigaro.1 and one page per command here instead
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    let mut command = Cli::command();
    command.build();
    let Some(folder) = &args.out else {
        output.piece(String::from_utf8(page(&command)?)?);
        return Ok(());
    };
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let count = write_pages(&command, "gigaro", folder)?;
    output.say(format_args!(
        "{count} pages written to {}",
        folder.display()
    ));
    Ok(())
}

/// Writes the page of a command and those of its subcommands; returns how many.
fn write_pages(command: &Command, name: &str, folder: &Path) -> Result<usize> {
    let path = folder.join(format!("{name}.1"));
    fs::write(&path, page(command)?).with_context(|| format!("cannot write {}", path.display()))?;
    let mut count = 1;
    for sub in command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help")
    {
        count += write_pages(sub, &format!("{name}-{}", sub.get_name()), folder)?;
    }
    Ok(count)
}

fn page(command: &Command) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Man::new(command.clone()).render(&mut bytes)?;
    Ok(bytes)
}
