//! Documents to tokens: training a tokenizer on them, and encoding them into memory or shards.
//!
//! The functions take any stream of documents, so that generated text goes the same way as files:
//! `texts.map(|text| Ok(Document::from(text)))`. Each document begins with `<|endoftext|>` where the tokenizer has it.

use super::Document;
use crate::shards::{self, SetWriter};
use crate::tokenizer::{BpeTrainer, Tokenizer};
use crate::tokens::Tokens;
use crate::{Error, Result, world};
use std::path::Path;

/// How far a pass over documents has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Documents begun.
    pub documents: u64,
    /// Bytes of text read.
    pub bytes: u64,
    /// Tokens made; zero while a tokenizer is being trained.
    pub tokens: u64,
}

/// Documents are worked on in batches of about this many bytes: enough for all threads, little memory.
const BATCH_BYTES: usize = 1 << 23;

impl From<String> for Document {
    fn from(text: String) -> Document {
        Document {
            text,
            continues: false,
        }
    }
}

impl From<world::Document> for Document {
    fn from(document: world::Document) -> Document {
        Document::from(document.text)
    }
}

/// Trains a byte-level BPE on documents, of which at most `max_bytes` are read.
///
/// # Errors
/// If a document cannot be read, or as [`Tokenizer::train`].
pub fn train_bpe(
    documents: impl Iterator<Item = Result<Document>>,
    vocab_size: usize,
    special_tokens: &[&str],
    max_bytes: u64,
    mut progress: impl FnMut(Progress),
) -> Result<Tokenizer> {
    let mut trainer = BpeTrainer::new(vocab_size, special_tokens)?;
    in_batches(documents, max_bytes, |batch, so_far| {
        let texts: Vec<&str> = batch
            .iter()
            .map(|document| document.text.as_str())
            .collect();
        trainer.feed_batch(&texts);
        progress(*so_far);
        Ok(())
    })?;
    trainer.finish()
}

/// Makes a character tokenizer of the characters of documents.
///
/// # Errors
/// If a document cannot be read, or as [`Tokenizer::characters`].
pub fn train_characters(
    documents: impl Iterator<Item = Result<Document>>,
    special_tokens: &[&str],
) -> Result<Tokenizer> {
    let mut failed = None;
    let texts = documents.map_while(|document| match document {
        Ok(document) => Some(document.text),
        Err(error) => {
            failed = Some(error);
            None
        }
    });
    let tokenizer = Tokenizer::characters(texts, special_tokens);
    failed.map_or(tokenizer, Err)
}

/// The tokens of documents, in memory.
///
/// # Errors
/// If a document cannot be read or has a character that the tokenizer does not know.
pub fn tokenize_in_memory(
    documents: impl Iterator<Item = Result<Document>>,
    tokenizer: &Tokenizer,
    progress: impl FnMut(Progress),
) -> Result<Tokens> {
    let mut ids = Vec::new();
    encode_all(documents, tokenizer, progress, |part| {
        ids.extend_from_slice(part);
        Ok(())
    })?;
    Ok(Tokens::from(ids))
}

/// The tokens of documents, in shards of at most `tokens_per_shard` in a new folder. The folder appears when it is complete.
///
/// # Errors
/// If a document cannot be read or has a character that the tokenizer does not know, the folder exists, or cannot be written.
pub fn tokenize_to_shards(
    documents: impl Iterator<Item = Result<Document>>,
    tokenizer: &Tokenizer,
    folder: impl AsRef<Path>,
    tokens_per_shard: u64,
    progress: impl FnMut(Progress),
) -> Result<Tokens> {
    let mut writer = SetWriter::create(folder.as_ref(), tokenizer, tokens_per_shard)?;
    encode_all(documents, tokenizer, progress, |part| writer.push(part))?;
    writer.finish()?;
    shards::open(folder, tokenizer)
}

fn encode_all(
    documents: impl Iterator<Item = Result<Document>>,
    tokenizer: &Tokenizer,
    mut progress: impl FnMut(Progress),
    mut sink: impl FnMut(&[u32]) -> Result<()>,
) -> Result<()> {
    let start = tokenizer.document_start();
    in_batches(documents, u64::MAX, |batch, so_far| {
        let texts: Vec<&str> = batch
            .iter()
            .map(|document| document.text.as_str())
            .collect();
        if tokenizer.is_character_level() {
            texts
                .iter()
                .try_for_each(|text| check_known(tokenizer, text))?;
        }
        for (document, ids) in batch.iter().zip(tokenizer.encode_batch(&texts)) {
            if let Some(start) = start.filter(|_| !document.continues) {
                sink(&[start])?;
                so_far.tokens += 1;
            }
            sink(&ids)?;
            so_far.tokens += ids.len() as u64;
        }
        progress(*so_far);
        Ok(())
    })
}

fn check_known(tokenizer: &Tokenizer, text: &str) -> Result<()> {
    let Some((at, character)) = tokenizer.first_unknown(text) else {
        return Ok(());
    };
    let around: String = text[at..].chars().take(20).collect();
    Err(Error::setting(
        format!(
            "the text has the character {character:?} (in {around:?}), which this character tokenizer does not know"
        ),
        "train the tokenizer on this text, or use a byte-level one",
    ))
}

/// Hands documents on in batches, with what was read so far.
fn in_batches(
    documents: impl Iterator<Item = Result<Document>>,
    max_bytes: u64,
    mut work: impl FnMut(&[Document], &mut Progress) -> Result<()>,
) -> Result<()> {
    let (mut so_far, mut batch, mut waiting) = (Progress::default(), Vec::new(), 0);
    for document in documents {
        let document = document?;
        waiting += document.text.len();
        so_far.bytes += document.text.len() as u64;
        so_far.documents += u64::from(!document.continues);
        batch.push(document);
        if waiting >= BATCH_BYTES {
            work(&batch, &mut so_far)?;
            batch.clear();
            waiting = 0;
        }
        if so_far.bytes >= max_bytes {
            break;
        }
    }
    work(&batch, &mut so_far)
}
