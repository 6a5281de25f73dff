//! One run per folder.
//!
//! A run holds an advisory lock of the operating system on `run.lock` for as long as it lives. The
//! system drops the lock when the process ends in whatever way, so a killed run never leaves a
//! folder locked, and the file itself may stay. The file's text (process id and start time) only
//! serves the sentence that a second run gets.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::quantity::Timestamp;

/// The name of the lock file in a run's folder.
pub const FILE_NAME: &str = "run.lock";

/// The right to write into a run's folder, held until dropped.
#[derive(Debug)]
pub struct RunLock {
    file: File,
    path: PathBuf,
}

impl RunLock {
    /// Takes the lock of `run_dir`, which must exist.
    ///
    /// # Errors
    /// [`Error::FolderBusy`] with the other run's process id and start time; [`Error::Io`] if the
    /// lock file cannot be written.
    pub fn acquire(run_dir: &Path) -> Result<Self> {
        let path = run_dir.join(FILE_NAME);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false) // the text belongs to whoever holds the lock
            .open(&path)
            .map_err(Error::io("create", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::FolderBusy {
                    path: run_dir.into(),
                    holder: holder(&mut file),
                });
            }
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path)(e)),
        }
        let mut lock = RunLock { file, path };
        lock.sign()?;
        Ok(lock)
    }

    /// Writes who holds the lock.
    fn sign(&mut self) -> Result<()> {
        let text = format!(
            "process {}, started {}\n",
            std::process::id(),
            Timestamp::now()
        );
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(text.as_bytes())
        };
        write(&mut self.file).map_err(Error::io("write", &self.path))
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // An empty file says that nobody is here; failing to say so does no harm.
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

/// The text of a lock held by someone else; foreign bytes are cut short and made printable.
fn holder(file: &mut File) -> String {
    let mut bytes = Vec::new();
    // On Windows a locked file cannot be read, and a run that has just started has not signed yet.
    let _ = file.take(200).read_to_end(&mut bytes);
    let text: String = String::from_utf8_lossy(&bytes)
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    if text.trim().is_empty() {
        "its process id is not known".into()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_told_who_holds_the_folder_and_may_start_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let first = RunLock::acquire(dir.path()).unwrap();
        let error = RunLock::acquire(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        assert!(
            error.contains("started 2") && error.contains("--out"),
            "{error}"
        );
        drop(first);
        RunLock::acquire(dir.path()).unwrap();
    }

    #[test]
    fn a_lock_file_left_by_a_killed_run_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join(FILE_NAME),
            b"process 1, started long ago \xff\x00",
        )
        .unwrap();
        RunLock::acquire(dir.path()).unwrap();
    }

    #[test]
    fn a_folder_that_does_not_exist_is_a_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let error = RunLock::acquire(&dir.path().join("nowhere"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("run.lock") && error.contains("check the path"),
            "{error}"
        );
    }
}
