//! Weights as the ecosystem's files hold them.
//!
//! The names are the same as in memory. What differs is GPT-2's habit of storing the matrices of its
//! layers `(in, out)`, after a class called Conv1D; in memory all matrices are `(out, in)`.

use std::collections::BTreeMap;

use gigaro_nn::{Module, StateDictError};
use gigaro_tensor::Tensor;

use super::Gpt;

/// Whether files of GPT-2's form hold this tensor transposed.
#[must_use]
pub fn is_conv1d(name: &str) -> bool {
    [
        "c_attn.weight",
        "c_proj.weight",
        "c_fc.weight",
        "c_gate.weight",
    ]
    .iter()
    .any(|end| name.ends_with(end))
}

/// Whether files carry this tensor although it is no weight: causal masks of old GPT-2 files,
/// rotary frequencies of old Llama files.
fn is_leftover(name: &str, tensor: &Tensor) -> bool {
    let mask = name.ends_with(".attn.bias") && tensor.ndim() == 4;
    mask || name.ends_with(".attn.masked_bias") || name.ends_with("rotary_emb.inv_freq")
}

impl Gpt {
    /// The weights as the ecosystem's files hold them: the names of [`Module::visit`], GPT-2's
    /// matrices transposed. These are copies where that changes something, else handles.
    #[must_use]
    pub fn to_hugging_face(&self) -> BTreeMap<String, Tensor> {
        self.state_dict()
            .into_iter()
            .map(|(name, t)| {
                let t = if is_conv1d(&name) {
                    t.t().contiguous()
                } else {
                    t
                };
                (name, t)
            })
            .collect()
    }

    /// Copies weights from such a file into the model. Names may lack the prefix `transformer.` or
    /// `model.`, as some published files do; a tied head may be given again.
    ///
    /// # Errors
    /// If a tensor is missing, unexpected, or has another shape; then nothing was changed.
    pub fn load_hugging_face(
        &self,
        tensors: &BTreeMap<String, Tensor>,
    ) -> Result<(), StateDictError> {
        let prefix = if self.config.is_learned() {
            "transformer."
        } else {
            "model."
        };
        let mut own_form = BTreeMap::new();
        for (name, tensor) in tensors {
            let surplus_head = self.config.tied_head && name == "lm_head.weight";
            if surplus_head || is_leftover(name, tensor) {
                continue;
            }
            let name = if name.starts_with(prefix) || name == "lm_head.weight" {
                name.clone()
            } else {
                format!("{prefix}{name}")
            };
            let turned = is_conv1d(&name) && tensor.ndim() == 2;
            own_form.insert(name, if turned { tensor.t() } else { tensor.clone() });
        }
        self.load_state_dict(&own_form)
    }
}
