//! Between tensors and checkpoint files.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gigaro_nn::Module;
use gigaro_tensor::{Tensor, io};
use safetensors::tensor::{Dtype, View};

use crate::checkpoint::{Contents, RawTensor, RunState, Store};
use crate::error::{Error, Result};
use crate::trainer::Identity;

/// A tensor as the checkpoint writer sees it; its bytes are made when they are written.
struct Writable(Tensor);

impl View for Writable {
    fn dtype(&self) -> Dtype {
        io::dtype_name(self.0.dtype())
    }
    fn shape(&self) -> &[usize] {
        self.0.shape()
    }
    fn data(&self) -> Cow<'_, [u8]> {
        self.0.to_bytes().into()
    }
    fn data_len(&self) -> usize {
        self.0.numel() * self.0.dtype().size_bytes()
    }
}

/// Tensors in the form that a checkpoint takes.
pub(crate) fn views(tensors: BTreeMap<String, Tensor>) -> Vec<(String, Box<dyn View>)> {
    tensors
        .into_iter()
        .map(|(name, t)| (name, Box::new(Writable(t)) as Box<dyn View>))
        .collect()
}

/// Reads the tensors that `read` hands over.
///
/// # Errors
/// What `read` reports, or a dtype that the engine does not know.
pub fn collect(
    path: &Path,
    read: impl FnOnce(&mut dyn FnMut(String, RawTensor)) -> Result<()>,
) -> Result<BTreeMap<String, Tensor>> {
    let mut tensors = BTreeMap::new();
    let mut unknown = None;
    read(&mut |name, raw| match io::dtype_of(raw.dtype) {
        Some(dtype) => {
            tensors.insert(name, Tensor::from_bytes(&raw.bytes, raw.shape, dtype));
        }
        None => {
            unknown = Some(format!(
                "tensor '{name}' has dtype {:?}, which gigaro does not compute with",
                raw.dtype
            ))
        }
    })?;
    match unknown {
        Some(why) => Err(Error::WrongModel {
            path: path.into(),
            why,
        }),
        None => Ok(tensors),
    }
}
/// Saves a module's weights in the folder `dir`, as a checkpoint that can be used but not resumed. Returns its path.
///
/// # Errors
/// If the disk refuses.
pub fn save(dir: &Path, module: &dyn Module, identity: &Identity, step: u64) -> Result<PathBuf> {
    Store::open(dir, 1)?.save(&Contents {
        weights: &views(module.state_dict()),
        optimizer: None,
        state: &RunState {
            step,
            ..RunState::default()
        },
        config: &identity.config,
        tokenizer: identity.tokenizer.as_deref(),
        beside: &identity.beside,
    })
}
