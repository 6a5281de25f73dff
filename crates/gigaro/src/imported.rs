//! Models that others made: a Hugging Face folder or a GGUF file, as commands use it.
//!
//! What a path is, is found by what is there. The formats themselves are read in the libraries: weights in gigaro-models, tokenizers
//! in gigaro-data. Our own checkpoints are in `trained.rs`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use gigaro_data::template::{self, CHAT_TEMPLATE_FILE, TOKENIZER_CONFIG};
use gigaro_data::{Tokenizer, tokenizer::END_OF_TEXT};
use gigaro_models::gpt::{CONFIG_FILE, WEIGHTS_FILE, WEIGHTS_INDEX};
use gigaro_models::{Gpt, GptConfig};
use gigaro_tensor::io::gguf::{Gguf, Value};
use gigaro_train::checkpoint::{CHECKPOINTS, MANIFEST};
use serde_json::json;

use crate::failure::Usage;
use crate::trained::Trained;

/// The tokenizer of a Hugging Face folder, and the older pair of files in its place.
const TOKENIZER: &str = "tokenizer.json";
const OLDER_TOKENIZER: [&str; 2] = ["vocab.json", "merges.txt"];
/// Settings of generation beside the model's.
const GENERATION_CONFIG: &str = "generation_config.json";

/// A model in the files of another project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Imported {
    /// A folder with `config.json`, weights and `tokenizer.json`.
    HuggingFace(PathBuf),
    /// One file that holds all of it.
    Gguf(PathBuf),
}

impl Imported {
    /// What lies at `path`, if it is another project's: a GGUF file, a folder with one, a Hugging Face folder. `None` for a folder of
    /// ours, and for one that is not there, of which the reader of checkpoints has more to say.
    ///
    /// # Errors
    /// If it is a file of another kind, or a folder with several GGUF files.
    pub(crate) fn at(path: &Path) -> Result<Option<Self>> {
        if path.is_file() {
            return match path.extension() {
                Some(end) if end.eq_ignore_ascii_case("gguf") => Ok(Some(Self::Gguf(path.into()))),
                _ => Err(not_a_model(path)),
            };
        }
        if path.join(MANIFEST).exists() || path.join(CHECKPOINTS).exists() {
            return Ok(None);
        }
        if path.join(CONFIG_FILE).is_file() && !has_stages(path) {
            return Ok(Some(Self::HuggingFace(path.into())));
        }
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let is_gguf = |file: &PathBuf| {
            file.extension()
                .is_some_and(|end| end.eq_ignore_ascii_case("gguf"))
        };
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_gguf).collect();
        files.sort();
        match &files[..] {
            [] => Ok(None),
            [one] => Ok(Some(Self::Gguf(one.clone()))),
            [first, ..] => bail!(
                "{} holds {} GGUF files: name one of them, such as {}",
                path.display(),
                files.len(),
                first.display()
            ),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::HuggingFace(path) | Self::Gguf(path) => path,
        }
    }

    /// What its model is built like, before the weights are read.
    ///
    /// # Errors
    /// If the settings are missing, damaged, or not those of a decoder that is here.
    pub(crate) fn config(&self) -> Result<GptConfig> {
        match self {
            Self::HuggingFace(dir) => Ok(GptConfig::from_hugging_face_folder(dir)?),
            Self::Gguf(path) => {
                let gguf = Gguf::open(path)?;
                let config = GptConfig::from_gguf(&gguf);
                config.with_context(|| format!("cannot use {}", path.display()))
            }
        }
    }

    /// Its tokenizer.
    ///
    /// # Errors
    /// If there is none, or it is of a kind that is not supported.
    pub(crate) fn tokenizer(&self) -> Result<Tokenizer> {
        match self {
            Self::HuggingFace(dir) => hugging_face_tokenizer(dir),
            Self::Gguf(path) => Ok(Tokenizer::from_gguf(
                &Gguf::open(path)?,
                &path.display().to_string(),
            )?),
        }
    }

    /// The model with all that belongs to it; its weights in f32, or as they are stored.
    ///
    /// # Errors
    /// If a part is missing, damaged, or not supported, in a sentence.
    pub(crate) fn open(&self, as_stored: bool) -> Result<Trained> {
        let (model, tokenizer, beside) = match self {
            Self::HuggingFace(dir) => {
                let tokenizer = hugging_face_tokenizer(dir)?;
                (
                    Gpt::from_hugging_face_folder(dir)?,
                    tokenizer,
                    template::files(dir)?,
                )
            }
            Self::Gguf(path) => {
                let gguf = Gguf::open(path)?;
                let place = path.display().to_string();
                let tokenizer = Tokenizer::from_gguf(&gguf, &place)?;
                let beside = template_in(&gguf, &tokenizer);
                let model = match as_stored {
                    true => Gpt::from_gguf_as_stored(&gguf, &place)?,
                    false => Gpt::from_gguf(&gguf, &place)?,
                };
                (model, tokenizer, beside)
            }
        };
        let (ids, rows) = (tokenizer.vocab_size(), model.config.vocab_size);
        if ids > rows {
            bail!(
                "the tokenizer of {} has {ids} tokens, but the model has {rows}: they do not belong together",
                self.path().display()
            );
        }
        Ok(Trained {
            model,
            tokenizer,
            beside,
            dir: self.path().to_owned(),
        })
    }
}

/// Whether a folder is a run of ours with stages, which may hold all kinds of files beside them.
fn has_stages(path: &Path) -> bool {
    crate::trained::newest_stage(path) != path
}

fn not_a_model(path: &Path) -> anyhow::Error {
    let shown = path.display();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let sentence = if name.ends_with(".safetensors") || name == CONFIG_FILE {
        format!("{shown} is one file of a model: give the folder that it is in")
    } else {
        format!(
            "{shown} is a file, but a model is a run's folder, a checkpoint's with {MANIFEST} in it, a Hugging Face folder with {CONFIG_FILE} \
             and {WEIGHTS_FILE} (or {WEIGHTS_INDEX}), or a file that ends in .gguf"
        )
    };
    Usage(sentence).into()
}

/// The tokenizer of a folder, with the tokens that end an answer by the model's own settings.
fn hugging_face_tokenizer(dir: &Path) -> Result<Tokenizer> {
    let [vocab, merges] = OLDER_TOKENIZER.map(|name| dir.join(name));
    let tokenizer = if dir.join(TOKENIZER).is_file() {
        Tokenizer::load(dir.join(TOKENIZER))?
    } else if vocab.is_file() && merges.is_file() {
        Tokenizer::load_gpt2(vocab, merges)?
    } else {
        bail!(
            "{} has no {TOKENIZER}: fetch it, or save the tokenizer with transformers, whose fast tokenizers write it",
            dir.display()
        );
    };
    let settings = settings(dir, TOKENIZER_CONFIG)?;
    // A tokenizer.json that names the start of documents is believed; else they begin with what the settings say, if anything.
    let start = tokenizer.document_start();
    let start = if start.is_some() && start != tokenizer.special(END_OF_TEXT) {
        start
    } else if settings["add_bos_token"] == true {
        token_name(&settings["bos_token"]).and_then(|name| tokenizer.special(name))
    } else {
        None
    };
    let mut ends: Vec<u32> = token_name(&settings["eos_token"])
        .and_then(|name| tokenizer.special(name))
        .into_iter()
        .collect();
    for file in [GENERATION_CONFIG, CONFIG_FILE] {
        ends.extend(ids(&self::settings(dir, file)?["eos_token_id"]));
    }
    let tokenizer = tokenizer.with_document_start(start).with_ends(&ends);
    tokenizer.with_context(|| format!("cannot use {}", dir.display()))
}

/// A file of settings in a folder; null if it is not there.
fn settings(dir: &Path, name: &str) -> Result<serde_json::Value> {
    let path = dir.join(name);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is no JSON file: fetch it again", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(serde_json::Value::Null),
        Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The name of a token, which is a text or an object with one.
fn token_name(value: &serde_json::Value) -> Option<&str> {
    value.as_str().or(value["content"].as_str())
}

/// One id or a list of them.
fn ids(value: &serde_json::Value) -> Vec<u32> {
    let several = value.as_array().cloned().unwrap_or_default();
    let all = several.iter().chain([value]);
    all.filter_map(|id| u32::try_from(id.as_u64()?).ok())
        .collect()
}

/// The chat template in a file's metadata, as the files that a folder would have.
fn template_in(gguf: &Gguf, tokenizer: &Tokenizer) -> Vec<(String, Vec<u8>)> {
    let Some(source) = gguf
        .metadata("tokenizer.chat_template")
        .and_then(Value::as_str)
    else {
        return Vec::new();
    };
    let token = |key: &str| {
        let id = gguf
            .metadata(&format!("tokenizer.ggml.{key}_token_id"))
            .and_then(Value::as_u64)?;
        Some(tokenizer.decode(&[u32::try_from(id).ok()?]))
    };
    let names = json!({ "bos_token": token("bos"), "eos_token": token("eos"), "unk_token": token("unknown") });
    vec![
        (CHAT_TEMPLATE_FILE.to_owned(), source.as_bytes().to_vec()),
        (TOKENIZER_CONFIG.to_owned(), names.to_string().into_bytes()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_is_is_found_by_what_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path();
        assert_eq!(Imported::at(dir).expect("nothing"), None);
        assert_eq!(Imported::at(&dir.join("absent")).expect("nothing"), None);
        let touch = |name: &str| fs::write(dir.join(name), "").expect("is written");
        touch("a.gguf");
        let one = Some(Imported::Gguf(dir.join("a.gguf")));
        assert_eq!(Imported::at(dir).expect("one file"), one);
        assert_eq!(Imported::at(&dir.join("a.gguf")).expect("a file"), one);
        touch("b.GGUF");
        let several = Imported::at(dir).expect_err("which?").to_string();
        assert!(several.contains("2 GGUF files"), "{several}");
        touch("model.safetensors");
        let part = Imported::at(&dir.join("model.safetensors"))
            .expect_err("a part")
            .to_string();
        assert!(part.contains("give the folder"), "{part}");
        touch("notes.txt");
        let other = Imported::at(&dir.join("notes.txt"))
            .expect_err("no model")
            .to_string();
        assert!(other.contains("ends in .gguf"), "{other}");
        touch(CONFIG_FILE);
        assert_eq!(
            Imported::at(dir).expect("a folder"),
            Some(Imported::HuggingFace(dir.into()))
        );
        touch(MANIFEST);
        assert_eq!(Imported::at(dir).expect("ours"), None);
    }

    #[test]
    fn ends_are_one_id_or_several() {
        assert_eq!(ids(&json!(2)), [2]);
        assert_eq!(ids(&json!([1, 3])), [1, 3]);
        assert!(ids(&json!(null)).is_empty() && ids(&json!("x")).is_empty());
        assert_eq!(token_name(&json!({"content": "</s>"})), Some("</s>"));
    }
}
