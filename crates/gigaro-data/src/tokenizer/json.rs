//! `tokenizer.json`, the ecosystem's single-file tokenizer.
//!
//! Of its many models this reads two: byte-level BPE with GPT-2's pattern, and BPE without merges or pre-tokeniser, which is
//! how a character tokenizer is spelled in it. Both are written so that Hugging Face's libraries give the same ids. Anything
//! else in the file that would change the ids is refused by name rather than ignored.

use super::bpe::{Bpe, Merge};
use super::character::Characters;
use super::{Model, Tables, Tokenizer, alphabet};
use crate::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};

const ADVICE: &str =
    "give a tokenizer.json of a byte-level BPE with GPT-2's pattern, or of single characters";

/// The parts of the file that decide about ids.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    model: ModelPart,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
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
}

/// Both spellings of a merge: `"a b"` (before 2024) and `["a", "b"]`.
#[derive(Deserialize)]
#[serde(untagged)]
enum MergePart {
    Line(String),
    Pair(String, String),
}

/// What `tokenizer.json` and GPT-2's files say about a byte-level BPE, still as text.
pub(super) struct BpeFile {
    pub(super) vocab: HashMap<String, u32>,
    pub(super) merges: Vec<(String, String)>,
    pub(super) specials: Vec<(String, u32)>,
}

/// Reads the contents of a `tokenizer.json`.
pub(super) fn read(bytes: &[u8], place: &str) -> Result<Tokenizer> {
    let file: File = serde_json::from_str(text_of(bytes, place)?)
        .map_err(|error| Error::malformed(place, format!("not a tokenizer: {error}"), ADVICE))?;
    refuse_unknown_rules(&file, place)?;
    let specials: Vec<_> = file
        .added_tokens
        .into_iter()
        .map(|token| (token.content, token.id))
        .collect();
    let vocab = file.model.vocab;
    if file.pre_tokenizer.is_null() && file.model.merges.is_empty() {
        return assemble_characters(vocab, specials, place);
    }
    let mut merges = Vec::with_capacity(file.model.merges.len());
    for (i, merge) in file.model.merges.into_iter().enumerate() {
        merges.push(match merge {
            MergePart::Pair(left, right) => (left, right),
            MergePart::Line(line) => match line.split_once(' ') {
                Some((left, right)) => (left.to_owned(), right.to_owned()),
                None => {
                    let problem = format!("{line:?} is not two tokens with a space between them");
                    return Err(Error::malformed(
                        format!("{place}, merge {i}"),
                        problem,
                        ADVICE,
                    ));
                }
            },
        });
    }
    assemble_bpe(
        BpeFile {
            vocab,
            merges,
            specials,
        },
        place,
    )
}

/// Refuses whatever would give other ids than the two kinds that are read here.
fn refuse_unknown_rules(file: &File, place: &str) -> Result<()> {
    let refuse = |what: String| Err(Error::malformed(place, what, ADVICE));
    let kind_of = |value: &Value| {
        value
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or("unknown")
            .to_owned()
    };
    let model = &file.model;
    if let Some(kind) = model.kind.as_deref().filter(|&kind| kind != "BPE") {
        return refuse(format!("its model is {kind:.40}, not BPE"));
    }
    if !file.normalizer.is_null() {
        return refuse(format!(
            "it has the normalizer {:.40}, which would change the text",
            kind_of(&file.normalizer)
        ));
    }
    let affix = |affix: &Option<String>| affix.as_deref().is_some_and(|affix| !affix.is_empty());
    if affix(&model.continuing_subword_prefix) || affix(&model.end_of_word_suffix) {
        return refuse(
            "it marks parts of words with a prefix or suffix, which byte-level BPE does not"
                .to_owned(),
        );
    }
    if model.ignore_merges {
        return refuse("it sets ignore_merges, which is not supported".to_owned());
    }
    if model.dropout.is_some_and(|dropout| dropout != 0.0) {
        return refuse("it sets dropout, so that the same text would get different ids".to_owned());
    }
    let pre = &file.pre_tokenizer;
    if pre.is_null() {
        if !model.merges.is_empty() {
            return refuse("it has merges and no pre_tokenizer".to_owned());
        }
        return Ok(());
    }
    if kind_of(pre) != "ByteLevel" {
        return refuse(format!(
            "its pre_tokenizer is {:.40}, not ByteLevel",
            kind_of(pre)
        ));
    }
    if pre
        .get("add_prefix_space")
        .and_then(Value::as_bool)
        .unwrap_or(true)
    {
        return refuse("its pre_tokenizer adds a space before the text".to_owned());
    }
    if !pre
        .get("use_regex")
        .and_then(Value::as_bool)
        .unwrap_or(true)
    {
        return refuse("its pre_tokenizer does not use GPT-2's pattern".to_owned());
    }
    Ok(())
}

/// Puts a byte-level BPE together and checks that its parts fit.
pub(super) fn assemble_bpe(file: BpeFile, place: &str) -> Result<Tokenizer> {
    let refuse = |what: String| Error::malformed(place, what, ADVICE);
    let mut tokens = by_id(&file.vocab, &file.specials, place)?;
    let special_ids = ids_of(&file.specials);
    let is_special = |id: u32| special_ids.contains(&id);
    for (spelled, &id) in &file.vocab {
        // A special token may stand in the vocabulary under its plain name, which then is its text.
        if !is_special(id) {
            tokens[id as usize] = alphabet::read(spelled).ok_or_else(|| {
                refuse(format!(
                    "the token {spelled:?} is not written in GPT-2's byte alphabet"
                ))
            })?;
        }
    }
    let mut byte_ids = [0; 256];
    for byte in 0..=255u8 {
        let spelled = alphabet::char_of_byte(byte).to_string();
        let id = file
            .vocab
            .get(&spelled)
            .copied()
            .filter(|&id| !is_special(id));
        byte_ids[usize::from(byte)] =
            id.ok_or_else(|| refuse(format!("the byte {byte:#04x} ({spelled}) has no token")))?;
    }
    let mut merges = Vec::with_capacity(file.merges.len());
    for (i, (left, right)) in file.merges.iter().enumerate() {
        let id = |spelled: &str| {
            let id = file
                .vocab
                .get(spelled)
                .copied()
                .filter(|&id| !is_special(id));
            id.ok_or_else(|| {
                refuse(format!(
                    "merge {i} ({left:?} {right:?}) names {spelled:?}, which is no token of text"
                ))
            })
        };
        merges.push(Merge {
            left: id(left)?,
            right: id(right)?,
            joined: id(&format!("{left}{right}"))?,
        });
    }
    let vocabulary = tokens.into_iter().collect();
    Ok(Tokenizer::assemble(
        Model::Bpe(Box::new(Bpe::new(byte_ids, merges))),
        vocabulary,
        file.specials,
    ))
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

/// Writes the contents of a `tokenizer.json`.
pub(super) fn write(tables: &Tables) -> String {
    let special_ids = ids_of(&tables.specials);
    let spell = |id: u32| {
        let bytes = tables.vocabulary.get(id);
        match tables.model {
            Model::Bpe(_) if !special_ids.contains(&id) => alphabet::spell(bytes),
            _ => String::from_utf8_lossy(bytes).into_owned(),
        }
    };
    let vocab: Map<String, Value> = (0..tables.vocabulary.len() as u32)
        .filter(|&id| !tables.vocabulary.get(id).is_empty())
        .map(|id| (spell(id), Value::from(id)))
        .collect();
    let added: Vec<Value> = tables
        .specials
        .iter()
        .map(|(name, id)| {
            json!({"id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        })
        .collect();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let (pre_tokenizer, decoder, merges) = match &tables.model {
        Model::Bpe(bpe) => {
            let merges: Vec<Value> = bpe
                .merges()
                .iter()
                .map(|m| json!([spell(m.left), spell(m.right)]))
                .collect();
            (byte_level.clone(), byte_level, merges)
        }
        Model::Characters(_) => (Value::Null, json!({"type": "Fuse"}), Vec::new()),
    };
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": pre_tokenizer, "post_processor": null, "decoder": decoder,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                  "vocab": vocab, "merges": merges},
    });
    let mut text = serde_json::to_string_pretty(&file).expect("names and numbers serialise");
    text.push('\n');
    text
}
