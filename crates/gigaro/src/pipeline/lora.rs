//! Fine-tuning adapters: what they stand beside, and what is left of them when they are trained.
//!
//! In the stage's folder, `lora/` is a run of its own whose checkpoints hold the adapters alone, a few hundredths of the model.
//! At the end `adapter/` holds them as PEFT does, and `checkpoints/` the model with the adapters folded into its weights, which
//! every other command opens like any other.
//!
//! The adapters themselves are in gigaro-models, the loop in `stage.rs`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use gigaro_models::LoraConfig;
use gigaro_tensor::Generator;
use gigaro_train::checkpoint::{CHECKPOINTS, Checkpoint, MODEL};
use gigaro_train::weights;
use serde_json::{Value, json};

use super::Job;
use super::stage::{self, BASE};
use crate::output::Output;
use crate::trained::Trained;

/// The folder of the adapters' own run.
const RUN: &str = "lora";
/// The folder of the trained adapter.
const ADAPTER: &str = "adapter";
/// The seed's branch that adapters are drawn from.
const DRAW: u64 = 2;

/// Adapters in training.
pub(super) struct Adapters {
    /// Where their checkpoints go.
    pub(super) dir: PathBuf,
    /// What tells the model that they stand beside from others.
    pub(super) base: Value,
}

impl Adapters {
    /// Puts fresh adapters onto the model.
    ///
    /// # Errors
    /// If it has no such layers, or the run that is resumed began with another model.
    pub(super) fn add(
        job: &Job,
        config: &LoraConfig,
        start: &mut Trained,
        dir: &Path,
    ) -> Result<Self> {
        let generator = Generator::new(job.recipe.run.seed).fork(DRAW);
        start
            .model
            .add_lora(config, &generator)
            .context("cannot put the adapters of [sft] onto this model")?;
        let from = Checkpoint::open(&start.dir)?;
        let adapters = Self {
            dir: dir.join(RUN),
            base: json!({ "dir": start.dir, "sha256": from.sha256(MODEL) }),
        };
        // The adapters mean nothing beside other weights, and those could have been trained on since.
        if let Some(last) = stage::last_checkpoint(job, &adapters.dir)?
            && last.config()?[BASE]["sha256"] != adapters.base["sha256"]
        {
            bail!(
                "the adapters in {} were trained beside other weights than those in {}; \
                 put that checkpoint back, or start a new run with --out",
                last.dir().display(),
                start.dir.display()
            );
        }
        Ok(adapters)
    }

    /// Writes the trained adapter and the model with it folded in; returns the checkpoint of the latter.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(super) fn publish(
        &self,
        mut start: Trained,
        dir: &Path,
        step: u64,
        output: &Output,
    ) -> Result<PathBuf> {
        let adapter = dir.join(ADAPTER);
        start
            .model
            .save_lora(&adapter, Some(&start.dir.to_string_lossy()))?;
        output.say(format_args!("Adapter: {}", adapter.display()));
        // A resumed stage may have come so far before.
        if let Ok(done) = Checkpoint::open(dir.join(CHECKPOINTS)) {
            return Ok(done.dir().to_owned());
        }
        start.model.merge_and_unload();
        let identity = stage::identity(
            &start.model.config.to_json(),
            &start.tokenizer,
            &start.beside,
        )?;
        Ok(weights::save(dir, &start.model, &identity, step)?)
    }
}
