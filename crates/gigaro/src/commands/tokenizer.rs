//! `gigaro tokenizer train|encode|decode`: text to token ids and back.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use gigaro_data::Tokenizer;
use gigaro_train::quantity::{Bytes, Seconds};
use serde_json::json;

use crate::failure::Usage;
use crate::flags::{count, seed};
use crate::imported::Imported;
use crate::output::Output;
use crate::pipeline::prepare::learn;
use crate::recipe::{self, Data, TokenizerKind};
use crate::text_source::TextSource;

const EXAMPLE: &str = "\
Examples:
  gigaro tokenizer train --text books/ --vocab-size 8192 --out books.json
  gigaro tokenizer encode --tokenizer books.json \"Once upon a time\"
  gigaro tokenizer decode --tokenizer books.json 431 1207 257 640";

/// Train a tokenizer, or turn text into token ids and back
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Train(Train),
    Encode(Encode),
    Decode(Decode),
}

/// Learn a vocabulary from text
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  gigaro tokenizer train --text books/ --vocab-size 8192 --out books.json"
)]
struct Train {
    /// A file or a folder of .txt, .md, .jsonl or .parquet [default: the built-in small world]
    #[arg(long, value_name = "PATH")]
    text: Option<PathBuf>,

    /// Column of Parquet files and key of JSON lines that holds the text
    #[arg(long, value_name = "NAME", default_value = "text")]
    column: String,

    /// Byte-pair encoding of pieces of words, or one token per character
    #[arg(long, value_enum, default_value = "bpe")]
    kind: TokenizerKind,

    /// Tokens in the vocabulary of a byte-pair encoding
    #[arg(long, value_name = "N", default_value_t = 4096, allow_negative_numbers = true, value_parser = count)]
    vocab_size: usize,

    /// Seed of the small world
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true, value_parser = seed)]
    seed: u64,

    /// File to write
    #[arg(long, value_name = "FILE", default_value = "tokenizer.json")]
    out: PathBuf,

    /// End stdout with one JSON object; everything for people goes to stderr
    #[arg(long)]
    json: bool,
}

/// Print the token ids of a text
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  echo \"Once upon a time\" | gigaro tokenizer encode --tokenizer books.json"
)]
struct Encode {
    #[command(flatten)]
    existing: Existing,

    /// The text [default: read from stdin]
    text: Option<String>,
}

/// Print the text of token ids
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  gigaro tokenizer decode --tokenizer books.json 431 1207 257 640"
)]
struct Decode {
    #[command(flatten)]
    existing: Existing,

    /// The ids, with spaces or commas between them [default: read from stdin]
    ids: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Existing {
    /// A tokenizer.json, a folder with one, such as a checkpoint, or a .gguf file
    #[arg(long, value_name = "PATH", default_value = "tokenizer.json")]
    tokenizer: PathBuf,

    /// End stdout with one JSON object; everything for people goes to stderr
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn wants_json(&self) -> bool {
        match &self.what {
            What::Train(args) => args.json,
            What::Encode(args) => args.existing.json,
            What::Decode(args) => args.existing.json,
        }
    }
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    match &args.what {
        What::Train(args) => train(args, output),
        What::Encode(args) => encode(args, output),
        What::Decode(args) => decode(args, output),
    }
}

fn train(args: &Train, output: &Output) -> Result<()> {
    let source = match &args.text {
        Some(path) => TextSource::files(path, &args.column)?,
        None => TextSource::open(&Data::default(), args.seed)?,
    };
    output.say(format_args!(
        "Learning a tokenizer from {}",
        source.describe()
    ));
    let start = Instant::now();
    let wanted = recipe::Tokenizer {
        kind: args.kind,
        vocab_size: args.vocab_size,
        path: None,
    };
    let mut text_bytes = 0;
    let documents = source.documents().inspect(|document| {
        text_bytes += document.as_ref().map_or(0, |d| d.text.len() as u64);
    });
    let tokenizer = learn(documents, &source.describe(), &wanted)?;
    tokenizer.save(&args.out)?;
    let (tokens, seconds) = (tokenizer.vocab_size(), start.elapsed().as_secs_f64());
    let (read, out) = (Bytes(text_bytes), args.out.display());
    output.say(format_args!(
        "{tokens} tokens from {read} in {}: {out}",
        Seconds(seconds)
    ));
    output.result(&json!({
        "tokenizer": args.out,
        "vocab_size": tokens,
        "text_bytes": text_bytes,
        "seconds": seconds,
        "hash": tokenizer.hash(),
    }))
}

fn encode(args: &Encode, output: &Output) -> Result<()> {
    let tokenizer = open(&args.existing.tokenizer)?;
    let text = match &args.text {
        Some(text) => text.clone(),
        None => read_stdin()?,
    };
    if let Some((at, unknown)) = tokenizer.first_unknown(&text) {
        bail!(
            "the tokenizer has no token for {unknown:?} (byte {at} of the text): it knows single \
             characters of its own text only; leave the character out or train on text that has it"
        );
    }
    let ids = tokenizer.encode(&text);
    let words: Vec<String> = ids.iter().map(u32::to_string).collect();
    output.say(words.join(" "));
    output.result(&json!({ "ids": ids, "tokens": ids.len(), "bytes": text.len() }))
}

fn decode(args: &Decode, output: &Output) -> Result<()> {
    let tokenizer = open(&args.existing.tokenizer)?;
    let given = if args.ids.is_empty() {
        read_stdin()?
    } else {
        args.ids.join(" ")
    };
    let words = given
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|w| !w.is_empty());
    let ids = words
        .map(|word| id(word, &tokenizer))
        .collect::<Result<Vec<u32>>>()?;
    let text = tokenizer.decode(&ids);
    output.say(&text);
    output.result(&json!({ "text": text, "tokens": ids.len() }))
}

fn id(word: &str, tokenizer: &Tokenizer) -> Result<u32> {
    let size = tokenizer.vocab_size();
    match word.parse::<u32>() {
        Ok(id) if (id as usize) < size => Ok(id),
        Ok(id) => Err(Usage(format!(
            "token {id} is not in the vocabulary of {size} tokens"
        ))
        .into()),
        Err(_) => Err(Usage(format!("{word:?} is not a token id: give whole numbers")).into()),
    }
}

/// The tokenizer in a file, or in a folder that has one.
///
/// # Errors
/// If there is none, or it cannot be read.
pub(crate) fn open(path: &Path) -> Result<Tokenizer> {
    let file = if path.is_dir() {
        path.join("tokenizer.json")
    } else {
        path.to_owned()
    };
    if !file.exists() {
        bail!(
            "there is no tokenizer at {}: train one with `gigaro tokenizer train`",
            file.display()
        );
    }
    if file
        .extension()
        .is_some_and(|end| end.eq_ignore_ascii_case("gguf"))
    {
        return Imported::Gguf(file).tokenizer();
    }
    Ok(Tokenizer::load(&file)?)
}

fn read_stdin() -> Result<String> {
    let mut bytes = Vec::new();
    io::stdin()
        .read_to_end(&mut bytes)
        .context("cannot read stdin")?;
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Usage(format!(
            "the text on stdin is not UTF-8 (byte {at}): convert it first"
        ))
        .into()
    })
}
