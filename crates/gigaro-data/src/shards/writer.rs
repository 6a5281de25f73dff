//! Writing a folder of shards, which appears under its name when it is complete.

use super::header::{HEADER_LEN, Header};
use super::name;
use crate::tokenizer::Tokenizer;
use crate::{Error, Result, beside};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Writes tokens into shards of a new folder.
pub struct SetWriter {
    folder: PathBuf,
    partial: PathBuf,
    tokenizer_hash: [u8; 32],
    vocab_size: u32,
    tokens_per_shard: u64,
    shards: usize,
    open: Option<OpenShard>,
    finished: bool,
}

struct OpenShard {
    file: BufWriter<File>,
    path: PathBuf,
    sha: Sha256,
    tokens: u64,
    buffer: Vec<u8>,
}

impl SetWriter {
    /// Starts a folder of shards with at most `tokens_per_shard` tokens each.
    ///
    /// # Errors
    /// If the folder exists or cannot be made.
    /// # Panics
    /// If `tokens_per_shard` is zero.
    #[track_caller]
    pub fn create(
        folder: &Path,
        tokenizer: &Tokenizer,
        tokens_per_shard: u64,
    ) -> Result<SetWriter> {
        assert!(tokens_per_shard > 0, "SetWriter: shards of zero tokens");
        if folder.exists() {
            return Err(Error::malformed(
                folder.display().to_string(),
                "there is something at this place already",
                "give another folder for the tokens, or remove this one",
            ));
        }
        let partial = beside::partial(folder);
        // What an interrupted run left is worth nothing: its last shard has no header.
        if partial.exists() {
            std::fs::remove_dir_all(&partial)
                .map_err(|source| Error::io("remove", &partial, source))?;
        }
        std::fs::create_dir_all(&partial)
            .map_err(|source| Error::io("create", &partial, source))?;
        Ok(SetWriter {
            folder: folder.to_path_buf(),
            partial,
            tokenizer_hash: raw_hash(tokenizer),
            vocab_size: tokenizer.vocab_size() as u32,
            tokens_per_shard,
            shards: 0,
            open: None,
            finished: false,
        })
    }

    /// Appends tokens.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn push(&mut self, mut ids: &[u32]) -> Result<()> {
        while !ids.is_empty() {
            let token_bytes = Header::token_bytes(self.vocab_size);
            let shard = match &mut self.open {
                Some(shard) => shard,
                none => none.insert(OpenShard::create(self.partial.join(name(self.shards)))?),
            };
            let room = (self.tokens_per_shard - shard.tokens).min(ids.len() as u64) as usize;
            shard.push(&ids[..room], token_bytes)?;
            ids = &ids[room..];
            if shard.tokens == self.tokens_per_shard {
                self.close_shard()?;
            }
        }
        Ok(())
    }

    fn close_shard(&mut self) -> Result<()> {
        let Some(shard) = self.open.take() else {
            return Ok(());
        };
        self.shards += 1;
        shard.finish(|tokens, tokens_hash| Header {
            token_bytes: Header::token_bytes(self.vocab_size),
            tokens,
            vocab_size: self.vocab_size,
            tokens_hash,
            tokenizer_hash: self.tokenizer_hash,
        })
    }

    /// Completes the last shard and gives the folder its name.
    ///
    /// # Errors
    /// If there were no tokens, or the disk refuses.
    pub fn finish(mut self) -> Result<()> {
        self.close_shard()?;
        if self.shards == 0 {
            let place = self.folder.display().to_string();
            return Err(Error::malformed(
                place,
                "there are no tokens to write into it",
                "give some text",
            ));
        }
        std::fs::rename(&self.partial, &self.folder)
            .map_err(|source| Error::io("rename", &self.partial, source))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for SetWriter {
    fn drop(&mut self) {
        if !self.finished {
            // Best effort: what is left is removed when the same folder is started again.
            let _ = std::fs::remove_dir_all(&self.partial);
        }
    }
}

impl OpenShard {
    fn create(path: PathBuf) -> Result<OpenShard> {
        let file = File::create(&path).map_err(|source| Error::io("create", &path, source))?;
        let mut file = BufWriter::with_capacity(1 << 20, file);
        file.write_all(&[0; HEADER_LEN])
            .map_err(|source| Error::io("write", &path, source))?;
        Ok(OpenShard {
            file,
            path,
            sha: Sha256::new(),
            tokens: 0,
            buffer: Vec::new(),
        })
    }

    fn push(&mut self, ids: &[u32], token_bytes: u32) -> Result<()> {
        self.buffer.clear();
        for id in ids {
            self.buffer
                .extend_from_slice(&id.to_le_bytes()[..token_bytes as usize]);
        }
        self.sha.update(&self.buffer);
        self.tokens += ids.len() as u64;
        self.file
            .write_all(&self.buffer)
            .map_err(|source| Error::io("write", &self.path, source))
    }

    fn finish(mut self, header: impl FnOnce(u64, [u8; 32]) -> Header) -> Result<()> {
        let header = header(self.tokens, self.sha.finalize().into());
        let mut write = || {
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(&header.write())?;
            self.file.flush()?;
            self.file.get_ref().sync_all()
        };
        write().map_err(|source| Error::io("write", &self.path, source))
    }
}

fn raw_hash(tokenizer: &Tokenizer) -> [u8; 32] {
    let digits = tokenizer.hash().as_bytes();
    let value = |digit: u8| (digit as char).to_digit(16).expect("a hash is hexadecimal") as u8;
    std::array::from_fn(|i| value(digits[2 * i]) << 4 | value(digits[2 * i + 1]))
}
