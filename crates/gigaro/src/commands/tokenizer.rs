//! `gigaro tokenizer train|encode|decode`: text to token ids and back.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use gigaro_data::Tokenizer;
use gigaro_data::tokenizer::{BpeTrainer, SPECIAL_TOKENS};
use gigaro_train::quantity::{Bytes, Seconds};
use serde_json::json;

use crate::failure::Usage;
use crate::output::Output;
use crate::recipe::{Data, TokenizerKind};
use crate::text_source::TextSource;

const EXAMPLE: &str = "\
Examples:
  gigaro tokenizer train --text books/ --vocab-size 8192 --out books.json
  gigaro tokenizer encode --tokenizer books.json \"Once upon a time\"
  gigaro tokenizer decode --tokenizer books.json 431 1207 257 640";

/// Text handed to the trainer at once, so that all threads have work, in bytes.
const FEED_BYTES: usize = 1 << 26;

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
    #[arg(long, value_name = "N", default_value_t = 4096)]
    vocab_size: usize,

    /// Seed of the small world
    #[arg(long, value_name = "N", default_value_t = 1)]
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
    /// A tokenizer.json, or a folder with one, such as a checkpoint
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
    let trained = learn(&source, args.kind, args.vocab_size)?;
    trained.tokenizer.save(&args.out)?;
    let (tokens, seconds) = (
        trained.tokenizer.vocab_size(),
        start.elapsed().as_secs_f64(),
    );
    let (read, out) = (Bytes(trained.text_bytes), args.out.display());
    output.say(format_args!(
        "{tokens} tokens from {read} in {}: {out}",
        Seconds(seconds)
    ));
    output.result(&json!({
        "tokenizer": args.out,
        "vocab_size": tokens,
        "text_bytes": trained.text_bytes,
        "seconds": seconds,
        "hash": trained.tokenizer.hash(),
    }))
}

/// A tokenizer and how much text it was learned from.
pub(crate) struct Learned {
    pub(crate) tokenizer: Tokenizer,
    pub(crate) text_bytes: u64,
}

/// Learns a tokenizer with the special tokens of pretraining and chat.
///
/// # Errors
/// If the text cannot be read or the vocabulary is too small.
pub(crate) fn learn(
    source: &TextSource,
    kind: TokenizerKind,
    vocab_size: usize,
) -> Result<Learned> {
    let (mut text_bytes, mut failed) = (0, None);
    // The tokenizer's constructors take plain texts, so an unreadable file ends them early and is reported after.
    let texts = source.texts().map_while(|text| match text {
        Ok(text) => {
            text_bytes += text.len() as u64;
            Some(text)
        }
        Err(error) => {
            failed = Some(error);
            None
        }
    });
    let learned = match kind {
        TokenizerKind::Characters => Tokenizer::characters(texts, &SPECIAL_TOKENS),
        TokenizerKind::Bpe => feed(texts, vocab_size),
    };
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(Learned {
            tokenizer: learned?,
            text_bytes,
        }),
    }
}

fn feed(texts: impl Iterator<Item = String>, vocab_size: usize) -> gigaro_data::Result<Tokenizer> {
    let mut trainer = BpeTrainer::new(vocab_size, &SPECIAL_TOKENS)?;
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for text in texts {
        bytes += text.len();
        batch.push(text);
        if bytes >= FEED_BYTES {
            trainer.feed_batch(&batch);
            batch.clear();
            bytes = 0;
        }
    }
    trainer.feed_batch(&batch);
    trainer.finish()
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
