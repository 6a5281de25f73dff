//! Tokens on disk, read through a memory map, so that a corpus may be larger than memory.
//!
//! A shard is a file: a header of 128 bytes (see `header`), then the ids, two bytes each where the vocabulary allows, else
//! four, little-endian. A folder of shards `tokens-00000.shard`, `tokens-00001.shard` .. is one sequence, read as
//! [`Tokens`]. Writing is in `writer`.

mod header;
mod writer;

pub use writer::SetWriter;

use crate::tokenizer::{Tokenizer, hex};
use crate::tokens::Tokens;
use crate::{Error, Result};
use gigaro_tensor::io::FileBytes;
use header::{HEADER_LEN, Header};
use sha2::{Digest, Sha256};
use std::path::Path;

const ADVICE: &str = "tokenize the text again";

/// One file of tokens.
pub struct Shard {
    bytes: FileBytes,
    header: Header,
    place: String,
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard")
            .field("place", &self.place)
            .field("len", &self.len())
            .finish()
    }
}

impl Shard {
    /// Maps a shard and checks its header and size, not its contents; for those see [`Shard::verify`].
    ///
    /// # Errors
    /// If the file cannot be read, is no shard, or is cut short.
    pub fn open(path: impl AsRef<Path>) -> Result<Shard> {
        let path = path.as_ref();
        let bytes = FileBytes::map(path).map_err(|source| Error::io("read", path, source))?;
        Shard::check(bytes, path.display().to_string())
    }

    /// A shard in memory; `place` names it in messages.
    ///
    /// # Errors
    /// As [`Shard::open`].
    pub fn from_bytes(bytes: Vec<u8>, place: &str) -> Result<Shard> {
        Shard::check(FileBytes::Memory(bytes), place.to_owned())
    }

    fn check(bytes: FileBytes, place: String) -> Result<Shard> {
        let header = Header::read(&bytes, &place)?;
        Ok(Shard {
            bytes,
            header,
            place,
        })
    }

    /// The number of tokens.
    pub fn len(&self) -> u64 {
        self.header.tokens
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.header.tokens == 0
    }

    /// Ids are below this.
    pub fn vocab_size(&self) -> u32 {
        self.header.vocab_size
    }

    /// The [`Tokenizer::hash`] of the tokenizer that made the ids.
    pub fn tokenizer_hash(&self) -> String {
        hex(&self.header.tokenizer_hash)
    }

    /// Reads the whole shard and checks it against the hash in its header, and each id against the vocabulary.
    ///
    /// # Errors
    /// If a bit differs from what was written.
    pub fn verify(&self) -> Result<()> {
        let ids = &self.bytes[HEADER_LEN..];
        if Sha256::digest(ids)[..] != self.header.tokens_hash {
            return Err(Error::malformed(
                &self.place,
                "the tokens are damaged: their hash is not that of the header",
                ADVICE,
            ));
        }
        let largest = match self.header.token_bytes {
            2 => ids
                .as_chunks()
                .0
                .iter()
                .map(|&two| u32::from(u16::from_le_bytes(two)))
                .max(),
            _ => ids
                .as_chunks()
                .0
                .iter()
                .map(|&four| u32::from_le_bytes(four))
                .max(),
        };
        match largest {
            Some(id) if id >= self.header.vocab_size => {
                let problem = format!(
                    "the id {id} is outside the vocabulary of {} tokens",
                    self.header.vocab_size
                );
                Err(Error::malformed(&self.place, problem, ADVICE))
            }
            _ => Ok(()),
        }
    }

    /// Copies the ids from `start` on into `out`.
    ///
    /// # Panics
    /// If the shard ends before `out` is full.
    #[track_caller]
    pub fn copy_to(&self, start: u64, out: &mut [u32]) {
        assert!(
            start + out.len() as u64 <= self.len(),
            "copy_to: {} tokens from {start} of {}",
            out.len(),
            self.len()
        );
        let width = self.header.token_bytes as usize;
        let from = HEADER_LEN + start as usize * width;
        let bytes = &self.bytes[from..from + out.len() * width];
        match width {
            2 => out
                .iter_mut()
                .zip(bytes.as_chunks().0)
                .for_each(|(id, &two)| *id = u32::from(u16::from_le_bytes(two))),
            _ => out
                .iter_mut()
                .zip(bytes.as_chunks().0)
                .for_each(|(id, &four)| *id = u32::from_le_bytes(four)),
        }
    }
}

/// The name of a shard in its folder.
fn name(number: usize) -> String {
    format!("tokens-{number:05}.shard")
}

/// Whether a folder holds shards.
pub fn is_shard_folder(folder: impl AsRef<Path>) -> bool {
    folder.as_ref().join(name(0)).is_file()
}

/// Opens a folder of shards as one sequence and checks every byte of it. The shards must be those of `tokenizer`.
///
/// # Errors
/// If a shard is missing or damaged, or was made with another tokenizer.
pub fn open(folder: impl AsRef<Path>, tokenizer: &Tokenizer) -> Result<Tokens> {
    open_shards(folder.as_ref(), tokenizer, true)
}

/// The same without reading the tokens: at once, whatever the size. Damage inside the tokens goes unnoticed.
///
/// # Errors
/// If a shard is missing or cut short, or was made with another tokenizer.
pub fn open_unverified(folder: impl AsRef<Path>, tokenizer: &Tokenizer) -> Result<Tokens> {
    open_shards(folder.as_ref(), tokenizer, false)
}

fn open_shards(folder: &Path, tokenizer: &Tokenizer, verify: bool) -> Result<Tokens> {
    let entries = std::fs::read_dir(folder).map_err(|source| Error::io("read", folder, source))?;
    let count = entries
        .filter_map(|entry| entry.ok())
        .filter(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "shard")
        })
        .count();
    let place = folder.display().to_string();
    if count == 0 {
        return Err(Error::malformed(
            place,
            "there are no token shards in this folder",
            ADVICE,
        ));
    }
    let mut shards = Vec::with_capacity(count);
    for number in 0..count {
        // A gap in the numbers shows as a missing file.
        let shard = Shard::open(folder.join(name(number)))?;
        tokenizer.check_hash(&shard.tokenizer_hash(), &shard.place)?;
        if verify {
            shard.verify()?;
        }
        shards.push(shard);
    }
    Ok(Tokens::from(shards))
}

#[cfg(test)]
mod tests;
