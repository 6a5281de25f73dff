//! The bytes of a file that is read where it lies.

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// A file, mapped rather than read, so that opening it costs nothing; or memory, for tests and fuzzing.
#[derive(Debug)]
pub enum FileBytes {
    /// On disk.
    Mapped(Mmap),
    /// In memory.
    Memory(Vec<u8>),
}

impl FileBytes {
    /// Maps a file. Another process that cuts the file short while it is mapped ends this one; so it is for files that are replaced as a
    /// whole and never rewritten in place, as models and shards are.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn map(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the map is only read, as plain bytes for which every value is valid.
        Ok(Self::Mapped(unsafe { Mmap::map(&file) }?))
    }
}

impl std::ops::Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Memory(bytes) => bytes,
        }
    }
}
