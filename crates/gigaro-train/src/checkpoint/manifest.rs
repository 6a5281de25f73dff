//! `manifest.json`: the list of a checkpoint's files with sizes and hashes.
//!
//! It is written last, so a folder with a whole manifest is a whole folder. Its own line
//! `checksum` covers the rest of it, so that a flipped bit in here is not blamed on a file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::disk::{Written, hex};
use crate::error::{Error, Result};

/// The manifest's file name.
pub const FILE_NAME: &str = "manifest.json";
/// The mark by which a folder is known as ours.
const FORMAT: &str = "gigaro checkpoint";
/// The newest format version that is written and read here.
pub const VERSION: u64 = 1;
/// No manifest of ours comes near this size; a larger file is not one.
const MAX_BYTES: u64 = 1 << 20;

/// The files of one checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    format: String,
    version: u64,
    written_by: String,
    /// By file name, sorted, so that the checksum has one spelling.
    pub(crate) files: BTreeMap<String, FileEntry>,
    #[serde(default)]
    checksum: String,
}

/// One file's size and hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileEntry {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

impl Manifest {
    pub(crate) fn new() -> Self {
        Manifest {
            format: FORMAT.into(),
            version: VERSION,
            written_by: concat!("gigaro ", env!("CARGO_PKG_VERSION")).into(),
            files: BTreeMap::new(),
            checksum: String::new(),
        }
    }

    pub(crate) fn add(&mut self, name: &str, written: Written) {
        self.files.insert(
            name.into(),
            FileEntry {
                bytes: written.bytes,
                sha256: written.sha256,
            },
        );
    }

    /// The file's text, checksum included.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let sealed = Manifest {
            checksum: self.own_checksum(),
            ..self.clone()
        };
        let mut text =
            serde_json::to_vec_pretty(&sealed).expect("strings and numbers always serialise");
        text.push(b'\n');
        text
    }

    fn own_checksum(&self) -> String {
        let bare = Manifest {
            checksum: String::new(),
            ..self.clone()
        };
        let text = serde_json::to_vec(&bare).expect("strings and numbers always serialise");
        hex(&Sha256::digest(&text))
    }

    /// Reads the manifest of the checkpoint in `dir`.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE_NAME);
        let size = match std::fs::metadata(&path) {
            Ok(meta) => meta.len(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(without_manifest(dir));
            }
            Err(e) => return Err(Error::io("read", &path)(e)),
        };
        if size > MAX_BYTES {
            return Err(Error::Foreign {
                path: dir.into(),
                why: "its manifest.json is far too large to be ours".into(),
            });
        }
        Self::parse(
            dir,
            &std::fs::read(&path).map_err(Error::io("read", &path))?,
        )
    }

    /// Reads a manifest's bytes; `dir` only serves the messages. Never panics, whatever the bytes.
    pub(crate) fn parse(dir: &Path, bytes: &[u8]) -> Result<Self> {
        let damaged = |why: String| Error::BadManifest {
            path: dir.into(),
            why,
        };
        // Format and version come first: a later version may have any other fields.
        let value: Value = serde_json::from_slice(bytes).map_err(|e| damaged(e.to_string()))?;
        if value.get("format").and_then(Value::as_str) != Some(FORMAT) {
            let why = format!("its manifest.json has no line \"format\": \"{FORMAT}\"");
            return Err(Error::Foreign {
                path: dir.into(),
                why,
            });
        }
        match value.get("version").and_then(Value::as_u64) {
            None | Some(0) => return Err(damaged("it has no version".into())),
            Some(found) if found > VERSION => {
                return Err(Error::NewerVersion {
                    path: dir.into(),
                    found,
                    supported: VERSION,
                });
            }
            Some(_) => {}
        }
        let manifest: Manifest =
            serde_json::from_value(value).map_err(|e| damaged(e.to_string()))?;
        if manifest.own_checksum() != manifest.checksum {
            return Err(damaged("its own checksum does not match".into()));
        }
        // A name with a separator would lead out of the folder.
        if let Some(name) = manifest.files.keys().find(|name| !is_plain_name(name)) {
            return Err(damaged(format!(
                "it lists {name:?}, which is not a plain file name"
            )));
        }
        Ok(manifest)
    }
}

fn is_plain_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !name.is_empty() && !name.starts_with('.') && name.chars().all(allowed)
}

/// Why a folder without a manifest is not a checkpoint.
fn without_manifest(dir: &Path) -> Error {
    let path = dir.to_path_buf();
    if dir.join("model.safetensors").exists() || dir.join("config.json").exists() {
        Error::Foreign {
            path,
            why: "it has model files but no manifest.json".into(),
        }
    } else {
        Error::NoCheckpoint { path }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Manifest {
        let mut manifest = Manifest::new();
        for (name, bytes) in [("model.safetensors", 123_456), ("state.json", 77)] {
            manifest.add(
                name,
                Written {
                    bytes,
                    sha256: hex(&Sha256::digest(name)),
                },
            );
        }
        manifest
    }

    #[test]
    fn a_manifest_reads_back() {
        let read = Manifest::parse(Path::new("x"), &sample().to_json()).unwrap();
        assert_eq!(read.files, sample().files);
    }

    #[test]
    fn every_flipped_bit_that_changes_a_meaning_is_noticed() {
        let good = sample().to_json();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // White space may turn into other white space; nothing else may pass.
            if let Ok(read) = Manifest::parse(Path::new("x"), &bad) {
                assert_eq!(read.files, sample().files, "bit {bit}");
            }
        }
    }

    #[test]
    fn a_newer_version_asks_for_an_update() {
        let text = r#"{"format": "gigaro checkpoint", "version": 9, "shards": []}"#;
        let error = Manifest::parse(Path::new("runs/a"), text.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("format 9") && error.contains("update gigaro"),
            "{error}"
        );
    }

    #[test]
    fn names_that_lead_out_of_the_folder_are_refused() {
        for name in [
            "../state.json",
            "/etc/passwd",
            "a/b",
            "",
            ".hidden",
            "a\\b",
            "c:d",
        ] {
            let mut manifest = sample();
            manifest.add(
                name,
                Written {
                    bytes: 1,
                    sha256: String::new(),
                },
            );
            assert!(
                Manifest::parse(Path::new("x"), &manifest.to_json()).is_err(),
                "{name}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_result_and_no_panic(bytes: Vec<u8>) {
            let _ = Manifest::parse(Path::new("x"), &bytes);
        }
    }
}
