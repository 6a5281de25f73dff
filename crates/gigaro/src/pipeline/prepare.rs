//! Text to tokens: a tokenizer learned or loaded, and the text in its ids.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use gigaro_data::corpus::{
    Document, tokenize_in_memory, tokenize_to_shards, train_bpe, train_characters,
};
use gigaro_data::tokenizer::SPECIAL_TOKENS;
use gigaro_data::{Tokenizer, Tokens, shards};
use gigaro_train::quantity::Count;

use super::Job;
use super::progress::Reading;
use super::record::{self, Record};
use crate::commands;
use crate::output::Output;
use crate::recipe::{self, TokenizerKind};
use crate::text_source::TextSource;

/// The tokenizer of a run, in its folder.
pub(super) const TOKENIZER: &str = "tokenizer.json";
/// The tokens of a long text, in a run's folder.
pub(super) const SHARDS: &str = "tokens";
/// A tokenizer learns from at most this much text, in bytes; more changes no merge that matters.
const LEARN_BYTES: u64 = 1 << 30;
/// Tokens per file on disk.
const SHARD_TOKENS: u64 = 1 << 27;

/// A text in tokens.
pub(crate) struct Prepared {
    /// Which text, in words.
    pub(crate) source: String,
    pub(crate) tokenizer: Tokenizer,
    /// To learn from.
    pub(crate) train: Tokens,
    /// To measure the loss on.
    pub(crate) validation: Tokens,
}

/// The text of a job in the tokens of its tokenizer, both from before if it is resumed.
///
/// # Errors
/// If there is no text, it cannot be read, it is too short for the model's context, or the disk refuses.
pub(crate) fn prepare(job: &Job, output: &Output) -> Result<Prepared> {
    let source = open(job, output)?;
    let tokenizer = tokenizer(job, &source, output).map_err(|error| unless_stopped(job, error))?;
    prepared(job, &source, tokenizer, output)
}

/// The text of a job in the tokens of a model that is there already.
///
/// # Errors
/// As [`prepare`].
pub(crate) fn prepare_for(job: &Job, tokenizer: &Tokenizer, output: &Output) -> Result<Prepared> {
    let source = open(job, output)?;
    prepared(job, &source, tokenizer.clone(), output)
}

/// The text. What was made of another one is removed, as long as no weights depend on it.
fn open(job: &Job, output: &Output) -> Result<TextSource> {
    let recipe = &job.recipe;
    let source = TextSource::open(&recipe.data, recipe.run.seed)?;
    output.say(format_args!("Text: {}", source.describe()));
    let mut record = Record::read(&job.out)?;
    let stamp = Some(source.stamp(&format!("{:?} {:?}", recipe.data, recipe.tokenizer)));
    if record.text == stamp {
        return Ok(source);
    }
    if record::is_untouched(&job.out)? {
        forget(&job.out)?;
        record.text = stamp;
        record.write(&job.out)?;
    } else if record.text.is_some() {
        // The small world is cut into tokens anew each time, by the run's own tokenizer.
        let kept = match source {
            TextSource::Files(_) => "its tokenizer and its tokens",
            _ => "its tokenizer",
        };
        output.say(format_args!(
            "The text or its settings have changed since this run began; it goes on with {kept}"
        ));
    }
    Ok(source)
}

/// Removes the tokenizer and the tokens of a run, so that both are made anew.
///
/// # Errors
/// If the disk refuses.
pub(super) fn forget(out: &Path) -> Result<()> {
    let (tokenizer, tokens) = (out.join(TOKENIZER), out.join(SHARDS));
    if tokenizer.is_file() {
        fs::remove_file(&tokenizer)
            .with_context(|| format!("cannot remove {}", tokenizer.display()))?;
    }
    if shards::is_shard_folder(&tokens) {
        fs::remove_dir_all(&tokens)
            .with_context(|| format!("cannot remove {}", tokens.display()))?;
    }
    Ok(())
}

fn prepared(
    job: &Job,
    source: &TextSource,
    tokenizer: Tokenizer,
    output: &Output,
) -> Result<Prepared> {
    job.check_stop("Stopped before the first step")?;
    let tokens =
        tokens(job, source, &tokenizer, output).map_err(|error| unless_stopped(job, error))?;
    job.check_stop("Stopped before the first step")?;
    let (train, validation) = tokens.split_tail(job.recipe.data.held_out);
    output.say(format_args!(
        "Tokens: {} to learn from, {} to measure on, vocabulary {}",
        Count(train.len() as f64),
        Count(validation.len() as f64),
        tokenizer.vocab_size()
    ));
    Ok(Prepared {
        source: source.describe().to_string(),
        tokenizer,
        train,
        validation,
    })
}

/// The documents one after another, with their number shown, to the end or until the user stops the run.
fn documents<'a>(
    job: &'a Job,
    source: &'a TextSource,
    what: &'static str,
    output: &'a Output,
) -> impl Iterator<Item = gigaro_data::Result<Document>> + 'a {
    let mut reading = Reading::new(what, output);
    source.documents().map(move |document| {
        // An error and not the end: what is made of half a text must not pass for the whole.
        if job.stop.is_requested() {
            return Err(gigaro_data::Error::Stopped);
        }
        let document = document?;
        reading.count(document.text.len(), document.continues);
        Ok(document)
    })
}

/// What the user asked for is no failure.
fn unless_stopped(job: &Job, error: anyhow::Error) -> anyhow::Error {
    let is_stop = |cause: &gigaro_data::Error| matches!(cause, gigaro_data::Error::Stopped);
    if error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<gigaro_data::Error>())
        .any(is_stop)
    {
        return job.interrupted("Stopped before the first step");
    }
    error
}

fn tokenizer(job: &Job, source: &TextSource, output: &Output) -> Result<Tokenizer> {
    let path = job.out.join(TOKENIZER);
    if job.resumed && path.is_file() {
        return Ok(Tokenizer::load(&path)?);
    }
    let tokenizer = match &job.recipe.tokenizer.path {
        Some(existing) => commands::tokenizer::open(existing)?,
        None => {
            let documents = documents(job, source, "Learning a tokenizer", output);
            learn(documents, &source.describe(), &job.recipe.tokenizer)?
        }
    };
    tokenizer.save(&path)?;
    Ok(tokenizer)
}

/// Learns the tokenizer that a recipe asks for from documents, which come from `place`.
///
/// # Errors
/// If the text cannot be read or has no words, or the vocabulary cannot be had.
pub(crate) fn learn(
    documents: impl Iterator<Item = gigaro_data::Result<Document>>,
    place: &str,
    wanted: &recipe::Tokenizer,
) -> Result<Tokenizer> {
    let mut has_words = false;
    let documents = documents.inspect(|document| {
        has_words = has_words
            || document
                .as_ref()
                .is_ok_and(|document| document.text.contains(|c: char| !c.is_whitespace()));
    });
    let learned = match wanted.kind {
        TokenizerKind::Characters => train_characters(documents, &SPECIAL_TOKENS),
        TokenizerKind::Bpe => train_bpe(
            documents,
            wanted.vocab_size,
            &SPECIAL_TOKENS,
            LEARN_BYTES,
            |_| (),
        ),
    };
    let learned = learned.with_context(|| format!("cannot learn a tokenizer from {place}"))?;
    if !has_words {
        bail!("there is nothing to learn from in {place}: the text is white space only");
    }
    Ok(learned)
}

/// Files become shards in the run's folder, so that a long text need not fit into memory; the small world is written anew each time.
fn tokens(
    job: &Job,
    source: &TextSource,
    tokenizer: &Tokenizer,
    output: &Output,
) -> Result<Tokens> {
    let documents = || documents(job, source, "Turning text into tokens", output);
    let tokens = match source {
        TextSource::World { .. } => tokenize_in_memory(documents(), tokenizer, |_| ()),
        TextSource::Files(_) => {
            let folder = job.out.join(SHARDS);
            if job.resumed && shards::is_shard_folder(&folder) {
                shards::open(&folder, tokenizer)
            } else {
                tokenize_to_shards(documents(), tokenizer, &folder, SHARD_TOKENS, |_| ())
            }
        }
    };
    tokens.with_context(|| format!("cannot turn {} into tokens", source.describe()))
}
