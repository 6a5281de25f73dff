//! Reading a checkpoint back, trusting nothing.
//!
//! Opening checks the manifest and every file's size, which is quick; each file's hash is checked
//! when it is read, so starting a chat does not read the optimiser's state.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::folders::{self, FolderName};
use super::manifest::{FileEntry, Manifest};
use super::state::RunState;
use super::tensors::{self, RawTensor, ReadError};
use super::tokenizer_match::check_tokenizer;
use super::{CONFIG, MODEL, OPTIMIZER, STATE, TOKENIZER};
use crate::error::{Error, Result};

/// A checkpoint on the disk, opened for reading.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    manifest: Manifest,
}

impl Checkpoint {
    /// Opens the checkpoint that `path` leads to: a checkpoint's folder, a `checkpoints` folder or
    /// a run's folder (then the newest in it).
    ///
    /// # Errors
    /// A sentence for a missing, foreign, newer, truncated or incomplete checkpoint; if there is a
    /// whole one before it, [`Error::Damaged`] names that.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let dir = folders::resolve(path.as_ref())?;
        Self::open_folder(&dir).map_err(|error| with_previous(error, &dir))
    }

    fn open_folder(dir: &Path) -> Result<Self> {
        let manifest = Manifest::read(dir)?;
        for name in [MODEL, CONFIG, STATE] {
            if !manifest.files.contains_key(name) {
                return Err(Error::BadManifest {
                    path: dir.into(),
                    why: format!("it does not list {name}"),
                });
            }
        }
        let checkpoint = Checkpoint {
            dir: dir.into(),
            manifest,
        };
        checkpoint
            .manifest
            .files
            .iter()
            .try_for_each(|(name, entry)| checkpoint.check_size(name, entry))?;
        Ok(checkpoint)
    }

    /// The checkpoint's own folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The files by name with their sizes in bytes.
    pub fn files(&self) -> impl Iterator<Item = (&str, u64)> {
        self.manifest
            .files
            .iter()
            .map(|(name, entry)| (name.as_str(), entry.bytes))
    }

    /// The hash of a file as the manifest has it, in hexadecimal: what tells one checkpoint's weights from another's.
    pub fn sha256(&self, name: &str) -> Option<&str> {
        self.manifest
            .files
            .get(name)
            .map(|entry| entry.sha256.as_str())
    }

    /// Checks the hash of every file.
    pub fn verify(&self) -> Result<()> {
        self.verify_files()
            .map_err(|error| with_previous(error, &self.dir))
    }

    fn verify_files(&self) -> Result<()> {
        for (name, entry) in &self.manifest.files {
            let path = self.dir.join(name);
            let found = File::open(&path)
                .and_then(tensors::sha256_of)
                .map_err(Error::io("read", &path))?;
            self.check_hash(name, entry, &found)?;
        }
        Ok(())
    }

    /// The weights, each given to `take` under its ecosystem name.
    ///
    /// # Errors
    /// On any error, what `take` has received so far must not be used.
    pub fn weights(&self, take: &mut dyn FnMut(String, RawTensor)) -> Result<()> {
        self.tensors(MODEL, take)
    }

    /// The optimiser's state, each tensor given to `take` under the name it was saved with.
    ///
    /// # Errors
    /// [`Error::MissingFile`] for a checkpoint saved without it (only for using, not for resuming).
    pub fn optimizer(&self, take: &mut dyn FnMut(String, RawTensor)) -> Result<()> {
        self.tensors(OPTIMIZER, take)
    }

    /// Where the run stood.
    pub fn state(&self) -> Result<RunState> {
        self.json(STATE)
    }

    /// The model's configuration, as Hugging Face writes it.
    pub fn config(&self) -> Result<Value> {
        self.json(CONFIG)
    }

    /// The tokenizer's file, checked against the weights; `None` if the model has no tokenizer.
    pub fn tokenizer(&self) -> Result<Option<Vec<u8>>> {
        if !self.manifest.files.contains_key(TOKENIZER) {
            return Ok(None);
        }
        let bytes = self.file(TOKENIZER)?;
        self.check_tokenizer(&bytes)?;
        Ok(Some(bytes))
    }

    /// Checks that a tokenizer from elsewhere belongs to these weights.
    pub fn check_tokenizer(&self, tokenizer_json: &[u8]) -> Result<()> {
        let recorded = self.state()?.tokenizer_sha256;
        check_tokenizer(
            &self.dir,
            tokenizer_json,
            &self.config()?,
            recorded.as_deref(),
        )
    }

    fn json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T> {
        let bytes = self.file(name)?;
        serde_json::from_slice(&bytes).map_err(|e| self.malformed(name, e.to_string()))
    }

    /// A whole file, hash checked.
    pub fn file(&self, name: &str) -> Result<Vec<u8>> {
        let read = || {
            let (entry, file) = self.open_file(name)?;
            // The size was checked on opening; the bound keeps a file that grew since from filling memory.
            let mut bytes = Vec::new();
            file.take(entry.bytes.saturating_add(1))
                .read_to_end(&mut bytes)
                .map_err(Error::io("read", self.dir.join(name)))?;
            use sha2::{Digest, Sha256};
            self.check_hash(name, entry, &super::disk::hex(&Sha256::digest(&bytes)))?;
            Ok(bytes)
        };
        read().map_err(|error| with_previous(error, &self.dir))
    }

    fn tensors(&self, name: &str, take: &mut dyn FnMut(String, RawTensor)) -> Result<()> {
        let mut read = || {
            let (entry, file) = self.open_file(name)?;
            let input = BufReader::with_capacity(1 << 18, file);
            tensors::read(input, entry.bytes, Some(&entry.sha256), take).map_err(
                |error| match error {
                    ReadError::Io(e) => Error::io("read", self.dir.join(name))(e),
                    ReadError::Malformed(why) => self.malformed(name, why),
                    ReadError::WrongHash { found } => self.altered(name, entry, &found),
                },
            )
        };
        read().map_err(|error| with_previous(error, &self.dir))
    }

    fn open_file(&self, name: &str) -> Result<(&FileEntry, File)> {
        let missing = || Error::MissingFile {
            path: self.dir.clone(),
            file: name.into(),
        };
        let entry = self.manifest.files.get(name).ok_or_else(missing)?;
        let path = self.dir.join(name);
        Ok((entry, File::open(&path).map_err(Error::io("read", &path))?))
    }

    fn check_size(&self, name: &str, entry: &FileEntry) -> Result<()> {
        let (path, file) = (self.dir.clone(), name.to_string());
        let found = match fs::metadata(self.dir.join(name)) {
            Ok(meta) if meta.is_file() => meta.len(),
            Ok(_) => return Err(Error::MissingFile { path, file }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Error::MissingFile { path, file });
            }
            Err(e) => return Err(Error::io("read", self.dir.join(name))(e)),
        };
        let expected = entry.bytes;
        match found.cmp(&expected) {
            std::cmp::Ordering::Less => Err(Error::Truncated {
                path,
                file,
                expected,
                found,
            }),
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => Err(Error::Altered {
                path,
                file,
                why: format!("{found} bytes instead of {expected}"),
            }),
        }
    }

    fn check_hash(&self, name: &str, entry: &FileEntry, found: &str) -> Result<()> {
        if found == entry.sha256 {
            Ok(())
        } else {
            Err(self.altered(name, entry, found))
        }
    }

    fn altered(&self, name: &str, entry: &FileEntry, found: &str) -> Error {
        let short = |hash: &str| hash.chars().take(12).collect::<String>();
        let why = format!(
            "SHA-256 {}.. instead of {}..",
            short(found),
            short(&entry.sha256)
        );
        Error::Altered {
            path: self.dir.clone(),
            file: name.into(),
            why,
        }
    }

    fn malformed(&self, name: &str, why: String) -> Error {
        Error::Malformed {
            path: self.dir.clone(),
            file: name.into(),
            why,
        }
    }
}

/// Adds the newest whole checkpoint before a damaged one, if there is any.
fn with_previous(error: Error, damaged: &Path) -> Error {
    let is_damage = matches!(
        error,
        Error::BadManifest { .. }
            | Error::MissingFile { .. }
            | Error::Truncated { .. }
            | Error::Altered { .. }
            | Error::NoCheckpoint { .. }
    );
    let name = damaged
        .file_name()
        .and_then(|name| FolderName::parse(name.to_str()?));
    let (Some(name), Some(parent), true) = (name, damaged.parent(), is_damage) else {
        return error;
    };
    let before = folders::list(parent)
        .unwrap_or_default()
        .into_iter()
        .rev()
        .filter(|other| *other < name);
    let is_whole = |dir: &PathBuf| {
        Checkpoint::open_folder(dir)
            .and_then(|c| c.verify_files())
            .is_ok()
    };
    match before
        .map(|other| parent.join(other.to_string()))
        .find(is_whole)
    {
        Some(previous) => Error::Damaged {
            source: Box::new(error),
            previous,
        },
        None => error,
    }
}
