//! Flags that several commands share, so that they are spelled and explained the same everywhere.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use gigaro_models::gpt::WeightFormat;
use gigaro_tensor::{DType, cuda};
use serde::{Deserialize, Serialize};

use crate::device;
use crate::failure::Usage;
use crate::recipe::Data;
use crate::trained::existing;

/// The numbers a model computes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Precision {
    /// 32-bit floats throughout
    F32,
    /// 16-bit brain floats in matrix products, 32-bit sums and weights: about twice as fast
    Bf16,
}

impl Precision {
    /// As the engine calls it.
    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }

    /// The short name, as users type it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

/// What weights are held in where they are only read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Weights {
    /// As they are stored: small integers if a GGUF file has such, else 32-bit floats
    Auto,
    /// 32-bit floats
    F32,
    /// 16-bit brain floats
    Bf16,
    /// 8-bit integers with a scale for every few
    Int8,
    /// 4-bit integers with a scale and a minimum for every few; the projection onto the vocabulary has 8
    Int4,
}

impl Weights {
    /// As the models call it; `None` for whatever is stored.
    pub(crate) fn format(self) -> Option<WeightFormat> {
        match self {
            Self::Auto => None,
            Self::F32 => Some(WeightFormat::F32),
            Self::Bf16 => Some(WeightFormat::Bf16),
            Self::Int8 => Some(WeightFormat::Int8),
            Self::Int4 => Some(WeightFormat::Int4),
        }
    }

    /// What products compute in.
    pub(crate) fn products(self) -> DType {
        match self {
            Self::Bf16 => DType::BF16,
            Self::Auto | Self::F32 | Self::Int8 | Self::Int4 => DType::F32,
        }
    }

    /// Bytes of a weight, about.
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::Auto | Self::F32 => 4,
            Self::Bf16 => 2,
            // Of 4 bits too: the projection onto the vocabulary is a good part of a small model.
            Self::Int8 | Self::Int4 => 1,
        }
    }

    /// The short name, as users type it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        }
    }
}

/// What of the machine to use: on every command that computes.
#[derive(Clone, Debug, Args)]
pub(crate) struct MachineArgs {
    /// Processor threads to use [default: one per core]; results do not depend on it
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,

    /// Where to compute: cpu, cuda (the first graphics card), cuda:N, or auto (a card if one can be used) [default: cpu]
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<device::Choice>,

    /// Ask a graphics card for every kernel, instead of having it repeat whole steps
    #[arg(long)]
    pub(crate) no_graphs: bool,

    /// Multiply 32-bit numbers on a graphics card as they are, instead of rounded to tf32
    #[arg(long)]
    pub(crate) no_tf32: bool,

    /// Let a graphics card add products up in any order: no two runs have the same bits then
    #[arg(long)]
    pub(crate) any_order: bool,
}

/// How to compute: on every command that runs a model.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Computing")]
pub(crate) struct ComputeArgs {
    /// Start of the random numbers; the same seed gives the same result, bit for bit
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = seed)]
    pub(crate) seed: Option<u64>,

    #[command(flatten)]
    pub(crate) machine: MachineArgs,

    /// Numbers to compute in
    #[arg(long, value_enum, value_name = "TYPE")]
    pub(crate) dtype: Option<Precision>,

    /// End stdout with one JSON object; everything for people goes to stderr
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to run, on what, and where to put it: on every command that trains.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Run")]
pub(crate) struct RunArgs {
    /// Recipe to follow: a TOML file, or the name of one that is built in (see `gigaro info`)
    #[arg(long, value_name = "FILE.toml", conflicts_with = "resume")]
    pub(crate) recipe: Option<String>,

    /// Folder for checkpoints, metrics and the report [default: runs/NAME-OF-RECIPE]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub(crate) out: Option<PathBuf>,

    /// Go on with the run in this folder from its last checkpoint, or from a checkpoint in it that is given
    #[arg(long, value_name = "DIR")]
    pub(crate) resume: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

/// Which text to learn from: on every command that reads some.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Run")]
pub(crate) struct TextArgs {
    /// Your own text instead of the built-in small world: a file or a folder of .txt, .md, .jsonl or .parquet
    #[arg(long, value_name = "PATH", conflicts_with = "resume")]
    pub(crate) text: Option<PathBuf>,

    /// Column of Parquet files and key of JSON lines that holds the text [default: text]
    #[arg(long, value_name = "NAME", conflicts_with = "resume")]
    pub(crate) column: Option<String>,
}

impl TextArgs {
    /// Puts the flags over the `[data]` of a recipe.
    ///
    /// # Errors
    /// If there is nothing at the path, or a column is named and there is no text that could have it.
    pub(crate) fn put_into(&self, data: &mut Data) -> Result<()> {
        if let Some(text) = &self.text {
            data.text = Some(existing(text)?);
        }
        if let Some(column) = &self.column {
            if data.text.is_none() {
                let sentence =
                    "--column names where your own text is, but there is none: give --text PATH";
                return Err(Usage(sentence.into()).into());
            }
            data.column.clone_from(column);
        }
        Ok(())
    }
}

/// A seed from the command line.
pub(crate) fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| {
        format!(
            "a seed is a whole number from 0 to {}, and {text} is none",
            u64::MAX
        )
    })
}

/// A number of things from the command line.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| format!("give a whole number, 0 or more, and not {text}"))
}

impl MachineArgs {
    /// Puts `--threads` and `--device` into force.
    ///
    /// # Errors
    /// If the device cannot be used.
    pub(crate) fn apply(&self) -> Result<()> {
        if let Some(threads) = self.threads {
            gigaro_tensor::cpu::threads::set_num_threads(threads.into());
        }
        if self.no_graphs {
            cuda::allow_graphs(false);
        }
        if self.no_tf32 {
            cuda::allow_tf32(false);
        }
        if self.any_order {
            cuda::allow_any_order(true);
        }
        device::choose(self.device)
    }
}
