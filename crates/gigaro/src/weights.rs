//! Weights from a checkpoint into a model.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use gigaro_models::Gpt;
use gigaro_tensor::{DType, Tensor};
use gigaro_train::checkpoint::{Checkpoint, RawTensor};

/// Copies the weights of a checkpoint into a model of its configuration.
///
/// # Errors
/// If a tensor is damaged, missing, or has another shape or an element type that weights do not come in.
pub(crate) fn load(checkpoint: &Checkpoint, model: &Gpt) -> Result<()> {
    let (mut tensors, mut foreign) = (BTreeMap::new(), None);
    checkpoint.weights(&mut |name, raw| match tensor(&raw) {
        Some(tensor) => drop(tensors.insert(name, tensor)),
        None => foreign = Some(format!("{name} in {:?}", raw.dtype)),
    })?;
    let place = checkpoint.dir().display();
    if let Some(foreign) = foreign {
        bail!("the weights in {place} have {foreign}, but weights must be F32, BF16 or F16");
    }
    model
        .load_hugging_face(&tensors)
        .with_context(|| format!("the weights in {place} are not those of its config.json"))
}

fn tensor(raw: &RawTensor) -> Option<Tensor> {
    use safetensors::Dtype;
    let dtype = match raw.dtype {
        Dtype::F32 => DType::F32,
        Dtype::BF16 => DType::BF16,
        Dtype::F16 => DType::F16,
        _ => return None,
    };
    Some(Tensor::from_bytes(&raw.bytes, raw.shape.as_slice(), dtype))
}
