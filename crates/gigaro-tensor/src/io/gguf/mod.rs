//! GGUF: the file that llama.cpp and its kin keep a model in, weights and settings together.
//!
//! ```text
//! "GGUF"  version: u32  tensors: u64  entries: u64
//! entries of metadata: key, type, value                      value.rs
//! tensors: name, dims, format, offset into the data
//! padding to general.alignment (32 unless said otherwise)
//! data of the tensors, each aligned                          format.rs, dequantize.rs, quantized.rs
//! ```
//!
//! All numbers are little-endian. Versions 2 and 3 are read; version 1 counted in 32 bits and has died out. The file is mapped
//! rather than read, so that opening it costs what its header costs. What the keys mean is not known here: models and tokenizers
//! read them in their own crates.
//!
//! Nothing is allocated by a size that the file merely claims: every count is held against the bytes that are left.
//!
//! # Reference
//! The specification: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>

mod dequantize;
mod format;
mod header;
mod quantized;
#[cfg(test)]
mod tests;
mod value;
mod write;

pub use format::BlockFormat;
pub use value::Value;
pub use write::write_gguf;

use std::collections::BTreeMap;
use std::path::Path;

use super::FileBytes;
use crate::{Error, Tensor};
use header::Header;

/// A GGUF file, its header read and checked, its weights where they lie.
pub struct Gguf {
    bytes: FileBytes,
    header: Header,
    /// Name -> place in `header.tensors`.
    places: BTreeMap<String, usize>,
}

/// A matrix (or vector) in a file, in the format that it was stored in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GgufTensor<'a> {
    /// Such as `blk.0.attn_q.weight`.
    pub name: &'a str,
    /// Row-major, the slowest dim first, as everywhere in this crate; the file lists dims the other way round. Blocks run along
    /// the last dim.
    pub shape: Vec<usize>,
    /// How the bytes make numbers.
    pub format: BlockFormat,
    /// As many blocks as the shape needs, in order.
    pub bytes: &'a [u8],
}

impl Gguf {
    /// Maps a file and reads its header.
    ///
    /// # Errors
    /// If it cannot be read, is no GGUF file or a damaged one, or holds a tensor in a format that is not supported.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let shown = path.display().to_string();
        let io = |source| Error::Io {
            path: shown.clone(),
            source,
        };
        let bytes = FileBytes::map(path).map_err(io)?;
        Self::read(bytes).map_err(|reason| Error::Gguf {
            path: shown,
            reason,
        })
    }

    /// Reads a file that is in memory.
    ///
    /// # Errors
    /// What is wrong with it, as for [`Gguf::open`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, String> {
        Self::read(FileBytes::Memory(bytes))
    }

    fn read(bytes: FileBytes) -> Result<Self, String> {
        let header = header::read(&bytes)?;
        let mut places = BTreeMap::new();
        for (i, tensor) in header.tensors.iter().enumerate() {
            if places.insert(tensor.name.clone(), i).is_some() {
                return Err(format!("the tensor {} is there twice", tensor.name));
            }
        }
        Ok(Self {
            bytes,
            header,
            places,
        })
    }

    /// The value of a key, such as `general.architecture`.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<&Value> {
        self.header.metadata.get(key)
    }

    /// All keys with their values, in the order of the alphabet.
    pub fn metadata_entries(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.header
            .metadata
            .iter()
            .map(|(key, value)| (key.as_str(), value))
    }

    /// The tensor of this name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<GgufTensor<'_>> {
        let place = *self.places.get(name)?;
        Some(self.tensor_at(place))
    }

    /// All tensors, in the order of the file.
    pub fn tensors(&self) -> impl Iterator<Item = GgufTensor<'_>> {
        (0..self.header.tensors.len()).map(|i| self.tensor_at(i))
    }

    fn tensor_at(&self, place: usize) -> GgufTensor<'_> {
        let entry = &self.header.tensors[place];
        GgufTensor {
            name: &entry.name,
            shape: entry.shape.clone(),
            format: entry.format,
            bytes: &self.bytes[entry.bytes.clone()],
        }
    }
}

impl std::fmt::Debug for Gguf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gguf")
            .field("version", &self.header.version)
            .field("metadata", &self.header.metadata.len())
            .field("tensors", &self.header.tensors.len())
            .finish()
    }
}

impl GgufTensor<'_> {
    /// How many numbers it holds.
    #[must_use]
    pub fn numel(&self) -> usize {
        self.bytes.len() / self.format.block_bytes() * self.format.block_len()
    }

    /// Its numbers, row by row.
    #[must_use]
    pub fn dequantize(&self) -> Vec<f32> {
        self.format.dequantize(self.bytes)
    }

    /// The bytes of each row, in order: the blocks of each output of a matrix `(out, in)`.
    #[must_use]
    pub fn rows(&self) -> Vec<&[u8]> {
        let rows: usize = self.shape.iter().rev().skip(1).product();
        self.bytes
            .chunks_exact((self.bytes.len() / rows.max(1)).max(1))
            .collect()
    }

    /// The same as a tensor of f32.
    #[must_use]
    pub fn to_tensor(&self) -> Tensor {
        Tensor::from_vec(self.dequantize(), &self.shape[..])
    }
}
