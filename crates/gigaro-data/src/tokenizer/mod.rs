//! Text to token ids and back.
//!
//! One type, [`Tokenizer`], for the kinds in use: byte-level BPE as GPT-2 has it, which takes any text and is what is trained here;
//! the same with the rules of SmolLM, Llama 3 and Qwen; SentencePiece's BPE, as of Llama 2; and single characters, for small
//! experiments. All read and write the ecosystem's `tokenizer.json`, and are read out of GGUF files.
//!
//! **User text never becomes a special token.** [`Tokenizer::encode`] reads `<|endoftext|>` as thirteen characters of text; the
//! only way to a special token is to ask for its id by name with [`Tokenizer::special`]. So no text that a user types, and
//! no document of a corpus, can forge the end of a turn.
//!
//! Cutting into words is in `pretokenize`, what comes before that in `rules`, merging in `bpe`, training in `train`, the files in
//! `json`, `gpt2_files` and `gguf`. How a conversation becomes tokens is in [`crate::chat`].

mod alphabet;
mod bpe;
mod character;
mod encoder;
mod gguf;
mod gpt2_files;
mod json;
mod pretokenize;
mod rules;
mod sentencepiece;
mod train;
mod vocabulary;

pub use encoder::Encoder;
pub(crate) use pretokenize::last_cut;
pub(crate) use rules::Before;
pub use train::{BpeTrainer, TieBreak};

use crate::{Error, Result, beside};
use bpe::Bpe;
use character::Characters;
use gigaro_tensor::io::gguf::Gguf;
use rules::Rules;
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
    document_start: Option<u32>,
}

#[derive(Clone)]
struct Tables {
    model: Model,
    rules: Rules,
    vocabulary: Vocabulary,
    /// Name and id, in the order of the ids.
    specials: Vec<(String, u32)>,
    /// Those of them that are text to whoever reads what a model wrote, in order.
    visible: Vec<u32>,
    hash: String,
}

#[derive(Clone)]
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

    /// Reads the tokenizer in the metadata of a GGUF file; `place` names it in messages.
    ///
    /// # Errors
    /// If there is none, its parts do not fit together, or it is of a kind that this crate does not read.
    pub fn from_gguf(gguf: &Gguf, place: &str) -> Result<Tokenizer> {
        gguf::read(gguf, place)
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
        // That a document begins with `<|endoftext|>` is the rule, and not written.
        let start = self
            .document_start
            .filter(|&id| self.special(END_OF_TEXT) != Some(id));
        let named = |id: u32| self.specials().iter().find(|(_, special)| *special == id);
        let start = start.and_then(named).map(|(name, id)| (name.as_str(), *id));
        json::write(&self.tables, start)
    }

    fn assemble(model: Model, vocabulary: Vocabulary, specials: Vec<(String, u32)>) -> Tokenizer {
        Tokenizer::assemble_with(model, Rules::default(), vocabulary, specials, Vec::new())
    }

    fn assemble_with(
        model: Model,
        rules: Rules,
        vocabulary: Vocabulary,
        mut specials: Vec<(String, u32)>,
        mut visible: Vec<u32>,
    ) -> Tokenizer {
        specials.sort_by_key(|&(_, id)| id);
        visible.sort_unstable();
        let mut tables = Tables {
            model,
            rules,
            vocabulary,
            specials,
            visible,
            hash: String::new(),
        };
        tables.hash = fingerprint(&tables);
        let tokenizer = Tokenizer {
            tables: Arc::new(tables),
            document_start: None,
        };
        let start = tokenizer.special(END_OF_TEXT);
        tokenizer.with_document_start(start)
    }

    /// The special token that a document begins with: `<|endoftext|>` where there is one, if whoever made the tokenizer says nothing
    /// else.
    pub fn document_start(&self) -> Option<u32> {
        self.document_start
    }

    /// The same, but documents begin with this token, or with none.
    #[must_use]
    pub fn with_document_start(self, start: Option<u32>) -> Tokenizer {
        Tokenizer {
            document_start: start.filter(|&id| self.is_special(id)),
            ..self
        }
    }

    /// The same, but these tokens end an answer, also if their file has them shown to whoever reads it.
    ///
    /// # Errors
    /// If one of them is a token of text, which ends nothing.
    pub fn with_ends(self, ends: &[u32]) -> Result<Tokenizer> {
        let mut tokenizer = self;
        for &id in ends
            .iter()
            .filter(|&&id| !tokenizer.is_special(id))
            .collect::<Vec<_>>()
        {
            let tables = Arc::make_mut(&mut tokenizer.tables);
            let Ok(shown) = tables.visible.binary_search(&id) else {
                let text = tokenizer.decode(&[id]);
                return Err(Error::setting(
                    format!(
                        "the token {id} ({text:?}) is to end an answer, but it is a token of text"
                    ),
                    "correct eos_token_id in config.json and generation_config.json, or the tokenizer",
                ));
            };
            tables.visible.remove(shown);
            tables.hash = fingerprint(tables);
        }
        Ok(tokenizer)
    }

    /// The tokens of a text. Special tokens are never among them, whatever the text says.
    ///
    /// A byte-level tokenizer that was trained here takes every text; what a tokenizer does not know, it leaves out.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut out = Vec::new();
        self.encode_into(text, &mut out);
        out
    }

    /// Appends the tokens of a text. For many texts an [`Encoder`] is several times faster.
    pub fn encode_into(&self, text: &str, out: &mut Vec<u32>) {
        self.encode_after(text, Before::Nothing, out);
    }

    /// Appends the tokens of a text that does not stand alone.
    pub(crate) fn encode_after(&self, text: &str, before: Before, out: &mut Vec<u32>) {
        // A text this long repeats its words, so the cache pays for being made.
        const LONG: usize = 1 << 16;
        match &self.tables.model {
            Model::Bpe(_) if text.len() >= LONG => {
                self.encoder().encode_after(text, before, out);
            }
            Model::Bpe(bpe) => {
                let text = self.tables.rules.normalize(text, before);
                pretokenize::words(&text, self.tables.rules.pattern)
                    .for_each(|word| bpe.encode_word(word, out));
            }
            Model::Characters(characters) => characters.encode_into(text, out),
        }
    }

    /// The first character without a token and its byte offset. Always `None` for a byte-level tokenizer that was trained here; those of
    /// others may lack bytes that hardly occur.
    pub fn first_unknown(&self, text: &str) -> Option<(usize, char)> {
        match &self.tables.model {
            Model::Bpe(bpe) => text.char_indices().find(|&(_, c)| bpe.lacks(c)),
            Model::Characters(characters) => text
                .char_indices()
                .find(|&(_, c)| characters.id(c).is_none()),
        }
    }

    /// The text of the tokens. Special tokens appear as their names, ids outside the vocabulary as nothing, and bytes that
    /// are not UTF-8 as U+FFFD. The space that SentencePiece puts before a text is taken off.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut bytes = self.decode_bytes(ids);
        if self.tables.rules.prefixes() && bytes.first() == Some(&b' ') {
            bytes.remove(0);
        }
        match String::from_utf8(bytes) {
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

    /// The special tokens with their ids, in the order of the ids: all that a chat template writes and a text does not, also those
    /// that are shown to whoever reads an answer, such as `<think>`.
    pub fn specials(&self) -> &[(String, u32)] {
        &self.tables.specials
    }

    /// Whether `id` is a special token that is no part of a text: it has nothing to show, and ends an answer.
    pub fn is_special(&self, id: u32) -> bool {
        let specials = &self.tables.specials;
        let is_known = specials.binary_search_by_key(&id, |&(_, id)| id).is_ok();
        is_known && self.tables.visible.binary_search(&id).is_err()
    }

    /// Whether the tokens are single characters.
    pub fn is_character_level(&self) -> bool {
        matches!(self.tables.model, Model::Characters(_))
    }

    /// Which kind it is, in words.
    pub fn kind(&self) -> &'static str {
        match &self.tables.model {
            Model::Characters(_) => "characters",
            Model::Bpe(_) if self.tables.rules.is_sentencepiece() => "SentencePiece BPE",
            Model::Bpe(_) => "byte-level BPE",
        }
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
        let kind = self.kind();
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

fn fingerprint(tables: &Tables) -> String {
    let mut sha = Sha256::new();
    let mut part = |bytes: &[u8]| {
        sha.update((bytes.len() as u64).to_le_bytes());
        sha.update(bytes);
    };
    match &tables.model {
        Model::Bpe(bpe) => {
            if tables.rules.is_gpt2() {
                part(b"byte-level BPE, the pattern of GPT-2");
            } else {
                // As tokenizer.json spells them, which does not change with names in this crate.
                let written = tables.rules.write().map(|rule| rule.to_string());
                written.iter().for_each(|rule| part(rule.as_bytes()));
            }
            if bpe.has_whole_words() {
                part(b"words that are tokens are not merged");
            }
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
    tables.vocabulary.iter().for_each(&mut part);
    for (name, id) in &tables.specials {
        part(name.as_bytes());
        part(&id.to_le_bytes());
    }
    for id in &tables.visible {
        part(b"shown");
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
pub(crate) mod foreign_tests;
#[cfg(test)]
mod tests;
