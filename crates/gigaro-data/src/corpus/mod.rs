//! Text in: files and folders as a stream of documents.
//!
//! A [`Corpus`] is a file or a folder read in the order of its names. Plain text in UTF-8 (whatever its name), JSONL with the
//! text under a key, Parquet with a column of text, and each of these gzipped. Documents stream: memory does not grow with
//! the corpus. What is wrong with a file is said with its name and the line, byte or column.
//!
//! Which files make up a corpus is in `files`, each format in a file of its own, and what comes next, tokens, in `tokenize`.
//! Conversations have structure and are read in [`crate::conversations`].

pub(crate) mod files;
pub(crate) mod parquet_text;
pub(crate) mod plain;
pub(crate) mod records;
mod tokenize;

pub use tokenize::{Progress, tokenize_in_memory, tokenize_to_shards, train_bpe, train_characters};

use crate::{Error, Result};
use files::Format;
use std::path::{Path, PathBuf};

/// The key of the text in a JSONL file and the column in a Parquet file, unless another is given.
pub const DEFAULT_TEXT_KEY: &str = "text";

/// Files of text, in order.
#[derive(Clone, Debug)]
pub struct Corpus {
    place: PathBuf,
    files: Vec<PathBuf>,
    text_key: String,
}

/// A document, or a part of a long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The text.
    pub text: String,
    /// Whether this goes on where the one before stopped. Long plain files come in parts of about a mebibyte, cut where space
    /// follows a word, so that the tokens of the parts are the tokens of the whole.
    pub continues: bool,
}

impl Corpus {
    /// The text at `path`: a file, or a folder with all that is in it, in the order of the names.
    ///
    /// # Errors
    /// If there is nothing at `path`, the file is empty, or the folder has no file with text.
    pub fn open(path: impl AsRef<Path>) -> Result<Corpus> {
        let place = path.as_ref().to_path_buf();
        let files = files::list(&place, files::holds_text)?;
        Ok(Corpus {
            place,
            files,
            text_key: DEFAULT_TEXT_KEY.to_owned(),
        })
    }

    /// Reads the text of JSONL and Parquet from another key or column than [`DEFAULT_TEXT_KEY`].
    pub fn with_text_key(mut self, key: impl Into<String>) -> Corpus {
        self.text_key = key.into();
        self
    }

    /// The file or folder that was opened.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// The files in the order in which they are read.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The size of the files on disk.
    ///
    /// # Errors
    /// If a file has gone.
    pub fn bytes_on_disk(&self) -> Result<u64> {
        let size = |path: &PathBuf| {
            std::fs::metadata(path).map_err(|source| Error::io("read", path, source))
        };
        self.files
            .iter()
            .map(|path| size(path).map(|data| data.len()))
            .sum()
    }

    /// The documents. Empty ones are left out; a corpus without any other ends with an error. Ends after the first error.
    pub fn documents(&self) -> Documents {
        Documents {
            corpus: self.clone(),
            next_file: 0,
            open: None,
            found: false,
            ended: false,
        }
    }
}

/// The documents of a [`Corpus`], one after another.
pub struct Documents {
    corpus: Corpus,
    next_file: usize,
    open: Option<Box<dyn Iterator<Item = Result<Document>> + Send>>,
    /// Whether any text has come so far.
    found: bool,
    ended: bool,
}

impl Documents {
    fn open_next(&mut self) -> Option<Result<()>> {
        let path = self.corpus.files.get(self.next_file)?;
        self.next_file += 1;
        Some(
            open_documents(path, &self.corpus.text_key)
                .map(|documents| self.open = Some(documents)),
        )
    }

    fn end_with(&mut self, error: Error) -> Option<Result<Document>> {
        self.ended = true;
        Some(Err(error))
    }
}

impl Iterator for Documents {
    type Item = Result<Document>;

    fn next(&mut self) -> Option<Result<Document>> {
        while !self.ended {
            match self.open.as_mut().and_then(Iterator::next) {
                Some(Ok(document)) if document.text.is_empty() => {}
                Some(Ok(document)) => {
                    self.found = true;
                    return Some(Ok(document));
                }
                Some(Err(error)) => return self.end_with(error),
                None => match self.open_next() {
                    Some(Ok(())) => {}
                    Some(Err(error)) => return self.end_with(error),
                    None if self.found => self.ended = true,
                    None => {
                        let place = self.corpus.place.display().to_string();
                        return self.end_with(Error::malformed(
                            place,
                            "there is no text in it",
                            "give a file with text",
                        ));
                    }
                },
            }
        }
        None
    }
}

fn open_documents(
    path: &Path,
    text_key: &str,
) -> Result<Box<dyn Iterator<Item = Result<Document>> + Send>> {
    let place = path.display().to_string();
    match files::format_of(path) {
        Format::Plain => Ok(Box::new(plain::Parts::new(files::open(path)?, place))),
        Format::Records => Ok(Box::new(records::texts(
            files::open(path)?,
            place,
            text_key.to_owned(),
        ))),
        Format::Parquet => {
            let texts = parquet_text::open(path, text_key)?;
            Ok(Box::new(texts.map(|text| {
                text.map(|text| Document {
                    text,
                    continues: false,
                })
            })))
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::parquet as sample_parquet;
