//! What `--resume` names: the folder of a run, or one checkpoint in it.
//!
//! A checkpoint is named where the newest one is damaged, or to go back; everything else of the run is as in its folder.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use gigaro_train::checkpoint::{Checkpoint, MANIFEST, OPTIMIZER};

use super::job::RECIPE;
use crate::failure::Usage;

/// Most folders between a checkpoint and its run: `checkpoints`, and those of a stage of the small model.
const MOST_BETWEEN: usize = 4;

/// Where a run goes on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The run's folder.
    pub(super) run: PathBuf,
    /// The checkpoint to go on from, if it need not be the newest.
    pub(super) checkpoint: Option<PathBuf>,
}

impl Origin {
    /// What a path that was given to `--resume` means.
    ///
    /// # Errors
    /// If no run is there, or the checkpoint is damaged or was not saved to be gone on from.
    pub(super) fn of(given: &Path) -> Result<Self> {
        let shown = given.display();
        if given.is_file() {
            return Err(Usage(format!(
                "{shown} is a file: give --resume the folder of a run, or of one of its checkpoints"
            ))
            .into());
        }
        if !given.join(MANIFEST).is_file() {
            if !given.join(RECIPE).is_file() {
                bail!("there is no run to resume in {shown}: a run's folder has a {RECIPE}");
            }
            return Ok(Self {
                run: given.to_owned(),
                checkpoint: None,
            });
        }
        // As it was given, if that reaches up to the run, since sentences repeat it.
        let absolute = std::path::absolute(given).unwrap_or_else(|_| given.to_owned());
        let Some((run, checkpoint)) = [given, absolute.as_path()]
            .into_iter()
            .find_map(|path| Some((run_above(path)?, path)))
        else {
            bail!(
                "{shown} is a checkpoint outside of a run, so nothing says how to go on: give one below a run's folder, which has a {RECIPE}"
            );
        };
        let opened = Checkpoint::open(checkpoint)?;
        if !opened.files().any(|(name, _)| name == OPTIMIZER) {
            bail!(
                "{shown} holds weights to use, without what training needs to go on: give --resume {} for the newest checkpoint of each stage",
                run.display()
            );
        }
        Ok(Self {
            run: run.to_owned(),
            checkpoint: Some(checkpoint.to_owned()),
        })
    }
}

fn run_above(checkpoint: &Path) -> Option<&Path> {
    let above = checkpoint.ancestors().skip(1).take(1 + MOST_BETWEEN);
    above
        .filter(|folder| !folder.as_os_str().is_empty())
        .find(|folder| folder.join(RECIPE).is_file())
}
