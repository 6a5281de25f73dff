//! Ctrl-C: the first asks the work at hand to stop and save, the second leaves at once.
//!
//! A request to terminate (`kill`, a batch system at its time limit) counts as the first. What a command does about it is its own
//! business; it looks at the flag between steps.

use std::io::Write;

use anyhow::{Context, Result};
use gigaro_train::interrupt::StopFlag;

use crate::failure::INTERRUPTED;

/// Catches Ctrl-C from now on; `notice` is the line that the first one prints.
///
/// # Errors
/// If the system does not let signals be caught.
pub(crate) fn catch(notice: &'static str) -> Result<StopFlag> {
    let flag = StopFlag::new();
    let seen = flag.clone();
    ctrlc::set_handler(move || {
        if seen.request() {
            std::process::exit(INTERRUPTED.into());
        }
        let _ = writeln!(std::io::stderr(), "\n{notice}");
    })
    .context("cannot catch Ctrl-C")?;
    Ok(flag)
}
