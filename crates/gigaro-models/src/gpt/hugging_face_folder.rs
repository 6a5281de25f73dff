//! A model out of a Hugging Face folder: `config.json` beside `model.safetensors`, or beside several files and their index.
//!
//! Only safetensors are read: other formats of weights are programs that would have to be run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use gigaro_tensor::Tensor;
use gigaro_tensor::io::load_safetensors;
use serde_json::{Map, Value};

use super::Gpt;
use super::config::GptConfig;
use super::import_error::ImportError;

/// The settings of the model.
pub const CONFIG_FILE: &str = "config.json";
/// All weights in one file.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// Which file of several holds which tensor.
pub const WEIGHTS_INDEX: &str = "model.safetensors.index.json";

impl GptConfig {
    /// The configuration of the model in a folder.
    ///
    /// # Errors
    /// If the file cannot be read, or as [`GptConfig::from_json`].
    pub fn from_hugging_face_folder(dir: &Path) -> Result<Self, ImportError> {
        let path = dir.join(CONFIG_FILE);
        let text = std::fs::read_to_string(&path).map_err(|e| ImportError::io(&path, e))?;
        Self::from_json(&text).map_err(|source| ImportError::Config {
            place: path.display().to_string(),
            source,
        })
    }
}

impl Gpt {
    /// The model in a folder, its weights in f32.
    ///
    /// # Errors
    /// If a file is missing or damaged, the model is of a form that the decoder does not have, or the weights are not those of its
    /// configuration.
    pub fn from_hugging_face_folder(dir: &Path) -> Result<Self, ImportError> {
        let config = GptConfig::from_hugging_face_folder(dir)?;
        let tensors = weights(dir)?;
        let model = Self::zeroed(&config);
        model.load_hugging_face(&tensors).map_err(|e| {
            let place = dir.display().to_string();
            ImportError::weights(
                place,
                format!("the weights are not those of its {CONFIG_FILE}: {e}"),
            )
        })?;
        Ok(model)
    }
}

fn weights(dir: &Path) -> Result<BTreeMap<String, Tensor>, ImportError> {
    let files = if dir.join(WEIGHTS_FILE).is_file() {
        BTreeSet::from([WEIGHTS_FILE.to_owned()])
    } else {
        files_of_index(dir)?
    };
    let mut tensors = BTreeMap::new();
    for file in files {
        let path = dir.join(file);
        let part = load_safetensors(&path)
            .map_err(|e| ImportError::weights(dir.display().to_string(), e.to_string()))?;
        tensors.extend(part);
    }
    Ok(tensors)
}

/// The files that the index names.
fn files_of_index(dir: &Path) -> Result<BTreeSet<String>, ImportError> {
    let path = dir.join(WEIGHTS_INDEX);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(no_weights(dir)),
        Err(e) => return Err(ImportError::io(&path, e)),
    };
    let place = path.display().to_string();
    let refuse = |reason: String| ImportError::weights(place.clone(), reason);
    let keys: Map<String, Value> = serde_json::from_str(&text)
        .map_err(|e| refuse(format!("not a JSON object: {e}; fetch it again")))?;
    let map = keys.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| refuse("it has no weight_map; fetch it again".to_owned()))?;
    let mut files = BTreeSet::new();
    for file in map.values() {
        let name = file.as_str().unwrap_or_default();
        // A name, not a way out of the folder.
        if !name.ends_with(".safetensors") || name.contains(['/', '\\']) {
            return Err(refuse(format!(
                "it names {file:.80}, which is no safetensors file beside it"
            )));
        }
        files.insert(name.to_owned());
    }
    Ok(files)
}

fn no_weights(dir: &Path) -> ImportError {
    let is_pickle =
        |name: &str| name.ends_with(".bin") || name.ends_with(".pth") || name.ends_with(".pt");
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let pickle = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .find(|name| is_pickle(name));
    let reason = match pickle {
        Some(name) => format!(
            "its weights are in {name}, a pickle, which is a program and is not run here; fetch {WEIGHTS_FILE}, or save the model \
             with safe_serialization=True"
        ),
        None => format!("there is neither {WEIGHTS_FILE} nor {WEIGHTS_INDEX}; fetch the weights"),
    };
    ImportError::weights(dir.display().to_string(), reason)
}
