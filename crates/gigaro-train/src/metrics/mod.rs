//! The measurements of a run, written as they happen.
//!
//! Two files with the same content: `metrics.jsonl` for programs (and for the report), and a
//! TensorBoard event file for those who watch with that. Every line and record is handed to the
//! system at once, so a killed run has lost at most the line it was writing; when the run resumes at
//! a checkpoint, what was measured after that checkpoint is dropped, since it will be measured again.
//!
//! Read next: `jsonl.rs` for the lines, `events.rs` for TensorBoard's records.

mod crc32c;
mod events;
mod jsonl;

use std::path::Path;

use crate::error::Result;
use crate::quantity::Timestamp;

pub use events::EventFile;
pub use jsonl::{FILE_NAME, Record, Value, read};

/// The name of what a model was given to go on with.
pub const PROMPT: &str = "prompt";
/// The name of what it wrote then.
pub const SAMPLE: &str = "sample";

/// Writes the measurements of one run.
#[derive(Debug)]
pub struct Metrics {
    lines: jsonl::LineFile,
    events: EventFile,
}

impl Metrics {
    /// Opens the measurements in `run_dir`, which must exist.
    ///
    /// `resume_step` is the number of optimiser steps of the checkpoint that the run goes on from;
    /// later measurements are dropped. 0 starts anew.
    pub fn open(run_dir: &Path, resume_step: u64) -> Result<Self> {
        let lines = jsonl::LineFile::open(&run_dir.join(FILE_NAME), resume_step)?;
        Ok(Metrics {
            lines,
            events: EventFile::create(run_dir, resume_step)?,
        })
    }

    /// Records figures of a step: `&[("loss", 2.1), ("lr", 3e-4)]`.
    pub fn numbers(&mut self, step: u64, figures: &[(&str, f64)]) -> Result<()> {
        let time = Timestamp::now();
        self.lines.append(
            step,
            time,
            figures.iter().map(|(name, x)| (*name, (*x).into())),
        )?;
        self.events.scalars(step, time, figures)
    }

    /// Records what the model wrote after `prompt`, under [`PROMPT`] and [`SAMPLE`].
    pub fn sample(&mut self, step: u64, prompt: &str, text: &str) -> Result<()> {
        let time = Timestamp::now();
        let both = [(PROMPT, prompt.into()), (SAMPLE, text.into())];
        self.lines.append(step, time, both)?;
        self.events
            .text(step, time, SAMPLE, &format!("{prompt}{text}"))
    }
}
