//! The first 128 bytes of a shard.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `GIGAROTK` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | bytes per id, 2 or 4 |
//! | 16 | 8 | number of ids |
//! | 24 | 4 | size of the vocabulary: ids are below it |
//! | 28 | 4 | zero |
//! | 32 | 32 | SHA-256 of the bytes of the ids |
//! | 64 | 32 | hash of the tokenizer |
//! | 96 | 32 | SHA-256 of the 96 bytes before |
//!
//! Numbers are little-endian.

use super::ADVICE;
use crate::{Error, Result};
use sha2::{Digest, Sha256};

const MAGIC: &[u8; 8] = b"GIGAROTK";
const VERSION: u32 = 1;
/// The ids begin here.
pub(super) const HEADER_LEN: usize = 128;
/// What the header's own hash covers.
const HASHED_LEN: usize = 96;

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) token_bytes: u32,
    pub(super) tokens: u64,
    pub(super) vocab_size: u32,
    pub(super) tokens_hash: [u8; 32],
    pub(super) tokenizer_hash: [u8; 32],
}

impl Header {
    /// Bytes per id for a vocabulary.
    pub(super) fn token_bytes(vocab_size: u32) -> u32 {
        if vocab_size <= 1 << 16 { 2 } else { 4 }
    }

    pub(super) fn write(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.token_bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.tokens.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.vocab_size.to_le_bytes());
        bytes[32..64].copy_from_slice(&self.tokens_hash);
        bytes[64..96].copy_from_slice(&self.tokenizer_hash);
        let hash = Sha256::digest(&bytes[..HASHED_LEN]);
        bytes[HASHED_LEN..].copy_from_slice(&hash);
        bytes
    }

    /// Reads the header of a whole shard and checks that the shard has the size it says.
    pub(super) fn read(shard: &[u8], place: &str) -> Result<Header> {
        let refuse = |problem: String| Err(Error::malformed(place, problem, ADVICE));
        if !shard.starts_with(MAGIC) {
            return refuse("not a token shard: it does not begin with GIGAROTK".to_owned());
        }
        let Some(header) = shard.first_chunk::<HEADER_LEN>() else {
            return refuse(format!("cut short in the header, at byte {}", shard.len()));
        };
        let version = u32_at(header, 8);
        if version != VERSION {
            return refuse(format!(
                "a token shard of version {version}, and this program reads version {VERSION}"
            ));
        }
        if Sha256::digest(&header[..HASHED_LEN])[..] != header[HASHED_LEN..] {
            return refuse("the header is damaged: its hash does not fit".to_owned());
        }
        let (token_bytes, vocab_size) = (u32_at(header, 12), u32_at(header, 24));
        let tokens = u64::from(u32_at(header, 16)) | u64::from(u32_at(header, 20)) << 32;
        if token_bytes != Header::token_bytes(vocab_size) {
            return refuse(format!(
                "{token_bytes} bytes per id do not fit a vocabulary of {vocab_size} tokens"
            ));
        }
        let present = (shard.len() - HEADER_LEN) as u64;
        if tokens.checked_mul(u64::from(token_bytes)) != Some(present) {
            return refuse(format!(
                "the header promises {tokens} tokens of {token_bytes} bytes and {present} bytes are there: \
                 the file is cut short or has something appended"
            ));
        }
        let hash_at = |at: usize| std::array::from_fn(|i| header[at + i]);
        Ok(Header {
            token_bytes,
            tokens,
            vocab_size,
            tokens_hash: hash_at(32),
            tokenizer_hash: hash_at(64),
        })
    }
}

fn u32_at(header: &[u8; HEADER_LEN], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| header[at + i]))
}
