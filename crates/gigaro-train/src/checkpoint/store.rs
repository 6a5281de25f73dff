//! Saving so that a crash at any byte leaves the last good checkpoint.
//!
//! The order is the whole trick:
//!
//! 1. every file is written into `.tmp-step-N` and flushed, the manifest last; the folder is flushed;
//! 2. the folder is renamed to `step-N`, a name that was free, and its parent flushed: from here on
//!    the new checkpoint is whole under its final name;
//! 3. `latest` is replaced by renaming a flushed file over it, and the parent flushed;
//! 4. only then are outdated folders renamed to `.old-step-N` and removed.
//!
//! A folder is never renamed over another one, which no system does atomically. What a crash leaves
//! behind (`.tmp-*`, `.old-*`) is removed when the store is opened next.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::disk::Disk;
use super::folders::{self, CHECKPOINTS, FolderName, LATEST, OUTDATED, UNFINISHED};
use super::manifest::{self, Manifest};
use super::state::RunState;
use super::tensors::{self, NamedViews};
use super::tokenizer_match::{check_tokenizer, tokenizer_sha256};
use super::{CONFIG, MODEL, OPTIMIZER, STATE, TOKENIZER};
use crate::error::{Error, Result};

/// Everything that goes into one checkpoint.
pub struct Contents<'a> {
    /// The weights under their ecosystem names.
    pub weights: &'a NamedViews<'a>,
    /// The optimiser's state; `None` for a checkpoint that is only used, never resumed.
    pub optimizer: Option<&'a NamedViews<'a>>,
    /// Where the run stands.
    pub state: &'a RunState,
    /// The model's configuration, as Hugging Face writes it.
    pub config: &'a Value,
    /// The bytes of `tokenizer.json`; `None` for a model without one.
    pub tokenizer: Option<&'a [u8]>,
    /// Further small files, name and bytes, such as the template in which the model is asked.
    pub beside: &'a [(String, Vec<u8>)],
}

/// The checkpoints of one run. Hold the run's [`RunLock`](crate::run_lock::RunLock) while it lives.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    keep: usize,
    disk: Disk,
}

impl Store {
    /// The checkpoints in `run_dir` (created if missing), of which the last `keep` stay.
    ///
    /// Removes what a crash may have left half written or half removed.
    ///
    /// # Panics
    /// If `keep` is 0.
    #[track_caller]
    pub fn open(run_dir: &Path, keep: usize) -> Result<Self> {
        assert!(keep > 0, "checkpoint store: keep must be at least 1");
        fs::create_dir_all(run_dir).map_err(Error::io("create", run_dir))?;
        Self::with_disk(run_dir, keep, Disk::default())
    }

    pub(crate) fn with_disk(run_dir: &Path, keep: usize, disk: Disk) -> Result<Self> {
        let mut store = Store {
            dir: run_dir.join(CHECKPOINTS),
            keep,
            disk,
        };
        store.disk.create_dir(&store.dir)?;
        store.disk.sync_dir(run_dir)?;
        store.sweep()?;
        Ok(store)
    }

    /// The folder that holds the checkpoints.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The newest checkpoint's folder, if there is any.
    pub fn latest(&self) -> Result<Option<PathBuf>> {
        folders::newest(&self.dir)
    }

    /// Saves a checkpoint and returns its folder. When this returns, it is on the device.
    ///
    /// # Errors
    /// [`Error::WrongTokenizer`] if tokenizer and config disagree, [`Error::Io`] if the disk refuses;
    /// earlier checkpoints are untouched then.
    /// # Panics
    /// If two tensors or files have one name, or a view's length disagrees with its shape.
    pub fn save(&mut self, contents: &Contents<'_>) -> Result<PathBuf> {
        let name = self.free_name(contents.state.step)?;
        let target = self.dir.join(name.to_string());
        let tmp = self.dir.join(format!("{UNFINISHED}{name}"));
        if let Err(error) = self.write_files(&tmp, contents) {
            // Give the space back; if even that fails, the next opening sweeps.
            let _ = fs::remove_dir_all(&tmp);
            return Err(error);
        }
        self.disk.rename(&tmp, &target)?;
        self.disk.sync_dir(&self.dir)?;
        self.point_at(name)?;
        self.prune(name)?;
        Ok(target)
    }

    fn free_name(&self, step: u64) -> Result<FolderName> {
        let of_step = folders::list(&self.dir)?
            .into_iter()
            .filter(|name| name.step == step);
        let serial = of_step
            .map(|name| name.serial)
            .max()
            .map_or(1, |last| last.saturating_add(1));
        Ok(FolderName { step, serial })
    }

    fn write_files(&mut self, tmp: &Path, contents: &Contents<'_>) -> Result<()> {
        let mut state = contents.state.clone();
        if let Some(tokenizer) = contents.tokenizer {
            check_tokenizer(&self.dir, tokenizer, contents.config, None)?;
            state.tokenizer_sha256 = Some(tokenizer_sha256(tokenizer));
        }
        let mut manifest = Manifest::new();
        self.disk.create_dir(tmp)?;
        let mut stream = |disk: &mut Disk, name: &str, tensors: &NamedViews<'_>| -> Result<()> {
            let written = disk.write_stream(&tmp.join(name), |out| tensors::write(out, tensors))?;
            manifest.add(name, written);
            Ok(())
        };
        stream(&mut self.disk, MODEL, contents.weights)?;
        if let Some(optimizer) = contents.optimizer {
            stream(&mut self.disk, OPTIMIZER, optimizer)?;
        }
        manifest.add(
            CONFIG,
            self.disk
                .write_file(&tmp.join(CONFIG), &pretty(contents.config))?,
        );
        manifest.add(
            STATE,
            self.disk.write_file(&tmp.join(STATE), &pretty(&state))?,
        );
        if let Some(tokenizer) = contents.tokenizer {
            manifest.add(
                TOKENIZER,
                self.disk.write_file(&tmp.join(TOKENIZER), tokenizer)?,
            );
        }
        for (name, bytes) in contents.beside {
            let taken = name == manifest::FILE_NAME || manifest.files.contains_key(name);
            assert!(!taken, "checkpoint store: {name} is there already");
            manifest.add(name, self.disk.write_file(&tmp.join(name), bytes)?);
        }
        self.disk
            .write_file(&tmp.join(manifest::FILE_NAME), &manifest.to_json())?;
        self.disk.sync_dir(tmp)
    }

    fn point_at(&mut self, name: FolderName) -> Result<()> {
        let tmp = self.dir.join(format!("{UNFINISHED}{LATEST}"));
        self.disk.write_file(&tmp, format!("{name}\n").as_bytes())?;
        self.disk.rename(&tmp, &self.dir.join(LATEST))?;
        self.disk.sync_dir(&self.dir)
    }

    /// Removes all but the last `keep` checkpoints up to `newest`. Later ones belong to a future
    /// that the run went back from; they stay until it passes them.
    fn prune(&mut self, newest: FolderName) -> Result<()> {
        let past: Vec<_> = folders::list(&self.dir)?
            .into_iter()
            .filter(|name| *name <= newest)
            .collect();
        for name in &past[..past.len().saturating_sub(self.keep)] {
            let old = self.dir.join(format!("{OUTDATED}{name}"));
            self.disk.rename(&self.dir.join(name.to_string()), &old)?;
            self.disk.remove_dir_of_files(&old)?;
        }
        Ok(())
    }

    /// Removes leftovers of a crash.
    fn sweep(&mut self) -> Result<()> {
        for entry in fs::read_dir(&self.dir).map_err(Error::io("list", &self.dir))? {
            let path = entry.map_err(Error::io("list", &self.dir))?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if !(name.starts_with(UNFINISHED) || name.starts_with(OUTDATED)) {
                continue;
            }
            if path.is_dir() {
                self.disk.remove_dir_of_files(&path)?;
            } else {
                self.disk.remove_file(&path)?;
            }
        }
        Ok(())
    }
}

fn pretty(value: &impl serde::Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("states and configs have string keys");
    text.push(b'\n');
    text
}
