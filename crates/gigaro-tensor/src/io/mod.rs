//! Weight files: safetensors in and out; the [`gguf`] of llama.cpp.

mod file_bytes;
pub mod gguf;

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::{DType, Error, Tensor};

pub use file_bytes::FileBytes;

/// The engine's name of a file's dtype; `None` for those it does not know.
#[must_use]
pub fn dtype_of(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::BF16 => DType::BF16,
        Dtype::F16 => DType::F16,
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
        Dtype::U8 => DType::U8,
        Dtype::BOOL => DType::Bool,
        _ => return None,
    })
}

/// The file format's name of a dtype.
#[must_use]
pub fn dtype_name(dtype: DType) -> Dtype {
    match dtype {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::BF16 => Dtype::BF16,
        DType::F16 => Dtype::F16,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::U8 => Dtype::U8,
        DType::Bool => Dtype::BOOL,
    }
}

/// Reads every tensor of a safetensors file, by name.
///
/// # Errors
/// If the file cannot be read, is damaged, or holds a dtype the engine does not know.
pub fn load_safetensors(path: &Path) -> Result<BTreeMap<String, Tensor>, Error> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|source| Error::Io {
        path: shown.clone(),
        source,
    })?;
    read_safetensors(&bytes).map_err(|reason| Error::Safetensors {
        path: shown,
        reason,
    })
}

/// Reads every tensor of a safetensors file in memory, by name.
///
/// # Errors
/// What is wrong with it, if it is damaged or holds a dtype the engine does not know.
pub fn read_safetensors(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        let Some(dtype) = dtype_of(view.dtype()) else {
            return Err(format!(
                "tensor {name} has dtype {:?}, which is not supported",
                view.dtype()
            ));
        };
        tensors.insert(
            name.to_owned(),
            Tensor::from_bytes(view.data(), view.shape(), dtype),
        );
    }
    Ok(tensors)
}

/// The bytes of a safetensors file with these tensors, in order of their names.
///
/// # Errors
/// If the format refuses (a shape too large to describe).
pub fn write_safetensors(tensors: &BTreeMap<String, Tensor>) -> Result<Vec<u8>, String> {
    let parts: Vec<(&str, Vec<u8>, &Tensor)> = tensors
        .iter()
        .map(|(n, t)| (n.as_str(), t.to_bytes(), t))
        .collect();
    let views = parts
        .iter()
        .map(|(name, bytes, t)| {
            Ok((
                *name,
                TensorView::new(dtype_name(t.dtype()), t.shape().to_vec(), bytes)?,
            ))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|e| e.to_string())?;
    safetensors::serialize(views, None).map_err(|e| e.to_string())
}

/// Writes tensors to a safetensors file.
///
/// # Errors
/// If the file cannot be written.
pub fn save_safetensors(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<(), Error> {
    let shown = path.display().to_string();
    let bytes = write_safetensors(tensors).map_err(|reason| Error::Safetensors {
        path: shown.clone(),
        reason,
    })?;
    std::fs::write(path, bytes).map_err(|source| Error::Io {
        path: shown,
        source,
    })
}
