//! `gigaro perplexity`: how well a model foresees a text.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};
use gigaro_data::corpus::tokenize_in_memory;
use gigaro_models::gpt::Perplexity;
use gigaro_tensor::autocast;
use serde_json::json;

use crate::failure::{Interrupted, Usage};
use crate::flags::{MachineArgs, Weights};
use crate::interrupt;
use crate::output::Output;
use crate::text_source::TextSource;
use crate::trained::Trained;

const EXAMPLE: &str = "\
Examples:
  gigaro perplexity runs/speedrun --text book.txt --context 256
  gigaro perplexity SmolLM2-135M-Instruct.Q4_1.gguf --text book.txt
  gigaro perplexity SmolLM2-135M-Instruct.Q4_1.gguf --text book.txt --windows 20 --dtype int8 --json

The tokens are cut into windows of --context tokens and each is read on its own; the second half of each window counts, and what
is left at the end does not. It is the definition of llama.cpp's llama-perplexity, so that figures can be compared.";

/// Measure how well a model foresees a text
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// A checkpoint, the folder of a run, a Hugging Face folder or a .gguf file
    checkpoint: PathBuf,

    /// The text: a file or a folder of .txt, .md, .jsonl or .parquet
    #[arg(long, value_name = "PATH")]
    text: PathBuf,

    /// Column of Parquet files and key of JSON lines that holds the text
    #[arg(long, value_name = "NAME", default_value = "text")]
    column: String,

    /// Tokens of a window
    #[arg(long, value_name = "TOKENS", default_value_t = 512, value_parser = clap::value_parser!(u32).range(4..))]
    context: u32,

    /// Read this many windows at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    windows: Option<u32>,

    /// What weights are held in
    #[arg(long, value_enum, value_name = "TYPE", default_value = "auto")]
    dtype: Weights,

    #[command(flatten)]
    machine: MachineArgs,

    /// End stdout with one JSON object; everything for people goes to stderr
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    args.machine.apply()?;
    let trained = Trained::open_in(&args.checkpoint, args.dtype.format())?;
    let context = args.context as usize;
    if context > trained.context() {
        let sentence = format!(
            "--context {context} is more than the {} tokens that this model looks at: give a smaller one",
            trained.context()
        );
        return Err(Usage(sentence).into());
    }
    let ids = tokens(args, &trained)?;
    let windows = ids.len() / context;
    let stop = interrupt::catch("stopping")?;
    let begun = Instant::now();
    let mut tell = |found: &Perplexity| {
        if found.windows.is_multiple_of(10) && found.windows < windows {
            output.say(format_args!(
                "{} of {windows} windows: {:.4}",
                found.windows,
                found.value()
            ));
        }
        !stop.is_requested()
    };
    let start = trained.tokenizer.document_start();
    let found = autocast(args.dtype.products(), || {
        trained.model.perplexity(&ids, context, start, &mut tell)
    });
    let Some(found) = found else {
        return Err(Interrupted("stopped before the last window; nothing was saved".into()).into());
    };
    if !found.value().is_finite() {
        bail!(
            "the model {} gives no usable probabilities for this text",
            trained.dir.display()
        );
    }
    let lines = [
        (
            "perplexity",
            format!("{:.4} +/- {:.4}", found.value(), found.standard_error()),
        ),
        ("per token", format!("{:.4} nats", found.mean_nll())),
        (
            "counted",
            format!(
                "{} tokens in {} windows of {context}",
                found.tokens, found.windows
            ),
        ),
        ("weights in", args.dtype.name().to_owned()),
    ];
    output.fields(
        &format!("{} on {}", trained.dir.display(), args.text.display()),
        &lines,
    );
    output.result(&json!({
        "checkpoint": trained.dir, "text": args.text, "dtype": args.dtype.name(), "context": context,
        "perplexity": found.value(), "standard_error": found.standard_error(), "nats_per_token": found.mean_nll(),
        "tokens": found.tokens, "windows": found.windows, "seconds": begun.elapsed().as_secs_f64(),
    }))
}

/// The tokens of the text, as many whole windows as are to be read.
///
/// # Errors
/// If the text cannot be read, or is shorter than a window.
fn tokens(args: &Args, trained: &Trained) -> Result<Vec<u32>> {
    let context = args.context as usize;
    let source = TextSource::files(&args.text, &args.column)?;
    let tokens = tokenize_in_memory(source.documents(), &trained.tokenizer, |_| ())?;
    let mut ids = tokens.to_vec();
    let windows = ids.len() / context;
    if windows == 0 {
        bail!(
            "{} has {} tokens, which is less than one window of {context}: give more text, or a smaller --context",
            args.text.display(),
            ids.len()
        );
    }
    let windows = windows.min(args.windows.map_or(usize::MAX, |n| n as usize));
    ids.truncate(windows * context);
    Ok(ids)
}
