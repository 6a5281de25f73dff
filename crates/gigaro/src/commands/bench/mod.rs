//! `gigaro bench`: how fast this machine runs the work that matters, counted as the peers' benchmark counts it.
//!
//! One object under `--json`, with the keys of that benchmark: `what`, `peer` (whose side it is), `dtype`, `mode`, `threads`, `peak_rss_mb` and the
//! figures. How time is taken is in `timing.rs`.

mod attention;
mod decode;
mod gemm;
mod gpt;
mod presets;
mod timing;

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use gigaro_tensor::{Device, cpu};
use serde_json::{Map, Value, json};

use crate::device;
use crate::flags::MachineArgs;
use crate::machine::peak_rss_bytes;
use crate::output::Output;

const EXAMPLE: &str = "\
Examples:
  gigaro bench gpt --preset small --dtype bf16
  gigaro bench decode --preset gpt2-124m --dtype int8
  gigaro bench gemm --m 2048 --n 768 --k 3072 --dtype bf16
  gigaro bench gemm --json | tail -n 1   for programs";

/// Measure speed: training a GPT, writing text, matrix products
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Gpt(gpt::Args),
    Decode(decode::Args),
    Gemm(gemm::Args),
    Attention(attention::Args),
}

/// Flags of every benchmark.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    machine: MachineArgs,

    /// Timed runs after a warm-up; their median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    repeats: u16,

    /// End stdout with one JSON object; everything for people goes to stderr
    #[arg(long)]
    json: bool,
}

/// The numbers that weights and products are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchDtype {
    /// 32-bit floats
    F32,
    /// 16-bit brain floats, summed in 32 bits
    Bf16,
}

impl BenchDtype {
    fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// The machine's peak for products of these numbers, in floating-point operations per second; of a card, what a large product reaches.
    fn peak_flops(self) -> f64 {
        if device::chosen() != Device::Cpu {
            return gemm::flops([8192; 3], self, 3);
        }
        match self {
            Self::F32 => cpu::peak::f32_flops(),
            Self::Bf16 => cpu::peak::bf16_flops(),
        }
    }
}

impl Args {
    pub(crate) fn wants_json(&self) -> bool {
        match &self.what {
            What::Gpt(args) => args.shared.json,
            What::Decode(args) => args.shared.json,
            What::Gemm(args) => args.shared.json,
            What::Attention(args) => args.shared.json,
        }
    }
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    match &args.what {
        What::Gpt(args) => gpt::run(args, output),
        What::Decode(args) => decode::run(args, output),
        What::Gemm(args) => gemm::run(args, output),
        What::Attention(args) => attention::run(args, output),
    }
}

/// Adds to the figures what every benchmark reports.
fn report(what: &str, dtype: &str, figures: Value, output: &Output) -> Result<()> {
    let mut object = match figures {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    object.insert("what".into(), json!(what));
    object.insert(
        "peer".into(),
        json!(concat!("gigaro ", env!("CARGO_PKG_VERSION"))),
    );
    object.insert("dtype".into(), json!(dtype));
    object.insert("mode".into(), json!("eager"));
    object.insert("threads".into(), json!(cpu::threads::num_threads()));
    object.insert("device".into(), json!(device::described()));
    if let Some(bytes) = device::peak_bytes() {
        object.insert(
            "peak_device_mb".into(),
            json!(bytes as f64 / f64::from(1 << 20)),
        );
    }
    let peak_mb = peak_rss_bytes().map(|bytes| bytes as f64 / f64::from(1 << 20));
    object.insert("peak_rss_mb".into(), json!(peak_mb));
    output.result(&object)
}
