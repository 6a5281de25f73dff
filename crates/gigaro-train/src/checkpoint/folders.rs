//! The names inside a `checkpoints` folder: which there are, and which is the newest.
//!
//! A checkpoint's folder is named after its step, `step-000100`; if that name is taken (a run went
//! back and came by again), `step-000100-2`. A finished folder is never written into or replaced.
//! `latest` is a file with one such name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The folder of checkpoints inside a run's folder.
pub const CHECKPOINTS: &str = "checkpoints";
/// The file that names the newest checkpoint.
pub const LATEST: &str = "latest";
/// Prefix of folders that are being written.
pub(crate) const UNFINISHED: &str = ".tmp-";
/// Prefix of folders that are being removed.
pub(crate) const OUTDATED: &str = ".old-";

/// A checkpoint folder's name. Orders by step, then by serial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FolderName {
    pub(crate) step: u64,
    /// 1, or higher if the step came by again.
    pub(crate) serial: u64,
}

impl FolderName {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_prefix("step-")?;
        let (step, serial) = rest
            .split_once('-')
            .map_or((rest, "1"), |(step, serial)| (step, serial));
        let digits = |s: &str| {
            s.bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| s.parse().ok())
                .flatten()
        };
        Some(FolderName {
            step: digits(step)?,
            serial: digits(serial)?,
        })
    }
}

impl std::fmt::Display for FolderName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.serial {
            1 => write!(f, "step-{:06}", self.step),
            n => write!(f, "step-{:06}-{n}", self.step),
        }
    }
}

/// All finished folders in `checkpoints`, oldest step first. A folder that does not exist has none.
pub(crate) fn list(checkpoints: &Path) -> Result<Vec<FolderName>> {
    let entries = match fs::read_dir(checkpoints) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("list", checkpoints)(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("list", checkpoints))?;
        names.extend(entry.file_name().to_str().and_then(FolderName::parse));
    }
    names.sort_unstable();
    Ok(names)
}

/// The newest checkpoint's folder by the `latest` file, or by the names if that file is lost.
pub(crate) fn newest(checkpoints: &Path) -> Result<Option<PathBuf>> {
    let named = fs::read(checkpoints.join(LATEST)).ok().and_then(|bytes| {
        let name = FolderName::parse(std::str::from_utf8(&bytes).ok()?.trim_end())?;
        let path = checkpoints.join(name.to_string());
        path.is_dir().then_some(path)
    });
    match named {
        Some(path) => Ok(Some(path)),
        None => Ok(list(checkpoints)?
            .last()
            .map(|name| checkpoints.join(name.to_string()))),
    }
}

/// The checkpoint meant by a path: itself, the newest of a `checkpoints` folder, or of a run's folder.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf> {
    if path.join(super::manifest::FILE_NAME).exists() {
        return Ok(path.into());
    }
    fs::metadata(path).map_err(Error::io("open the checkpoint", path))?;
    for checkpoints in [path.join(CHECKPOINTS), path.into()] {
        if let Some(newest) = newest(&checkpoints)? {
            return Ok(newest);
        }
    }
    // No checkpoints below: let the manifest's reader say what this folder is instead.
    Ok(path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_order_by_step_then_serial() {
        for text in [
            "step-000000",
            "step-000100",
            "step-000100-2",
            "step-12345678",
        ] {
            assert_eq!(FolderName::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "step-",
            "step-1-",
            "step-+1",
            "step-1-2-3",
            "latest",
            "step-99999999999999999999999",
            ".tmp-step-000100",
        ] {
            assert_eq!(FolderName::parse(text), None, "{text}");
        }
        assert!(FolderName::parse("step-000100-2") > FolderName::parse("step-000100"));
        assert!(FolderName::parse("step-1000000") > FolderName::parse("step-999999-7"));
    }
}
