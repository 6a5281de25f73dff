//! `gigaro bench decode`: text from a model, one token after the other, for one text or many at once.
//!
//! As the peers' side has it: 32 tokens are read, 64 are drawn greedily, and all of that time counts; reading and writing are told
//! apart beside it. What bounds writing a single text is memory: every token reads every weight once. Texts that are written together
//! share that reading, and so do the tokens of a prompt.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};
use gigaro_models::gpt::KvCache;
use gigaro_models::{Gpt, GptConfig};
use gigaro_tensor::{Generator, autocast, cpu};
use gigaro_train::quantity::{Bytes, Count};
use gigaro_train::resources::memory_available;
use serde_json::json;

use super::presets::Preset;
use super::timing::{median, median_seconds};
use super::{BenchArgs, report};
use crate::device;
use crate::flags::Weights;
use crate::output::Output;
use crate::trained::Trained;

/// Let a GPT write
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  gigaro bench decode --preset gpt2-124m --dtype int8\n  gigaro bench decode --checkpoint SmolLM2-135M-Instruct.Q4_1.gguf --prompt 512"
)]
pub(super) struct Args {
    /// Model of random weights to run
    #[arg(long, value_enum, value_name = "NAME", default_value = "gpt2-124m")]
    preset: Preset,

    /// A model to run instead: a checkpoint, a Hugging Face folder or a .gguf file
    #[arg(long, value_name = "PATH", conflicts_with = "preset")]
    checkpoint: Option<PathBuf>,

    /// Texts written together
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,

    /// Tokens that are read before the first is drawn
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4096))]
    prompt: u16,

    /// Tokens that are drawn
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(2..=4096))]
    tokens: u16,

    /// What weights are held in
    #[arg(long, value_enum, value_name = "TYPE", default_value = "auto")]
    dtype: Weights,

    #[command(flatten)]
    pub(super) shared: BenchArgs,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<()> {
    args.shared.machine.apply()?;
    let (batch, drawn) = (usize::from(args.batch), usize::from(args.tokens));
    let length = usize::from(args.prompt) + drawn;
    let (name, model) = model(args, length)?;
    let vocab = model.config.vocab_size as u32;
    let prompt: Vec<u32> = (0..u32::from(args.prompt))
        .map(|i| i * 97 % vocab.min(4096))
        .collect();
    let mut cache = KvCache::with_capacity(&model, batch, length);
    let mut reading = Vec::new();
    let mut run = || reading.push(write(&model, &mut cache, &prompt, drawn));
    let seconds = autocast(args.dtype.products(), || {
        median_seconds(args.shared.repeats, &mut run)
    });
    reading.drain(..3); // the warm-up
    let reading = median(reading);
    let texts = f64::from(args.batch);
    let rate = texts * drawn as f64 / seconds;
    // The first token is drawn from what reading the prompt left.
    let writing = texts * (drawn - 1) as f64 / (seconds - reading);
    let prompt_rate = texts * f64::from(args.prompt) / reading;
    let read = model.bytes_per_token();
    // Texts that are written together read the weights once for all of them (a floor, where they are more than a kernel takes).
    let used = read as f64 * writing / texts;
    let bandwidth = cpu::peak::read_bandwidth();
    output.say(format_args!(
        "{} in {}, {} parameters, {} texts at once, {} of weights per step: {rate:.1} tokens/s in all; reading {prompt_rate:.1} tokens/s, \
         writing {writing:.1} tokens/s, {:.1} GB/s, {:.0} % of the measured {:.1} GB/s",
        name,
        args.dtype.name(),
        Count(model.config.num_params() as f64),
        args.batch,
        Bytes(read),
        used / 1e9,
        100.0 * used / bandwidth,
        bandwidth / 1e9,
    ));
    let figures = json!({
        "tokens_per_s": rate,
        "prompt_tokens_per_s": prompt_rate,
        "drawn_tokens_per_s": writing,
        "weight_bytes_per_token": read,
        "gb_per_s": used / 1e9,
        "memory_gb_per_s": bandwidth / 1e9,
    });
    report("decode", args.dtype.name(), figures, output)
}

/// What writes, with room for texts of `length` tokens, and its name.
fn model(args: &Args, length: usize) -> Result<(String, Gpt)> {
    if let Some(path) = &args.checkpoint {
        let model = Trained::open_in(path, args.dtype.format())?.model;
        let context = model.config.max_seq_len;
        if length > context {
            bail!(
                "{length} tokens are more than the {context} that this model looks at: give a smaller --prompt or fewer --tokens"
            );
        }
        return Ok((path.display().to_string(), model));
    }
    // A context of 1024 whatever the preset trains with, as the peers' side has it.
    let config = GptConfig {
        max_seq_len: length.max(1024),
        ..args.preset.config()
    };
    check_memory(&config, usize::from(args.batch) * length)?;
    let mut model = Gpt::new(&config, &Generator::new(0));
    if let Some(format) = args.dtype.format() {
        device::check_format(format)?;
        model.store_weights(format);
    }
    device::place(&model);
    Ok((args.preset.name(), model))
}

/// Writes a text in every row of the cache; the seconds that reading the prompt takes.
fn write(model: &Gpt, cache: &mut KvCache, prompt: &[u32], drawn: usize) -> f64 {
    let start = Instant::now();
    let rows: Vec<usize> = (0..cache.rows()).collect();
    rows.iter().for_each(|&row| cache.truncate(row, 0));
    let prompts: Vec<(usize, &[u32])> = rows.iter().map(|&row| (row, prompt)).collect();
    let mut logits = model.decode_ragged(&prompts, cache);
    let reading = start.elapsed().as_secs_f64();
    for _ in 1..drawn {
        let best = logits.argmax(-1).to_vec::<i64>();
        let best: Vec<u32> = best.into_iter().map(|token| token as u32).collect();
        logits = model.decode_rows(&best, &rows, cache);
    }
    reading
}

fn check_memory(config: &GptConfig, cached: usize) -> Result<()> {
    // The weights, a rounded copy beside them, and the keys and values of all texts.
    let kv_width = 2 * config.n_kv_head * config.d_model / config.n_head;
    let cache = cached * config.n_layer * kv_width * 4;
    let needed = config.num_params() * 6 + cache as u64;
    match memory_available() {
        Some(available) if needed > available => bail!(
            "the model needs {} of memory, but only {} are available: choose a smaller --preset or --batch",
            Bytes(needed),
            Bytes(available)
        ),
        _ => Ok(()),
    }
}
