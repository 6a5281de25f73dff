//! Files that are there whole or not at all: written beside their place, flushed, then renamed.

use crate::{Error, Result};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The name under which `path` is written before it is complete.
pub(crate) fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

/// Gives a finished partial file its name, after its bytes have reached the disk.
pub(crate) fn commit(file: &File, path: &Path) -> Result<()> {
    let beside = partial(path);
    file.sync_all()
        .map_err(|source| Error::io("write", &beside, source))?;
    std::fs::rename(&beside, path).map_err(|source| Error::io("rename", &beside, source))?;
    // The rename itself lives in the folder. Not every system can flush one, and then the old state is what a crash leaves.
    if let Some(Ok(folder)) = path.parent().map(File::open) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// Writes `bytes` to `path`, so that a crash leaves the old file or the new one.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = partial(path);
    let mut file = File::create(&beside).map_err(|source| Error::io("create", &beside, source))?;
    file.write_all(bytes)
        .map_err(|source| Error::io("write", &beside, source))?;
    commit(&file, path)
}
