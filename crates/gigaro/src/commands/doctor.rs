//! `gigaro doctor`: what machine this is, which kernels run on it, what there is of CUDA, and what the processor can do at best.

use std::path::Path;

use anyhow::Result;
use gigaro_tensor::cpu::{isa, peak, threads};
use gigaro_tensor::device::cuda::{self, CardFacts, LibraryFacts, Survey};
use gigaro_train::quantity::Bytes;
use gigaro_train::resources::{disk_available, memory_available, memory_total};
use serde_json::{Value, json};

use crate::machine::{Cache, Processor};
use crate::output::Output;

const EXAMPLE: &str = "\
Examples:
  gigaro doctor
  gigaro doctor --json | tail -n 1       for programs";

/// Show what machine this is, which kernels run on it, its graphics cards, and its measured peaks
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// End stdout with one JSON object; everything for people goes to stderr
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(_args: &Args, output: &Output) -> Result<()> {
    let machine = machine_facts(output);
    let kernels = kernel_facts(output);
    let cuda = cuda_facts(output);
    let measured = measured_facts(output);
    output.result(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "machine": machine,
        "kernels": kernels,
        "measured": measured,
        "cuda": cuda,
    }))
}

fn machine_facts(output: &Output) -> Value {
    let processor = Processor::read();
    let (total, available) = (memory_total(), memory_available());
    let disk = disk_available(Path::new("runs"));
    let size = |b: Option<u64>| b.map_or_else(|| "unknown".to_owned(), |b| Bytes(b).to_string());
    let caches: Vec<String> = processor.caches.iter().map(Cache::to_string).collect();
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
                format!("{}, {} of it available", size(total), size(available)),
            ),
            ("free disk", format!("{} in this folder", size(disk))),
        ],
    );
    let cache = |c: &Cache| json!({ "name": c.name, "size_bytes": c.size_bytes });
    json!({
        "processor": processor.model,
        "architecture": std::env::consts::ARCH,
        "physical_cores": processor.physical_cores,
        "threads": processor.usable_threads,
        "caches": processor.caches.iter().map(cache).collect::<Vec<Value>>(),
        "memory_bytes": total,
        "memory_available_bytes": available,
        "free_disk_bytes": disk,
    })
}

fn cores(processor: &Processor) -> String {
    let threads = format!("{} threads usable", processor.usable_threads);
    match processor.physical_cores {
        Some(cores) => format!("{cores} physical, {threads}"),
        None => threads,
    }
}

fn kernel_facts(output: &Output) -> Value {
    let path = |native: bool, native_words: &str| {
        if native {
            native_words.to_owned()
        } else {
            "widened to 32-bit floats".to_owned()
        }
    };
    let found: Vec<String> = isa::available()
        .iter()
        .map(|isa| format!("{isa:?}"))
        .collect();
    let used = format!("{:?}", isa::isa());
    output.fields(
        "\nKernels",
        &[
            ("instructions", found.join(", ")),
            ("32-bit floats", format!("{used} kernels")),
            (
                "bf16 products",
                path(isa::has_bf16(), "AVX512-BF16 dot products"),
            ),
            (
                "int8 products",
                path(isa::has_vnni(), "AVX512-VNNI dot products"),
            ),
        ],
    );
    json!({
        "instructions": found,
        "f32": used,
        "bf16_dot_product": isa::has_bf16(),
        "int8_dot_product": isa::has_vnni(),
    })
}

fn cuda_facts(output: &Output) -> Value {
    let survey = cuda::survey();
    let library = |library: &LibraryFacts| match &library.found {
        Ok((path, version)) => format!("{version} ({})", path.display()),
        Err(sentence) => sentence.clone(),
    };
    let mut lines: Vec<(String, String)> = survey
        .libraries
        .iter()
        .map(|facts| (facts.name.to_owned(), library(facts)))
        .collect();
    let card = |facts: &CardFacts| (format!("card {}", facts.index), card_words(facts));
    lines.extend(survey.cards.iter().map(card));
    if let Some(folder) = &survey.kernel_cache {
        lines.push(("compiled kernels".into(), folder.display().to_string()));
    }
    lines.push(("in use".into(), use_words(&survey)));
    let pairs: Vec<(&str, String)> = lines
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    output.fields("\nCUDA", &pairs);
    cuda_object(&survey)
}

fn card_words(card: &CardFacts) -> String {
    let (major, minor) = card.capability;
    let memory = Bytes(card.memory_bytes as u64);
    let words = format!(
        "{}, {memory}, compute capability {major}.{minor}",
        card.name
    );
    match &card.unusable {
        Some(sentence) => format!("{words}. {sentence}"),
        None => words,
    }
}

/// What follows from the survey, in a sentence.
fn use_words(survey: &Survey) -> String {
    let Some(sentence) = &survey.unusable else {
        return "a card can be used".into();
    };
    let words = "no card can be used, so everything runs on the processor";
    let mut libraries = survey.libraries.iter();
    if libraries.any(|library| library.found.as_ref().err() == Some(sentence)) {
        // It stands beside the library already.
        return words.into();
    }
    format!("{words}. {sentence}")
}

fn cuda_object(survey: &Survey) -> Value {
    let library = |facts: &LibraryFacts| match &facts.found {
        Ok((path, version)) => json!({ "name": facts.name, "version": version, "path": path }),
        Err(sentence) => json!({ "name": facts.name, "missing": sentence }),
    };
    let card = |facts: &CardFacts| {
        let (major, minor) = facts.capability;
        json!({
            "index": facts.index,
            "name": facts.name,
            "memory_bytes": facts.memory_bytes,
            "compute_capability": format!("{major}.{minor}"),
            "unusable": facts.unusable,
        })
    };
    json!({
        "usable": survey.unusable.is_none(),
        "unusable": survey.unusable,
        "libraries": survey.libraries.iter().map(library).collect::<Vec<Value>>(),
        "cards": survey.cards.iter().map(card).collect::<Vec<Value>>(),
        "kernel_cache": survey.kernel_cache,
    })
}

fn measured_facts(output: &Output) -> Value {
    let giga = |x: Option<f64>, unit: &str| match x {
        Some(x) => format!("{:.0} {unit}", x / 1e9),
        None => "no instruction of its own on this machine".to_owned(),
    };
    let f32_flops = peak::f32_flops();
    let (bf16_flops, int8_ops) = (peak::bf16_flops(), peak::int8_ops());
    let bandwidth = peak::read_bandwidth();
    let threads = threads::num_threads();
    output.fields(
        &format!("\nMeasured at best, {threads} threads"),
        &[
            ("32-bit floats", giga(Some(f32_flops), "GFLOP/s")),
            ("bf16", giga(Some(bf16_flops), "GFLOP/s")),
            ("int8", giga(int8_ops, "billion operations/s")),
            ("reading memory", format!("{:.1} GB/s", bandwidth / 1e9)),
        ],
    );
    json!({
        "threads": threads,
        "f32_gflops": f32_flops / 1e9,
        "bf16_gflops": bf16_flops / 1e9,
        "int8_gops": int8_ops.map(|x| x / 1e9),
        "read_gb_per_s": bandwidth / 1e9,
    })
}
