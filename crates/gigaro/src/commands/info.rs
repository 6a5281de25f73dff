//! `gigaro info`: what a checkpoint holds, or what a recipe says.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use gigaro_data::Tokenizer;
use gigaro_models::GptConfig;
use gigaro_models::gpt::{FeedForwardKind, NormKind, Position};
use gigaro_tensor::io::gguf::Gguf;
use gigaro_train::checkpoint::{CONFIG, Checkpoint, RunState};
use gigaro_train::quantity::{Bytes, Count, Seconds};
use serde_json::{Value, json};

use crate::imported::Imported;
use crate::output::Output;
use crate::recipe::{self, BUILTIN, Recipe};
use crate::trained::newest_stage;

const EXAMPLE: &str = "\
Examples:
  gigaro info runs/speedrun              a run's newest checkpoint, all hashes checked
  gigaro info SmolLM2.Q4_1.gguf          a model that others made
  gigaro info                            the built-in recipes
  gigaro info speedrun                   one of them
  gigaro info my.toml --json             a recipe of your own, as JSON";

/// Show what a checkpoint holds and whether it is whole, or what a recipe says
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// A checkpoint or a run's folder, a Hugging Face folder, a .gguf file, a recipe file, or the name of a built-in recipe [default: list those]
    what: Option<String>,

    /// End stdout with one JSON object; everything for people goes to stderr
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    let path = args.what.as_deref().map(Path::new);
    if let Some(path) = path.filter(|path| path.is_dir() || has_end(path, "gguf"))
        && let Some(imported) = Imported::at(path)?
    {
        return show_imported(&imported, output);
    }
    match &args.what {
        Some(what) if Path::new(what).is_dir() => show_checkpoint(Path::new(what), output),
        Some(what) => show_recipe(&recipe::load(what)?, output),
        None => list_recipes(output),
    }
}

fn has_end(path: &Path, end: &str) -> bool {
    path.extension()
        .is_some_and(|found| found.eq_ignore_ascii_case(end))
}

/// A model that others made. What of it is not supported is the error.
fn show_imported(imported: &Imported, output: &Output) -> Result<()> {
    let path = imported.path();
    let (config, tokenizer) = (imported.config()?, imported.tokenizer()?);
    output.fields(
        &format!("Model in {}", path.display()),
        &model_lines(&config),
    );
    output.fields("\nTokenizer", &tokenizer_lines(Some(&tokenizer)));
    let mut formats = BTreeMap::new();
    if let Imported::Gguf(path) = imported {
        for tensor in Gguf::open(path)?.tensors() {
            let entry = formats
                .entry(tensor.format.to_string())
                .or_insert((0_u64, 0_u64));
            *entry = (entry.0 + 1, entry.1 + tensor.bytes.len() as u64);
        }
        let line = |(format, (tensors, bytes)): (&String, &(u64, u64))| {
            (
                format.clone(),
                format!("{tensors} tensors, {}", Bytes(*bytes)),
            )
        };
        let lines: Vec<(String, String)> = formats.iter().map(line).collect();
        let lines: Vec<(&str, String)> =
            lines.iter().map(|(f, l)| (f.as_str(), l.clone())).collect();
        output.fields("\nFormats of the weights", &lines);
    }
    output.result(&json!({
        "checkpoint": path,
        "parameters": config.num_params(),
        "config": config,
        "tokenizer": { "vocab_size": tokenizer.vocab_size(), "hash": tokenizer.hash() },
        "formats": formats.into_iter().map(|(f, (n, bytes))| (f, json!({ "tensors": n, "bytes": bytes })))
            .collect::<serde_json::Map<String, Value>>(),
    }))
}

fn list_recipes(output: &Output) -> Result<()> {
    let recipes: Vec<Recipe> = BUILTIN
        .iter()
        .filter_map(|(name, _)| recipe::builtin(name))
        .collect();
    let lines: Vec<(&str, String)> = recipes
        .iter()
        .map(|r| (r.name.as_str(), r.about.clone()))
        .collect();
    output.fields("Built-in recipes (use with --recipe NAME):", &lines);
    output.result(&json!({ "recipes": recipes }))
}

fn show_recipe(recipe: &Recipe, output: &Output) -> Result<()> {
    output.say(format_args!("{}: {}\n", recipe.name, recipe.about));
    output.fields("Must reach", &recipe.must_reach.lines());
    output.fields("Cost", &recipe.cost.lines());
    output.say(format_args!("\n{}", toml::to_string(recipe)?));
    output.result(recipe)
}

fn show_checkpoint(path: &Path, output: &Output) -> Result<()> {
    let checkpoint = Checkpoint::open(newest_stage(path))?;
    checkpoint.verify()?;
    let dir = checkpoint.dir();
    let text = String::from_utf8_lossy(&checkpoint.file(CONFIG)?).into_owned();
    let config =
        GptConfig::from_json(&text).with_context(|| format!("cannot use {}", dir.display()))?;
    let state = checkpoint.state()?;
    let tokenizer = tokenizer(&checkpoint)?;
    output.fields(
        &format!("Model in {}", dir.display()),
        &model_lines(&config),
    );
    output.fields("\nTraining", &training_lines(&state));
    output.fields("\nTokenizer", &tokenizer_lines(tokenizer.as_ref()));
    let files: Vec<(&str, String)> = checkpoint
        .files()
        .map(|(name, size)| (name, Bytes(size).to_string()))
        .collect();
    output.fields("\nFiles, each with the hash that the manifest says", &files);
    output.result(&json!({
        "checkpoint": dir,
        "parameters": config.num_params(),
        "config": config,
        "step": state.step,
        "tokens_seen": state.tokens_seen,
        "seconds_trained": state.seconds_trained,
        "best_validation_loss": state.best_validation_loss,
        "tokenizer": tokenizer.map(|t| json!({ "vocab_size": t.vocab_size(), "hash": t.hash() })),
        "files": checkpoint.files().map(|(name, bytes)| (name.to_owned(), json!(bytes))).collect::<serde_json::Map<String, Value>>(),
        "hashes_verified": true,
    }))
}

fn tokenizer(checkpoint: &Checkpoint) -> Result<Option<Tokenizer>> {
    let place = format!("the tokenizer of {}", checkpoint.dir().display());
    let json = checkpoint.tokenizer()?;
    Ok(json
        .map(|json| Tokenizer::from_json(&json, &place))
        .transpose()?)
}

fn model_lines(config: &GptConfig) -> Vec<(&'static str, String)> {
    let heads = match config.n_kv_head {
        n if n == config.n_head => format!("{n}"),
        n => format!("{} for queries, {n} for keys and values", config.n_head),
    };
    let position = match config.position {
        Position::Learned => "learned positions",
        Position::Rotary { scaling: None, .. } => "rotary positions",
        Position::Rotary { .. } => "rotary positions, scaled",
    };
    let norm = match config.norm {
        NormKind::LayerNorm => "LayerNorm",
        NormKind::RmsNorm => "RMSNorm",
    };
    let inner = match config.activation {
        FeedForwardKind::GeluTanh => "GELU (tanh)",
        FeedForwardKind::Gelu => "GELU",
        FeedForwardKind::ReluSquared => "ReLU squared",
        FeedForwardKind::SwiGlu => "SwiGLU",
    };
    let head = if config.tied_head {
        "tied head"
    } else {
        "head of its own"
    };
    let values = if config.value_embeddings {
        "value embeddings, "
    } else {
        ""
    };
    vec![
        (
            "parameters",
            format!(
                "{} ({})",
                Count(config.num_params() as f64),
                config.num_params()
            ),
        ),
        ("layers", config.n_layer.to_string()),
        ("heads", heads),
        (
            "width",
            format!(
                "{}, {} inside the feed-forward part",
                config.d_model, config.d_ff
            ),
        ),
        ("context", format!("{} tokens", config.max_seq_len)),
        ("vocabulary", format!("{} tokens", config.vocab_size)),
        (
            "form",
            format!("{position}, {norm}, {inner}, {values}{head}"),
        ),
    ]
}

fn training_lines(state: &RunState) -> Vec<(&'static str, String)> {
    let loss = state
        .best_validation_loss
        .map(|loss| format!("{loss:.4} nats per token"));
    vec![
        ("steps", state.step.to_string()),
        ("tokens seen", Count(state.tokens_seen as f64).to_string()),
        ("time", Seconds(state.seconds_trained).to_string()),
        ("best validation loss", loss.unwrap_or_default()),
    ]
}

fn tokenizer_lines(tokenizer: Option<&Tokenizer>) -> Vec<(&'static str, String)> {
    let Some(tokenizer) = tokenizer else {
        return vec![("kind", "none in this checkpoint".into())];
    };
    let kind = tokenizer.kind();
    let specials: Vec<&str> = tokenizer
        .specials()
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    vec![
        ("kind", kind.into()),
        ("vocabulary", format!("{} tokens", tokenizer.vocab_size())),
        ("special tokens", shortened(&specials)),
        ("hash", tokenizer.hash().chars().take(12).collect()),
    ]
}

/// A list as a line; of a long one the beginning.
fn shortened(names: &[&str]) -> String {
    const SHOWN: usize = 20;
    match names.get(..SHOWN) {
        Some(first) if names.len() > SHOWN => {
            format!("{} and {} more", first.join(" "), names.len() - SHOWN)
        }
        _ => names.join(" "),
    }
}
