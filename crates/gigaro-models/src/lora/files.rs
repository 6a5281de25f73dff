//! Adapters on disk, as PEFT keeps them: a folder with adapter_config.json and adapter_model.safetensors.
//!
//! A tensor's key is `base_model.model.`, the name of the layer, and `.lora_A.weight` or `.lora_B.weight`. Both matrices lie
//! as in memory, also where the base is a GPT-2, whose own files are transposed: `fan_in_fan_out` says only that PEFT has to
//! transpose their product when it merges.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use gigaro_nn::{Lora, Module};
use gigaro_tensor::{DType, Tensor, io};
use serde_json::{Map, Value, json};

use super::{ALL_LINEAR, LoraConfig, LoraError};
use crate::gpt::Gpt;

/// The configuration's file in an adapter's folder.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";
/// The tensors' file in an adapter's folder.
pub const ADAPTER_MODEL: &str = "adapter_model.safetensors";

const PREFIX: &str = "base_model.model.";
const OTHER_BASE: &str = "load it onto the base model that it was trained on";
const NOT_LORA: &str = "give the folder of a LoRA adapter as PEFT writes it";

/// Keys of adapter_config.json that change what an adapter computes, and the only values that are read here.
fn plain(key: &str, value: &Value) -> bool {
    let off = matches!(value, Value::Null | Value::Bool(false))
        || value.as_array().is_some_and(Vec::is_empty)
        || value.as_object().is_some_and(Map::is_empty);
    match key {
        "peft_type" => value == "LORA",
        "bias" => off || value == "none",
        "use_rslora"
        | "use_dora"
        | "use_qalora"
        | "lora_bias"
        | "rank_pattern"
        | "alpha_pattern"
        | "modules_to_save"
        | "layers_to_transform"
        | "layers_pattern"
        | "layer_replication"
        | "exclude_modules"
        | "target_parameters"
        | "trainable_token_indices"
        | "alora_invocation_tokens"
        | "megatron_config" => off,
        _ => true,
    }
}

/// Reads adapter_config.json; `path` names it in messages.
pub(crate) fn read_config(bytes: &[u8], path: &Path) -> Result<LoraConfig, LoraError> {
    let refuse = |problem: String, advice| LoraError::File {
        path: path.to_owned(),
        problem,
        advice,
    };
    let keys: Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|e| refuse(format!("not JSON ({e})"), NOT_LORA))?;
    if !keys.contains_key("peft_type") {
        return Err(refuse("it has no peft_type".into(), NOT_LORA));
    }
    if let Some((key, value)) = keys.iter().find(|(key, value)| !plain(key, value)) {
        let value: String = value.to_string().chars().take(60).collect();
        return Err(refuse(
            format!("{key} is {value}, which is not supported"),
            "supported are plain LoRA adapters; merge this one into its base with the program that made it",
        ));
    }
    let wrong = |key: &str, wanted: &str| refuse(format!("{key} must be {wanted}"), NOT_LORA);
    let number = |key: &str, default: f64| match keys.get(key) {
        None => Ok(default),
        Some(v) => v.as_f64().ok_or_else(|| wrong(key, "a number")),
    };
    let r = keys.get("r").and_then(Value::as_u64);
    let r = r.and_then(|r| usize::try_from(r).ok());
    let target_modules = match keys.get("target_modules") {
        Some(Value::String(all)) if all == ALL_LINEAR => vec![all.clone()],
        Some(Value::Array(list)) => list
            .iter()
            .map(|name| name.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| wrong("target_modules", "a list of names"))?,
        _ => return Err(wrong("target_modules", "a list of names, not a pattern")),
    };
    let config = LoraConfig {
        r: r.ok_or_else(|| wrong("r", "a whole number"))?,
        lora_alpha: number("lora_alpha", 8.0)?,
        lora_dropout: number("lora_dropout", 0.0)?,
        target_modules,
    };
    config
        .check()
        .map_err(|e| refuse(e.to_string(), NOT_LORA))?;
    Ok(config)
}

/// What adapter_config.json says.
fn write_config(config: &LoraConfig, base: Option<&str>, conv1d: bool) -> Value {
    let all = |name: &String| name == ALL_LINEAR;
    let targets = if config.target_modules.iter().any(all) {
        json!(ALL_LINEAR)
    } else {
        json!(config.target_modules)
    };
    // PEFT's own type is a whole number.
    let alpha = if config.lora_alpha.fract() == 0.0 && config.lora_alpha < 1e9 {
        json!(config.lora_alpha as u64)
    } else {
        json!(config.lora_alpha)
    };
    json!({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "r": config.r,
        "lora_alpha": alpha, "lora_dropout": config.lora_dropout, "target_modules": targets, "bias": "none",
        "fan_in_fan_out": conv1d, "init_lora_weights": true, "inference_mode": true,
    })
}

/// The bytes of a file of the folder.
fn read(path: &Path) -> Result<Vec<u8>, LoraError> {
    fs::read(path).map_err(|source| LoraError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })
}

/// Whether a file's tensor is `(rows, columns)` of numbers, or else what is wrong with it.
fn fits(
    key: &str,
    tensor: &Tensor,
    [rows, columns]: [usize; 2],
    is_a: bool,
) -> Result<(), (String, &'static str)> {
    let found = tensor.shape();
    if !tensor.dtype().is_float() {
        let problem = format!("the tensor {key} holds {}, not numbers", tensor.dtype());
        return Err((problem, NOT_LORA));
    }
    if found == [rows, columns] {
        return Ok(());
    }
    let (rank, width) = if is_a { (0, 1) } else { (1, 0) };
    let expected = [rows, columns];
    if found.len() == 2 && found[width] == expected[width] {
        let problem = format!(
            "the tensor {key} has rank {}, but adapter_config.json says r = {}",
            found[rank], expected[rank]
        );
        return Err((problem, "the two files must be of one adapter"));
    }
    let problem = format!(
        "the tensor {key} has shape {found:?}, where this model needs {expected:?}: the adapter is for another base"
    );
    Err((problem, OTHER_BASE))
}

impl Gpt {
    /// Writes the adapters into the folder `dir`, which is made if it is missing, so that PEFT opens them. `base` is what
    /// `base_model_name_or_path` says: the folder or name of the model that they belong to.
    ///
    /// # Errors
    /// If there are none, they are merged, or the disk refuses.
    pub fn save_lora(&self, dir: &Path, base: Option<&str>) -> Result<(), LoraError> {
        let tensors: BTreeMap<String, Tensor> = self
            .lora_parameters()
            .state_dict()
            .into_iter()
            .map(|(name, tensor)| (format!("{PREFIX}{name}"), tensor))
            .collect();
        let Some(config) = self.lora.as_ref().filter(|_| !tensors.is_empty()) else {
            return Err(LoraError::None);
        };
        let write = |name: &str, bytes: Vec<u8>| {
            let path = dir.join(name);
            fs::write(&path, bytes).map_err(|source| LoraError::Io {
                action: "write",
                path,
                source,
            })
        };
        fs::create_dir_all(dir).map_err(|source| LoraError::Io {
            action: "make the folder",
            path: dir.to_owned(),
            source,
        })?;
        let bytes = io::write_safetensors(&tensors).map_err(|problem| LoraError::File {
            path: dir.join(ADAPTER_MODEL),
            problem,
            advice: "train with a smaller rank",
        })?;
        write(ADAPTER_MODEL, bytes)?;
        let keys = write_config(config, base, self.config.is_learned());
        write(ADAPTER_CONFIG, format!("{keys:#}\n").into_bytes())
    }

    /// Freezes the model and puts the adapters of a folder beside its layers, in place of any that it carries: those of
    /// [`Gpt::save_lora`] or PEFT's. They can be trained further.
    ///
    /// # Errors
    /// If a file is missing or damaged, of a kind that is not supported, or was made for another base; then nothing was
    /// changed.
    pub fn load_lora(&mut self, dir: &Path) -> Result<(), LoraError> {
        let path = dir.join(ADAPTER_CONFIG);
        let config = read_config(&read(&path)?, &path)?;
        self.read_lora(&config, &read(&dir.join(ADAPTER_MODEL))?, dir)
    }

    /// [`Gpt::load_lora`] from what the two files hold; `dir` names them in messages.
    pub(crate) fn read_lora(
        &mut self,
        config: &LoraConfig,
        weights: &[u8],
        dir: &Path,
    ) -> Result<(), LoraError> {
        let path = dir.join(ADAPTER_MODEL);
        let refuse = |(problem, advice): (String, &'static str)| LoraError::File {
            path: path.clone(),
            problem,
            advice,
        };
        let damaged = |e| refuse((e, "the file is damaged, fetch or make it again"));
        let mut tensors = io::read_safetensors(weights).map_err(damaged)?;
        let mut adapters = BTreeMap::new();
        for (name, layer) in self.linears_mut() {
            if !config.matches(&name) {
                continue;
            }
            let mut take = |part: &str, shape: [usize; 2]| {
                let key = format!("{PREFIX}{name}.lora_{part}.weight");
                let Some(tensor) = tensors.remove(&key) else {
                    let problem = format!("the tensor {key} is missing");
                    return Err(refuse((problem, OTHER_BASE)));
                };
                fits(&key, &tensor, shape, part == "A").map_err(refuse)?;
                Ok(tensor.to_dtype(DType::F32))
            };
            let a = take("A", [config.r, layer.in_features()])?;
            let b = take("B", [layer.out_features(), config.r])?;
            let lora = Lora::from_weights(a, b, config.lora_alpha, config.lora_dropout);
            adapters.insert(name, lora);
        }
        if let Some(key) = tensors.keys().next() {
            let layer = key.strip_prefix(PREFIX).unwrap_or(key);
            let layer = layer.split(".lora_").next().unwrap_or(layer);
            let problem = format!("it holds {key}, but this model has no layer `{layer}` for it");
            return Err(refuse((problem, OTHER_BASE)));
        }
        if adapters.is_empty() {
            let problem = "no layer of this model has an adapter in it".to_owned();
            return Err(refuse((problem, OTHER_BASE)));
        }
        self.attach(config, |name, _| {
            adapters
                .remove(name)
                .expect("every matching layer has been given one")
        });
        Ok(())
    }
}
