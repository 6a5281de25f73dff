//! `gigaro doctor`: what machine this is.

use std::path::Path;

use anyhow::Result;
use gigaro_train::quantity::Bytes;
use serde_json::{Value, json};

use crate::machine::{self, Memory, Processor};
use crate::output::Output;

const EXAMPLE: &str = "\
Examples:
  gigaro doctor
  gigaro doctor --json | tail -n 1       for programs";

/// Show what machine this is: processor, memory, disk and what of them is used
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// End stdout with one JSON object; everything for people goes to stderr
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(_args: &Args, output: &Output) -> Result<()> {
    let (processor, memory) = (Processor::read(), Memory::read());
    let disk = machine::free_disk_bytes(Path::new("runs"));
    let size =
        |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), |b| Bytes(b).to_string());
    let caches: Vec<String> = processor
        .caches
        .iter()
        .map(|c| format!("{} {}", c.name, Bytes(c.size_bytes)))
        .collect();
    output.fields(
        "Machine",
        &[
            (
                "processor",
                processor.model.clone().unwrap_or_else(|| "unknown".into()),
            ),
            ("architecture", std::env::consts::ARCH.into()),
            ("cores", cores(&processor)),
            ("caches", caches.join(", ")),
            (
                "memory",
                format!(
                    "{}, {} of it available",
                    size(memory.total_bytes),
                    size(memory.available_bytes)
                ),
            ),
            ("free disk", format!("{} in this folder", size(disk))),
            (
                "CUDA",
                "this build has no CUDA backend yet: everything runs on the processor".into(),
            ),
        ],
    );
    output.result(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "processor": processor.model,
        "architecture": std::env::consts::ARCH,
        "physical_cores": processor.physical_cores,
        "threads": processor.usable_threads,
        "caches": processor.caches.iter().map(|c| json!({ "name": c.name, "size_bytes": c.size_bytes })).collect::<Vec<Value>>(),
        "memory_bytes": memory.total_bytes,
        "memory_available_bytes": memory.available_bytes,
        "free_disk_bytes": disk,
        "cuda": Value::Null,
    }))
}

fn cores(processor: &Processor) -> String {
    let threads = format!("{} threads usable", processor.usable_threads);
    processor.physical_cores.map_or_else(
        || threads.clone(),
        |cores| format!("{cores} physical, {threads}"),
    )
}
