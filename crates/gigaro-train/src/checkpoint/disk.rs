//! The file operations that saving is made of, one by one, so that a crash can be put between any two.
//!
//! Every operation that changes the disk passes through [`Disk`], which tells an observer first.
//! The crash tests record the operations and replay their beginnings, or let one fail. In a run
//! nobody observes, and these are the plain calls of the operating system.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// One change to the disk.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "only the crash tests observe"))]
pub(crate) enum Change<'a> {
    CreateDir(&'a Path),
    CreateFile(&'a Path),
    Append(&'a Path, &'a [u8]),
    SyncFile(&'a Path),
    SyncDir(&'a Path),
    Rename(&'a Path, &'a Path),
    RemoveFile(&'a Path),
    RemoveDir(&'a Path),
}

/// Called before each change; an error stops the change, as a crash or a full disk would.
pub(crate) type ChangeObserver = Box<dyn FnMut(Change<'_>) -> io::Result<()> + Send>;

/// The operations themselves.
#[derive(Default)]
pub(crate) struct Disk {
    observer: Option<ChangeObserver>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disk")
    }
}

impl Disk {
    #[cfg(test)]
    pub(crate) fn observed(observer: ChangeObserver) -> Self {
        Disk {
            observer: Some(observer),
        }
    }

    fn tell(&mut self, change: Change<'_>) -> io::Result<()> {
        self.observer
            .as_mut()
            .map_or(Ok(()), |observer| observer(change))
    }

    /// Creates a folder; its parent must exist. An existing folder is fine.
    pub(crate) fn create_dir(&mut self, path: &Path) -> Result<()> {
        let create = || match fs::create_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            other => other,
        };
        self.tell(Change::CreateDir(path))
            .and_then(|()| create())
            .map_err(Error::io("create", path))
    }

    pub(crate) fn rename(&mut self, from: &Path, to: &Path) -> Result<()> {
        self.tell(Change::Rename(from, to))
            .and_then(|()| fs::rename(from, to))
            .map_err(Error::io("rename a finished file to", to))
    }

    /// Makes the names in a folder durable. Only Unix can; elsewhere the system orders them itself.
    pub(crate) fn sync_dir(&mut self, path: &Path) -> Result<()> {
        let sync = |disk: &Self| {
            if cfg!(unix) {
                disk.sync(&File::open(path)?)
            } else {
                Ok(())
            }
        };
        self.tell(Change::SyncDir(path))
            .and_then(|()| sync(self))
            .map_err(Error::io("flush", path))
    }

    /// An observer simulates what flushing is for, and real flushing would take its tests minutes.
    fn sync(&self, file: &File) -> io::Result<()> {
        if self.observer.is_none() {
            file.sync_all()
        } else {
            Ok(())
        }
    }

    /// Removes a folder of plain files.
    pub(crate) fn remove_dir_of_files(&mut self, path: &Path) -> Result<()> {
        for entry in fs::read_dir(path).map_err(Error::io("list", path))? {
            let file = entry.map_err(Error::io("list", path))?.path();
            self.remove_file(&file)?;
        }
        self.tell(Change::RemoveDir(path))
            .and_then(|()| fs::remove_dir(path))
            .map_err(Error::io("remove", path))
    }

    pub(crate) fn remove_file(&mut self, path: &Path) -> Result<()> {
        self.tell(Change::RemoveFile(path))
            .and_then(|()| fs::remove_file(path))
            .map_err(Error::io("remove", path))
    }

    /// Writes a whole file and flushes it to the device. Not atomic: for files in a folder that
    /// nobody reads yet.
    pub(crate) fn write_file(&mut self, path: &Path, bytes: &[u8]) -> Result<Written> {
        self.write_stream(path, |out| out.write_all(bytes))
    }

    /// Writes a file through `fill`, hashing on the way, and flushes it to the device.
    pub(crate) fn write_stream(
        &mut self,
        path: &Path,
        fill: impl FnOnce(&mut HashingWriter<'_>) -> io::Result<()>,
    ) -> Result<Written> {
        let write = || -> io::Result<Written> {
            self.tell(Change::CreateFile(path))?;
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .open(path)?;
            let mut out = HashingWriter {
                disk: self,
                file,
                path,
                hash: Sha256::new(),
                bytes: 0,
                buffer: Vec::with_capacity(BUFFER_BYTES),
            };
            fill(&mut out)?;
            out.finish()
        };
        write().map_err(Error::io("write", path))
    }
}

/// What a written file holds: enough for its line in the manifest.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// Large enough that the cost of a system call vanishes, small enough to stay in the cache between
/// hashing and writing.
const BUFFER_BYTES: usize = 256 * 1024;

/// A buffered file that hashes what passes through.
pub(crate) struct HashingWriter<'a> {
    disk: &'a mut Disk,
    file: File,
    path: &'a Path,
    hash: Sha256,
    bytes: u64,
    buffer: Vec<u8>,
}

impl HashingWriter<'_> {
    fn append(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.disk.tell(Change::Append(self.path, chunk))?;
        self.hash.update(chunk);
        self.bytes += chunk.len() as u64;
        self.file.write_all(chunk)
    }

    fn finish(mut self) -> io::Result<Written> {
        self.flush()?;
        self.disk.tell(Change::SyncFile(self.path))?;
        self.disk.sync(&self.file)?;
        Ok(Written {
            bytes: self.bytes,
            sha256: hex(&self.hash.finalize()),
        })
    }
}

impl Write for HashingWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.is_empty() && bytes.len() >= BUFFER_BYTES {
            self.append(&bytes[..BUFFER_BYTES])?;
            return Ok(BUFFER_BYTES);
        }
        let n = bytes.len().min(BUFFER_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..n]);
        if self.buffer.len() == BUFFER_BYTES {
            self.flush()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let buffer = std::mem::take(&mut self.buffer);
        self.append(&buffer)?;
        self.buffer = buffer;
        self.buffer.clear();
        Ok(())
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, b| {
            let _ = write!(text, "{b:02x}");
            text
        })
}
