//! `tokenizer.json`, the ecosystem's single-file tokenizer.
//!
//! Of its many models this reads three: byte-level BPE, SentencePiece's BPE with its fallback to bytes, and BPE without merges or
//! pre-tokeniser, which is how a character tokenizer is spelled in it. All are written so that Hugging Face's libraries give the
//! same ids. What is done to a text before merging is in `rules`. Anything else in the file that would change the ids is refused by
//! name rather than ignored.

use super::bpe::{Bpe, Merge, NO_TOKEN};
use super::character::Characters;
use super::rules::Rules;
use super::{Model, Tables, Tokenizer, alphabet, sentencepiece};
use crate::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};

const ADVICE: &str = "give a tokenizer.json of a byte-level BPE (as of GPT-2, SmolLM, Llama 3, Qwen), of SentencePiece's BPE (Llama 2), or of single characters";

/// The parts of the file that decide about ids.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    model: ModelPart,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
    /// Others are text that has a token of its own.
    #[serde(default = "yes")]
    special: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Deserialize)]
struct ModelPart {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    vocab: HashMap<String, u32>,
    #[serde(default)]
    merges: Vec<MergePart>,
    #[serde(default)]
    dropout: Option<f64>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    ignore_merges: bool,
    #[serde(default)]
    byte_fallback: bool,
}

/// Both spellings of a merge: `"a b"` (before 2024) and `["a", "b"]`.
#[derive(Deserialize)]
#[serde(untagged)]
enum MergePart {
    Line(String),
    Pair(String, String),
}

/// What files say about a BPE, still as text.
pub(super) struct BpeFile {
    pub(super) vocab: HashMap<String, u32>,
    pub(super) merges: Vec<(String, String)>,
    pub(super) specials: Vec<(String, u32)>,
    /// Those of the specials that are text to whoever reads what a model wrote.
    pub(super) visible: Vec<u32>,
    pub(super) rules: Rules,
    /// Whether a word that is a token is that token, whatever its merges would make of it.
    pub(super) ignore_merges: bool,
}

/// Reads the contents of a `tokenizer.json`.
pub(super) fn read(bytes: &[u8], place: &str) -> Result<Tokenizer> {
    let file: File = serde_json::from_str(text_of(bytes, place)?)
        .map_err(|error| Error::malformed(place, format!("not a tokenizer: {error}"), ADVICE))?;
    check_model(&file, place)?;
    let start = document_start(&file.post_processor);
    let rules = rules(&file).map_err(|what| Error::malformed(place, what, ADVICE))?;
    let mut visible = Vec::new();
    let mut specials = Vec::new();
    for token in file.added_tokens {
        if !token.special {
            visible.push(token.id);
        }
        specials.push((token.content, token.id));
    }
    let vocab = file.model.vocab;
    let Some(rules) = rules else {
        return assemble_characters(vocab, specials, place);
    };
    let file = BpeFile {
        merges: pairs(file.model.merges, place)?,
        ignore_merges: file.model.ignore_merges,
        vocab,
        specials,
        visible,
        rules,
    };
    let tokenizer = assemble_bpe(file, place)?;
    match start.and_then(|name| tokenizer.special(&name)) {
        Some(id) => Ok(tokenizer.with_document_start(Some(id))),
        None => Ok(tokenizer),
    }
}

fn pairs(merges: Vec<MergePart>, place: &str) -> Result<Vec<(String, String)>> {
    let pair = |(i, merge)| match merge {
        MergePart::Pair(left, right) => Ok((left, right)),
        MergePart::Line(line) => match line.split_once(' ') {
            Some((left, right)) => Ok((left.to_owned(), right.to_owned())),
            None => {
                let problem = format!("{line:?} is not two tokens with a space between them");
                Err(Error::malformed(
                    format!("{place}, merge {i}"),
                    problem,
                    ADVICE,
                ))
            }
        },
    };
    merges.into_iter().enumerate().map(pair).collect()
}

/// The rules of a BPE; `None` if it is of single characters.
fn rules(file: &File) -> std::result::Result<Option<Rules>, String> {
    let (normalizer, pre, model) = (&file.normalizer, &file.pre_tokenizer, &file.model);
    if model.byte_fallback {
        let specials: HashSet<&str> = file
            .added_tokens
            .iter()
            .map(|t| t.content.as_str())
            .collect();
        let text = model.vocab.keys().map(String::as_str);
        let pattern = sentencepiece::pattern_of(text.filter(|token| !specials.contains(token)));
        return Rules::read_sentencepiece(normalizer, pre, pattern).map(Some);
    }
    if pre.is_null() && model.merges.is_empty() {
        if normalizer.is_null() {
            return Ok(None);
        }
        return Err("it has a normalizer, which would change the text".to_owned());
    }
    Rules::read_byte_level(normalizer, pre).map(Some)
}

/// Refuses a model that would give other ids than those that are read here.
fn check_model(file: &File, place: &str) -> Result<()> {
    let refuse = |what: String| Err(Error::malformed(place, what, ADVICE));
    let model = &file.model;
    if let Some(kind) = model.kind.as_deref().filter(|&kind| kind != "BPE") {
        return refuse(format!("its model is {kind:.40}, not BPE"));
    }
    let affix = |affix: &Option<String>| affix.as_deref().is_some_and(|affix| !affix.is_empty());
    if affix(&model.continuing_subword_prefix) || affix(&model.end_of_word_suffix) {
        return refuse(
            "it marks parts of words with a prefix or suffix, which byte-level BPE does not"
                .to_owned(),
        );
    }
    if model.dropout.is_some_and(|dropout| dropout != 0.0) {
        return refuse("it sets dropout, so that the same text would get different ids".to_owned());
    }
    for token in &file.added_tokens {
        let name = &token.content;
        if token.lstrip || token.rstrip {
            return refuse(format!(
                "its token {name:?} takes the space beside it, which is not supported"
            ));
        }
        if !token.special && name.trim().is_empty() {
            return refuse(format!(
                "its added token {name:?} is space, which is not supported"
            ));
        }
    }
    Ok(())
}

/// The name of the special token that stands before each document.
fn document_start(processor: &Value) -> Option<String> {
    if let Some(steps) = processor["processors"].as_array() {
        return steps.iter().find_map(document_start);
    }
    let first = processor["single"].get(0)?;
    first["SpecialToken"]["id"].as_str().map(str::to_owned)
}

/// Puts a BPE together and checks that its parts fit.
pub(super) fn assemble_bpe(file: BpeFile, place: &str) -> Result<Tokenizer> {
    let refuse = |what: String| Error::malformed(place, what, ADVICE);
    let mut tokens = by_id(&file.vocab, &file.specials, place)?;
    let special_ids = ids_of(&file.specials);
    // A special token may stand in the vocabulary under its plain name, which then is its text.
    let mut vocab = file.vocab;
    vocab.retain(|_, id| !special_ids.contains(id));
    let by_characters = file.rules.is_sentencepiece();
    for (spelled, &id) in &vocab {
        tokens[id as usize] = bytes_of(spelled, by_characters).map_err(refuse)?;
    }
    let mut byte_ids = [0; 256];
    for byte in 0..=255u8 {
        let spelled = if by_characters {
            sentencepiece::spell_byte(byte)
        } else {
            alphabet::char_of_byte(byte).to_string()
        };
        byte_ids[usize::from(byte)] = match vocab.get(&spelled) {
            Some(&id) => id,
            // Some vocabularies lack bytes that their text did not have: controls, and what is rare or never in UTF-8.
            None if !matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~') => NO_TOKEN,
            None => {
                let problem = format!("the byte {byte:#04x} ({spelled}) has no token");
                return Err(refuse(problem));
            }
        };
    }
    let mut bpe = Bpe::new(byte_ids, merges(&vocab, &file.merges).map_err(refuse)?);
    if by_characters {
        bpe = bpe.from_characters(sentencepiece::characters(&vocab));
    }
    if file.ignore_merges {
        let words = vocab
            .values()
            .map(|&id| (tokens[id as usize].as_slice().into(), id));
        bpe = bpe.with_whole_words(words.collect());
    }
    Ok(Tokenizer::assemble_with(
        Model::Bpe(Box::new(bpe)),
        file.rules,
        tokens.into_iter().collect(),
        file.specials,
        file.visible,
    ))
}

/// The bytes of a token of text.
fn bytes_of(spelled: &str, by_characters: bool) -> std::result::Result<Vec<u8>, String> {
    if !by_characters {
        return alphabet::read(spelled).ok_or_else(|| {
            format!("the token {spelled:?} is not written in GPT-2's byte alphabet")
        });
    }
    if spelled.contains(' ') {
        return Err(format!(
            "the token {spelled:?} has a space, which its texts do not have"
        ));
    }
    Ok(sentencepiece::read(spelled))
}

/// The merges in ids.
fn merges(
    vocab: &HashMap<String, u32>,
    merges: &[(String, String)],
) -> std::result::Result<Vec<Merge>, String> {
    let merge = |(i, (left, right)): (usize, &(String, String))| {
        let id = |spelled: &str| {
            vocab.get(spelled).copied().ok_or_else(|| {
                format!(
                    "merge {i} ({left:?} {right:?}) names {spelled:?}, which is no token of text"
                )
            })
        };
        Ok(Merge {
            left: id(left)?,
            right: id(right)?,
            joined: id(&format!("{left}{right}"))?,
        })
    };
    merges.iter().enumerate().map(merge).collect()
}

fn assemble_characters(
    vocab: HashMap<String, u32>,
    specials: Vec<(String, u32)>,
    place: &str,
) -> Result<Tokenizer> {
    let mut tokens = by_id(&vocab, &specials, place)?;
    let mut ids = Vec::new();
    let special_ids = ids_of(&specials);
    for (token, &id) in &vocab {
        if special_ids.contains(&id) {
            continue;
        }
        let mut characters = token.chars();
        let (Some(character), None) = (characters.next(), characters.next()) else {
            let problem = format!(
                "the token {token:?} is not one character, and there are no merges to build it"
            );
            return Err(Error::malformed(place, problem, ADVICE));
        };
        ids.push((character, id));
        tokens[id as usize] = token.clone().into_bytes();
    }
    if ids.is_empty() {
        return Err(Error::malformed(place, "it has no tokens", ADVICE));
    }
    Ok(Tokenizer::assemble(
        Model::Characters(Characters::new(ids)),
        tokens.into_iter().collect(),
        specials,
    ))
}

fn ids_of(specials: &[(String, u32)]) -> HashSet<u32> {
    specials.iter().map(|&(_, id)| id).collect()
}

/// One empty place per id, with the names of the special tokens filled in.
fn by_id(
    vocab: &HashMap<String, u32>,
    specials: &[(String, u32)],
    place: &str,
) -> Result<Vec<Vec<u8>>> {
    let refuse = |what: String| Error::malformed(place, what, ADVICE);
    let ids = || {
        vocab
            .values()
            .copied()
            .chain(specials.iter().map(|&(_, id)| id))
    };
    let count = vocab.len() + specials.len();
    let largest = ids().max().unwrap_or(0) as usize;
    // Vocabularies may have a few holes, but a single wild id must not ask for gigabytes.
    if largest >= 2 * count + 4096 {
        return Err(refuse(format!(
            "the id {largest} does not fit a vocabulary of {count} tokens"
        )));
    }
    let mut tokens = vec![Vec::new(); largest + 1];
    let (mut names, mut special_names) = (HashSet::new(), HashMap::new());
    for (name, id) in specials {
        if name.len() < 2 {
            return Err(refuse(format!(
                "the special token {name:?} is too short to be told from text"
            )));
        }
        if !names.insert(name) || special_names.insert(*id, name).is_some() {
            return Err(refuse(format!(
                "the special token {name:?} (id {id}) is there twice"
            )));
        }
        if vocab.get(name).is_some_and(|in_vocab| in_vocab != id) {
            return Err(refuse(format!("the special token {name:?} has two ids")));
        }
        tokens[*id as usize] = name.clone().into_bytes();
    }
    let mut taken = vec![false; largest + 1];
    for (token, &id) in vocab {
        if std::mem::replace(&mut taken[id as usize], true) {
            return Err(refuse(format!(
                "the id {id} has two tokens, {token:?} and another"
            )));
        }
        if special_names.get(&id).is_some_and(|&name| name != token) {
            return Err(refuse(format!(
                "the id {id} is the token {token:?} and a special token"
            )));
        }
    }
    Ok(tokens)
}

/// The bytes as text, or where they stop being UTF-8.
pub(super) fn text_of<'a>(bytes: &'a [u8], place: &str) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|error| {
        Error::malformed(
            place,
            format!("not UTF-8 at byte {}", error.valid_up_to()),
            "give the file as it was published",
        )
    })
}

/// Writes the contents of a `tokenizer.json`; `start` is what each document begins with, where that is to be said.
pub(super) fn write(tables: &Tables, start: Option<(&str, u32)>) -> String {
    let special_ids = ids_of(&tables.specials);
    let vocab: Map<String, Value> = (0..tables.vocabulary.len() as u32)
        .filter(|&id| !tables.vocabulary.get(id).is_empty())
        .map(|id| (spell(tables, &special_ids, id), Value::from(id)))
        .collect();
    let added: Vec<Value> = tables
        .specials
        .iter()
        .map(|(name, id)| {
            json!({"id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": !tables.visible.contains(id)})
        })
        .collect();
    let ([normalizer, pre_tokenizer, decoder], merges, ignore_merges) = match &tables.model {
        Model::Bpe(bpe) => {
            let spell = |id| spell(tables, &special_ids, id);
            let merges = bpe.merges().iter();
            let merges: Vec<Value> = merges
                .map(|m| json!([spell(m.left), spell(m.right)]))
                .collect();
            (tables.rules.write(), merges, bpe.has_whole_words())
        }
        Model::Characters(_) => {
            let rules = [Value::Null, Value::Null, json!({"type": "Fuse"})];
            (rules, Vec::new(), false)
        }
    };
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer, "post_processor": start.map(post_processor), "decoder": decoder,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": tables.rules.is_sentencepiece(),
                  "ignore_merges": ignore_merges, "vocab": vocab, "merges": merges},
    });
    let mut text = serde_json::to_string_pretty(&file).expect("names and numbers serialise");
    text.push('\n');
    text
}

/// A token as the file spells it.
fn spell(tables: &Tables, special_ids: &HashSet<u32>, id: u32) -> String {
    let bytes = tables.vocabulary.get(id);
    match &tables.model {
        Model::Bpe(bpe) if !special_ids.contains(&id) => match *bytes {
            _ if !tables.rules.is_sentencepiece() => alphabet::spell(bytes),
            // A byte that a text falls back to is another token than the character that it may be.
            [byte] if bpe.byte_ids()[usize::from(byte)] == id => sentencepiece::spell_byte(byte),
            _ => sentencepiece::spell(bytes),
        },
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// A post-processor that puts a token before each document.
fn post_processor((name, id): (&str, u32)) -> Value {
    let special = json!({"SpecialToken": {"id": name, "type_id": 0}});
    let text = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
    json!({
        "type": "TemplateProcessing",
        "single": [special, text("A")],
        "pair": [special, text("A"), special, text("B")],
        "special_tokens": {name: {"id": name, "ids": [id], "tokens": [name]}},
    })
}
