//! What a run remembers of itself beside its recipe: `run.json` in its folder.
//!
//! The recipe says what was asked for; here is what was chosen when the run began and must not be chosen anew when it goes on. Also whether
//! a folder holds a run at all, or only what a start that failed left behind. Who reads and writes it: `job.rs`, `stage.rs`, `prepare.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use gigaro_train::{metrics, run_lock};
use serde::{Deserialize, Serialize};

use super::align::{best_of_n, rankings};
use super::job::RECIPE;
use super::prepare::{SHARDS, TOKENIZER};
use crate::failure::Usage;

/// The record's name in a run's folder.
pub(super) const RECORD: &str = "run.json";
/// How the names of TensorBoard's files begin.
const EVENTS: &str = "events.out.tfevents.";
/// How the names of tokenizers and tokens end that were being written.
const UNFINISHED: &str = ".partial";

/// What was chosen when a run began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    /// The command that began it, such as `pretrain`; empty in runs from before this was kept.
    pub(super) command: String,
    /// Sequences through the model at once, by the stage's folder below the run's. The gradients of micro-batches are added up, and
    /// another division of the batch would round otherwise.
    pub(super) micro_batch: BTreeMap<String, u64>,
    /// Which text, cut up in which way, the tokenizer and the tokens come from.
    pub(super) text: Option<String>,
}

impl Record {
    /// The record of the run in `out`; an empty one if it has none.
    ///
    /// # Errors
    /// If it cannot be read or is damaged.
    pub(super) fn read(out: &Path) -> Result<Self> {
        let path = out.join(RECORD);
        let shown = path.display();
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!("{shown} is damaged: copy it back, or remove it to have what it says chosen anew")
            }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(e).with_context(|| format!("cannot read {shown}")),
        }
    }

    /// Replaces the record of the run in `out`, whose lock the caller holds.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(super) fn write(&self, out: &Path) -> Result<()> {
        let path = out.join(RECORD);
        let text = serde_json::to_string_pretty(self)?;
        replace(&path, &format!("{text}\n"))
    }

    /// Refuses to go on with a run by another command than the one that began it: the folders would be those of other stages.
    ///
    /// # Errors
    /// [`Usage`] with the right command.
    pub(super) fn check_command(&self, command: &str, out: &Path) -> Result<()> {
        if self.command.is_empty() || self.command == command {
            return Ok(());
        }
        let (begun, out) = (&self.command, out.display());
        Err(Usage(format!(
            "the run in {out} was begun by `gigaro {begun}`: go on with it by gigaro {begun} --resume {out}"
        ))
        .into())
    }
}

/// Writes a file beside and renames it over the old one, so that a crash leaves one of the two whole.
///
/// # Errors
/// If the disk refuses.
pub(super) fn replace(path: &Path, text: &str) -> Result<()> {
    let beside = path.with_extension("tmp");
    fs::write(&beside, text)
        .and_then(|()| fs::rename(&beside, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Whether there is nothing in a run's folder but what is written before its first checkpoint.
///
/// # Errors
/// If the folder cannot be listed.
pub(super) fn is_untouched(folder: &Path) -> Result<bool> {
    let shown = || format!("cannot list {}", folder.display());
    for entry in fs::read_dir(folder).with_context(shown)? {
        let entry = entry.with_context(shown)?;
        let name = entry.file_name();
        let early = if entry.file_type().with_context(shown)?.is_dir() {
            let name = name.to_string_lossy();
            name.strip_suffix(UNFINISHED).unwrap_or(&name) == SHARDS || is_untouched(&entry.path())?
        } else {
            is_early(&name.to_string_lossy())
        };
        if !early {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_early(file: &str) -> bool {
    // What was measured after the last checkpoint is measured again, so metrics alone are nothing to go on from.
    let names = [
        RECIPE,
        RECORD,
        TOKENIZER,
        run_lock::FILE_NAME,
        metrics::FILE_NAME,
        // Drawn anew by a new start.
        rankings::FILE_NAME,
        best_of_n::FILE_NAME,
    ];
    let file = file.strip_suffix(UNFINISHED).unwrap_or(file);
    names.contains(&file) || file.starts_with(EVENTS) || file.ends_with(".tmp")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_a_damaged_one_is_a_sentence() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path();
        assert_eq!(Record::read(out).expect("none"), Record::default());
        let mut record = Record {
            command: "pretrain".into(),
            ..Record::default()
        };
        record.micro_batch.insert("sft".into(), 4);
        record.write(out).expect("written");
        assert_eq!(Record::read(out).expect("read"), record);
        fs::write(out.join(RECORD), "{\"command\": 3").expect("written");
        let said = Record::read(out).expect_err("damaged").to_string();
        assert!(said.contains("run.json is damaged"), "{said}");
    }

    #[test]
    fn a_folder_is_touched_by_whatever_a_start_does_not_write() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path();
        fs::create_dir_all(out.join("pretrain/checkpoints")).expect("made");
        fs::create_dir_all(out.join(SHARDS)).expect("made");
        fs::create_dir(out.join("reward")).expect("made");
        for name in [
            RECIPE,
            RECORD,
            TOKENIZER,
            "run.lock",
            "pretrain/metrics.jsonl",
            "reward/rankings.jsonl",
        ] {
            fs::write(out.join(name), "").expect("written");
        }
        assert!(is_untouched(out).expect("listed"));
        fs::create_dir(out.join("pretrain/checkpoints/step-000002")).expect("made");
        let weights = "pretrain/checkpoints/step-000002/model.safetensors";
        fs::write(out.join(weights), "").expect("written");
        assert!(!is_untouched(out).expect("listed"));
    }
}
