//! Everything that can go wrong outside the program while training, one sentence each.
//!
//! Each message says what is wrong, where, and what to do. Misuse by the calling code is not here:
//! that panics at the caller's line.

use std::io;
use std::path::{Path, PathBuf};

use gigaro_tensor::DeviceFailure;

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong while training, saving, loading or reporting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("cannot {action} {}: {source}{}", path.display(), hint(source))]
    Io {
        /// What was tried, as a verb: `write`, `read`, `create`.
        action: &'static str,
        /// The file or folder it was tried on.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },

    /// A path that should lead to a checkpoint holds none.
    #[error(
        "{} holds no checkpoint: give a run's folder (with checkpoints/latest in it) or one checkpoint's folder (with manifest.json in it)",
        path.display()
    )]
    NoCheckpoint {
        /// The path as given.
        path: PathBuf,
    },

    /// A folder with model files that gigaro did not write.
    #[error(
        "{} is not a gigaro checkpoint: {why}; if it is a model folder of another program, import its weights instead of resuming from it",
        path.display()
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// How one can tell.
        why: String,
    },

    /// A checkpoint of a later format version than this program knows.
    #[error(
        "{} was written in checkpoint format {found}, and this gigaro reads formats up to {supported}: update gigaro to use it",
        path.display()
    )]
    NewerVersion {
        /// The checkpoint's folder.
        path: PathBuf,
        /// The version in its manifest.
        found: u64,
        /// The newest version read here.
        supported: u64,
    },

    /// The list of files and hashes is itself damaged.
    #[error("manifest.json in {} is damaged ({why}): the checkpoint cannot be trusted, take another one or a copy", path.display())]
    BadManifest {
        /// The checkpoint's folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },

    /// A file that the manifest lists is not there.
    #[error("{file} is missing from {}: copy it back, or take another checkpoint", path.display())]
    MissingFile {
        /// The checkpoint's folder.
        path: PathBuf,
        /// The missing file's name.
        file: String,
    },

    /// A file is shorter than the manifest says.
    #[error(
        "{file} in {} is truncated: {found} of {expected} bytes are there; copy it again, or take another checkpoint",
        path.display()
    )]
    Truncated {
        /// The checkpoint's folder.
        path: PathBuf,
        /// The short file's name.
        file: String,
        /// Its size by the manifest, in bytes.
        expected: u64,
        /// Its size on the disk, in bytes.
        found: u64,
    },

    /// A file's bytes are not those that were saved.
    #[error(
        "{file} in {} has changed since it was saved ({why}): bits flipped or someone edited it; copy it again, or take another checkpoint",
        path.display()
    )]
    Altered {
        /// The checkpoint's folder.
        path: PathBuf,
        /// The changed file's name.
        file: String,
        /// Hash or length, found and expected.
        why: String,
    },

    /// A file is as it was saved, but holds something that this program cannot use.
    #[error("{file} in {} does not hold what it should: {why}; it was made by another program or version", path.display())]
    Malformed {
        /// The checkpoint's folder.
        path: PathBuf,
        /// The file's name.
        file: String,
        /// What is wrong with it.
        why: String,
    },

    /// A damaged checkpoint, with a whole one before it.
    #[error("{source}; the one before it is whole: resume from {}", previous.display())]
    Damaged {
        /// What is wrong with the newest checkpoint.
        source: Box<Error>,
        /// The newest checkpoint that passed every check.
        previous: PathBuf,
    },

    /// Tokenizer and weights do not belong together.
    #[error("the tokenizer does not belong to the weights in {}: {why}; use the tokenizer.json that was saved with them", path.display())]
    WrongTokenizer {
        /// The checkpoint's folder.
        path: PathBuf,
        /// Which sizes or hashes disagree.
        why: String,
    },

    /// Saved parameters and the model that should take them differ.
    #[error("the weights in {} do not fit this model: {why}; use the same model settings as when they were saved", path.display())]
    WrongModel {
        /// The checkpoint's folder.
        path: PathBuf,
        /// The first parameter that differs, and how.
        why: String,
    },

    /// A run is resumed with settings that change its course.
    #[error("{} was saved by a run with {name} = {saved}, and this run has {name} = {given}: resume with the same value, or start a new run", path.display())]
    WrongSetting {
        /// The checkpoint's folder.
        path: PathBuf,
        /// The setting's name.
        name: String,
        /// Its value when the checkpoint was saved.
        saved: String,
        /// Its value now.
        given: String,
    },

    /// Another run writes into this folder.
    #[error("{} is in use by another run ({holder}): wait for it, stop it, or give another --out folder", path.display())]
    FolderBusy {
        /// The run's folder.
        path: PathBuf,
        /// Process id and start time, as far as known.
        holder: String,
    },

    /// The run would not fit into memory.
    #[error("{what} needs {need} of memory ({parts}), {free} is free: {advice}")]
    NotEnoughMemory {
        /// What asked for it: `this run`.
        what: String,
        /// The sum, formatted.
        need: String,
        /// The parts of the sum, formatted.
        parts: String,
        /// What is free, formatted.
        free: String,
        /// What to do.
        advice: String,
    },

    /// The run's files would not fit onto the disk.
    #[error("{what} needs {need} on the disk of {}, {free} is free: free some space or give another --out folder", path.display())]
    NotEnoughDisk {
        /// What asked for it: `keeping 2 checkpoints`.
        what: String,
        /// The need, formatted.
        need: String,
        /// The folder that was to be written into.
        path: PathBuf,
        /// What is free, formatted.
        free: String,
    },

    /// A loss or a gradient stopped being a number.
    #[error("training stopped at step {step}: {what} is not finite; {}; lower the learning rate or raise the warm-up", last_good_sentence(last_good.as_deref()))]
    NonFinite {
        /// The step, counted from 1.
        step: u64,
        /// `the loss`, or `the gradient of transformer.h.3.mlp.c_fc.weight`.
        what: String,
        /// The newest checkpoint from before that step.
        last_good: Option<PathBuf>,
    },

    /// A card is lost or full.
    #[error("training stopped at step {step}: {failure} ({})", last_good_sentence(last_good.as_deref()))]
    Device {
        /// The step, counted from 1.
        step: u64,
        /// What happened.
        failure: DeviceFailure,
        /// The newest checkpoint from before that step.
        last_good: Option<PathBuf>,
    },

    /// The place in the data that a checkpoint holds cannot be gone on from.
    #[error(
        "the run cannot go on from where its checkpoint stands in the data: {why}; resume with the data and the settings that it was started with"
    )]
    Position {
        /// What does not fit.
        why: String,
    },

    /// A scorer's answer cannot be learned from.
    #[error(
        "{what}: mend what scores the answers; no weight has changed in this step, so the last checkpoint is good to go on from"
    )]
    BadScores {
        /// What is wrong with which score.
        what: String,
    },

    /// The score that is trained on and the one that is meant have parted.
    #[error(
        "training stopped at step {step}: the training score rises while the validation score falls, to {score:.4} from {best:.4} at step {best_step}, so the policy exploits what is wrong with the training score; {}",
        best_sentence(kept.as_deref())
    )]
    Overoptimised {
        /// Steps done.
        step: u64,
        /// The validation score now.
        score: f64,
        /// The best one.
        best: f64,
        /// When it was measured.
        best_step: u64,
        /// The folder with the weights of that time.
        kept: Option<PathBuf>,
    },

    /// A model gave logits that nothing can be drawn from.
    #[error(transparent)]
    Sample(#[from] gigaro_models::generate::SampleError),

    /// Text, tokens or conversations could not be used.
    #[error(transparent)]
    Data(#[from] gigaro_data::Error),

    /// There is nothing to train or evaluate on.
    #[error("{what}: {advice}")]
    NotEnoughData {
        /// What is missing, with the counts.
        what: String,
        /// What to do.
        advice: String,
    },

    /// A number in the settings that makes no sense.
    #[error("{name} = {value} does not work: {why}")]
    BadSetting {
        /// The setting's name, as the user writes it.
        name: &'static str,
        /// The value.
        value: String,
        /// What it must be.
        why: String,
    },

    /// Whoever should judge answers cannot be asked.
    #[error("the judge {judge} cannot be asked: {why}")]
    Judge {
        /// Its name.
        judge: String,
        /// What is wrong and what to do, as whoever reaches it says.
        why: String,
    },

    /// Whoever should judge answers gives no verdicts.
    #[error(
        "the judge {judge} gave no verdict in {replies} replies, where `A`, `B` or `tie` was asked for; the first was {example:?}: take a model that follows instructions"
    )]
    NoVerdict {
        /// Its name.
        judge: String,
        /// How often it was asked.
        replies: usize,
        /// What it said first, shortened.
        example: String,
    },

    /// A chart could not be drawn.
    #[error("cannot draw the chart '{chart}': {why}")]
    Chart {
        /// The chart's title.
        chart: String,
        /// What the drawing library says.
        why: String,
    },
}

impl Error {
    /// For `map_err`: an objective's saved position that cannot be read or does not fit.
    pub fn position(why: impl std::fmt::Display) -> Self {
        Self::Position {
            why: why.to_string(),
        }
    }

    /// A setting that makes no sense.
    pub(crate) fn bad_setting(
        name: &'static str,
        value: impl ToString,
        why: impl Into<String>,
    ) -> Self {
        Self::BadSetting {
            name,
            value: value.to_string(),
            why: why.into(),
        }
    }

    /// For `map_err`: a failed file operation, with what was tried on what.
    pub(crate) fn io(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io {
            action,
            path,
            source,
        }
    }
}

/// What to do about the most common refusals of a file system.
fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space or give another --out folder (nothing that was saved is lost)"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; give a folder that you may write to"
        }
        io::ErrorKind::NotFound => "; check the path",
        io::ErrorKind::NotADirectory => "; a file stands where a folder is needed",
        _ => "",
    }
}

fn best_sentence(kept: Option<&Path>) -> String {
    match kept {
        Some(path) => format!("the best weights are in {}", path.display()),
        None => "take a checkpoint from about that time".into(),
    }
}

fn last_good_sentence(last_good: Option<&Path>) -> String {
    match last_good {
        Some(path) => format!("the last good checkpoint is {}", path.display()),
        None => "no checkpoint had been saved yet".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_with_what_to_do() {
        let full =
            Error::io("write", "runs/a")(io::Error::from(io::ErrorKind::StorageFull)).to_string();
        assert!(
            full.starts_with("cannot write runs/a: ") && full.contains("free some space"),
            "{full}"
        );
    }

    #[test]
    fn a_non_finite_loss_names_the_step_and_the_way_back() {
        let what = "the gradient of h.3.mlp.c_fc.weight".to_string();
        let error = Error::NonFinite {
            step: 412,
            what,
            last_good: Some("runs/a/checkpoints/step-000400".into()),
        };
        let text = error.to_string();
        assert!(
            text.contains("step 412") && text.contains("h.3.mlp") && text.contains("step-000400"),
            "{text}"
        );
    }
}
