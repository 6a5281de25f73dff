//! Text to token ids and back.
//!
//! One type, [`Tokenizer`], for the two kinds in use: byte-level BPE as GPT-2 has it, which takes any text, and single
//! characters, for small experiments. Both read and write the ecosystem's `tokenizer.json`.
//!
//! **User text never becomes a special token.** [`Tokenizer::encode`] reads `<|endoftext|>` as thirteen characters of text; the
//! only way to a special token is to ask for its id by name with [`Tokenizer::special`]. So no text that a user types, and
//! no document of a corpus, can forge the end of a turn.
//!
//! Cutting into words is in `pretokenize`, merging in `bpe`, training in `train`, the files in `json` and `gpt2_files`. How a
//! conversation becomes tokens is in [`crate::chat`].

mod alphabet;
mod bpe;
mod character;
mod encoder;
mod gpt2_files;
mod json;
mod pretokenize;
mod train;
mod vocabulary;

pub use encoder::Encoder;
pub(crate) use pretokenize::last_cut;
pub use train::{BpeTrainer, TieBreak};

use crate::{Error, Result, beside};
use bpe::Bpe;
use character::Characters;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;
use vocabulary::Vocabulary;

/// Separates documents; each begins with it.
pub const END_OF_TEXT: &str = "<|endoftext|>";
/// Opens a turn of the user.
pub const USER: &str = "<|user|>";
/// Opens a turn of the assistant.
pub const ASSISTANT: &str = "<|assistant|>";
/// Opens the instructions that stand before a conversation.
pub const SYSTEM: &str = "<|system|>";
/// Closes a turn.
pub const END: &str = "<|end|>";
/// The special tokens of a tokenizer that is trained for pretraining and chat.
pub const SPECIAL_TOKENS: [&str; 5] = [END_OF_TEXT, USER, ASSISTANT, SYSTEM, END];

/// Text to token ids and back. A clone shares the tables.
#[derive(Clone)]
pub struct Tokenizer {
    tables: Arc<Tables>,
}

struct Tables {
    model: Model,
    vocabulary: Vocabulary,
    /// Name and id, in the order of the ids.
    specials: Vec<(String, u32)>,
    hash: String,
}

enum Model {
    Bpe(Box<Bpe>),
    Characters(Characters),
}

impl Tokenizer {
    /// Trains a byte-level BPE of `vocab_size` tokens, special tokens and the 256 bytes included, with the settings of
    /// [`BpeTrainer::new`].
    ///
    /// The special tokens get the first ids in the order given, then come the bytes, then the merges. The result may have
    /// fewer tokens than asked for when the text has no more pairs to join.
    ///
    /// # Errors
    /// If `vocab_size` is smaller than 256 and the special tokens, or the name of a special token is shorter than two
    /// characters, not printable ASCII, or given twice.
    pub fn train<S: AsRef<str>>(
        texts: impl IntoIterator<Item = S>,
        vocab_size: usize,
        special_tokens: &[&str],
    ) -> Result<Tokenizer> {
        let mut trainer = BpeTrainer::new(vocab_size, special_tokens)?;
        // Enough text at once to keep all threads busy, never the whole corpus.
        const BATCH_BYTES: usize = 1 << 26;
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for text in texts {
            bytes += text.as_ref().len();
            batch.push(text);
            if bytes >= BATCH_BYTES {
                trainer.feed_batch(&batch);
                batch.clear();
                bytes = 0;
            }
        }
        trainer.feed_batch(&batch);
        trainer.finish()
    }

    /// A tokenizer whose tokens are the characters that occur in the texts, in the order of their code points, and after
    /// them the special tokens.
    ///
    /// # Errors
    /// If the texts are empty, or for the names of special tokens as [`Tokenizer::train`].
    pub fn characters<S: AsRef<str>>(
        texts: impl IntoIterator<Item = S>,
        special_tokens: &[&str],
    ) -> Result<Tokenizer> {
        check_special_names(special_tokens)?;
        let characters = character::distinct(texts);
        if characters.is_empty() {
            return Err(Error::setting(
                "a character tokenizer was asked for and the text is empty",
                "give some text",
            ));
        }
        let mut vocabulary = Vocabulary::default();
        let mut ids = Vec::new();
        for character in characters {
            ids.push((
                character,
                vocabulary.push(character.encode_utf8(&mut [0; 4]).as_bytes()),
            ));
        }
        let specials = special_tokens
            .iter()
            .map(|&name| (name.to_owned(), vocabulary.push(name.as_bytes())))
            .collect();
        Ok(Tokenizer::assemble(
            Model::Characters(Characters::new(ids)),
            vocabulary,
            specials,
        ))
    }

    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// If the file cannot be read, is not a tokenizer, or is of a kind that this crate does not read.
    pub fn load(path: impl AsRef<Path>) -> Result<Tokenizer> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| Error::io("read", path, source))?;
        Tokenizer::from_json(&bytes, &path.display().to_string())
    }

    /// Reads the contents of a `tokenizer.json`; `place` names it in messages.
    ///
    /// # Errors
    /// As [`Tokenizer::load`].
    pub fn from_json(bytes: &[u8], place: &str) -> Result<Tokenizer> {
        json::read(bytes, place)
    }

    /// Reads GPT-2's own two files, `encoder.json` (Hugging Face: `vocab.json`) and `vocab.bpe` (`merges.txt`).
    ///
    /// # Errors
    /// If a file cannot be read or the two do not fit together.
    pub fn load_gpt2(
        encoder_json: impl AsRef<Path>,
        vocab_bpe: impl AsRef<Path>,
    ) -> Result<Tokenizer> {
        let read =
            |path: &Path| std::fs::read(path).map_err(|source| Error::io("read", path, source));
        let (encoder_json, vocab_bpe) = (encoder_json.as_ref(), vocab_bpe.as_ref());
        Tokenizer::from_gpt2(
            &read(encoder_json)?,
            &read(vocab_bpe)?,
            &encoder_json.display().to_string(),
            &vocab_bpe.display().to_string(),
        )
    }

    /// Reads the contents of GPT-2's two files; the places name them in messages.
    ///
    /// # Errors
    /// As [`Tokenizer::load_gpt2`].
    pub fn from_gpt2(
        encoder_json: &[u8],
        vocab_bpe: &[u8],
        encoder_place: &str,
        bpe_place: &str,
    ) -> Result<Tokenizer> {
        gpt2_files::read(encoder_json, vocab_bpe, encoder_place, bpe_place)
    }

    /// Writes a `tokenizer.json` that Hugging Face's libraries read too, beside its place first and then renamed.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        beside::write(path.as_ref(), self.to_json().as_bytes())
    }

    /// The contents of the `tokenizer.json`.
    pub fn to_json(&self) -> String {
        json::write(&self.tables)
    }

    fn assemble(
        model: Model,
        vocabulary: Vocabulary,
        mut specials: Vec<(String, u32)>,
    ) -> Tokenizer {
        specials.sort_by_key(|&(_, id)| id);
        let hash = fingerprint(&model, &vocabulary, &specials);
        Tokenizer {
            tables: Arc::new(Tables {
                model,
                vocabulary,
                specials,
                hash,
            }),
        }
    }

    /// The tokens of a text. Special tokens are never among them, whatever the text says.
    ///
    /// A byte-level tokenizer takes every text; a character tokenizer leaves out the characters it does not know.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut out = Vec::new();
        self.encode_into(text, &mut out);
        out
    }

    /// Appends the tokens of a text. For many texts an [`Encoder`] is several times faster.
    pub fn encode_into(&self, text: &str, out: &mut Vec<u32>) {
        // A text this long repeats its words, so the cache pays for being made.
        const LONG: usize = 1 << 16;
        match &self.tables.model {
            Model::Bpe(_) if text.len() >= LONG => self.encoder().encode_into(text, out),
            Model::Bpe(bpe) => {
                pretokenize::words(text).for_each(|word| bpe.encode_word(word.as_bytes(), out))
            }
            Model::Characters(characters) => characters.encode_into(text, out),
        }
    }

    /// The first character without a token and its byte offset. Always `None` for a byte-level tokenizer.
    pub fn first_unknown(&self, text: &str) -> Option<(usize, char)> {
        match &self.tables.model {
            Model::Bpe(_) => None,
            Model::Characters(characters) => text
                .char_indices()
                .find(|&(_, c)| characters.id(c).is_none()),
        }
    }

    /// The text of the tokens. Special tokens appear as their names, ids outside the vocabulary as nothing, and bytes that
    /// are not UTF-8 as U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        match String::from_utf8(self.decode_bytes(ids)) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }
    }

    /// The bytes of the tokens, as [`Tokenizer::token_bytes`] gives them.
    pub fn decode_bytes(&self, ids: &[u32]) -> Vec<u8> {
        ids.iter()
            .flat_map(|&id| self.token_bytes(id))
            .copied()
            .collect()
    }

    /// The bytes of one token: part of a character or many of them. The name of a special token; nothing for an id outside
    /// the vocabulary.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.tables.vocabulary.get(id)
    }

    /// The number of ids: every id is below it.
    pub fn vocab_size(&self) -> usize {
        self.tables.vocabulary.len()
    }

    /// The id of a special token by its name, such as [`END_OF_TEXT`].
    pub fn special(&self, name: &str) -> Option<u32> {
        self.tables
            .specials
            .iter()
            .find(|(special, _)| special == name)
            .map(|&(_, id)| id)
    }

    /// The special tokens with their ids, in the order of the ids.
    pub fn specials(&self) -> &[(String, u32)] {
        &self.tables.specials
    }

    /// Whether `id` is a special token.
    pub fn is_special(&self, id: u32) -> bool {
        self.tables
            .specials
            .binary_search_by_key(&id, |&(_, id)| id)
            .is_ok()
    }

    /// Whether the tokens are single characters.
    pub fn is_character_level(&self) -> bool {
        matches!(self.tables.model, Model::Characters(_))
    }

    /// SHA-256 of everything that decides which ids a text gets, in hexadecimal. Weights carry it, so that a tokenizer that
    /// does not belong to them is found.
    pub fn hash(&self) -> &str {
        &self.tables.hash
    }

    /// Refuses a tokenizer that is not the one with hash `expected`; `place` names what was made with that one.
    ///
    /// # Errors
    /// If the hashes differ.
    pub fn check_hash(&self, expected: &str, place: &str) -> Result<()> {
        if self.hash() == expected {
            return Ok(());
        }
        Err(Error::ForeignTokenizer {
            place: place.to_owned(),
            expected: expected.to_owned(),
            found: self.hash().to_owned(),
        })
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.is_character_level() {
            "characters"
        } else {
            "byte-level BPE"
        };
        f.debug_struct("Tokenizer")
            .field("kind", &kind)
            .field("vocab_size", &self.vocab_size())
            .field("specials", &self.specials())
            .field("hash", &self.hash())
            .finish()
    }
}

impl PartialEq for Tokenizer {
    fn eq(&self, other: &Tokenizer) -> bool {
        self.hash() == other.hash()
    }
}

impl Eq for Tokenizer {}

/// Names of special tokens must be told apart from each other and from the alphabet.
fn check_special_names(names: &[&str]) -> Result<()> {
    for (i, name) in names.iter().enumerate() {
        // ASCII, because in a vocabulary file any other character would be read as a byte of text.
        if name.len() < 2 || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::setting(
                format!("the special token {name:?} cannot be told from text"),
                format!(
                    "give it a name of printable ASCII characters without spaces, such as {END_OF_TEXT}"
                ),
            ));
        }
        if names[..i].contains(name) {
            return Err(Error::setting(
                format!("the special token {name} is given twice"),
                "name it once",
            ));
        }
    }
    Ok(())
}

fn fingerprint(model: &Model, vocabulary: &Vocabulary, specials: &[(String, u32)]) -> String {
    let mut sha = Sha256::new();
    let mut part = |bytes: &[u8]| {
        sha.update((bytes.len() as u64).to_le_bytes());
        sha.update(bytes);
    };
    match model {
        Model::Bpe(bpe) => {
            part(b"byte-level BPE, the pattern of GPT-2");
            let merges: Vec<u8> = bpe
                .merges()
                .iter()
                .flat_map(|m| [m.left, m.right, m.joined])
                .flat_map(u32::to_le_bytes)
                .collect();
            part(&merges);
            let bytes: Vec<u8> = bpe
                .byte_ids()
                .iter()
                .flat_map(|id| id.to_le_bytes())
                .collect();
            part(&bytes);
        }
        Model::Characters(_) => part(b"characters"),
    }
    vocabulary.iter().for_each(&mut part);
    for (name, id) in specials {
        part(name.as_bytes());
        part(&id.to_le_bytes());
    }
    hex(&sha.finalize())
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
