//! The tokenizer inside a GGUF file's metadata.
//!
//! `tokenizer.ggml.model` is `gpt2` for byte-level BPE, whose pattern `tokenizer.ggml.pre` names, or `llama` for SentencePiece's BPE,
//! which has scores instead of merges. Each token has a type: text, a control token, one that a person defined, a byte.

use std::collections::HashMap;

use gigaro_tensor::io::gguf::{Gguf, Value};

use super::json::{BpeFile, assemble_bpe};
use super::pretokenize::Pattern;
use super::rules::{Normalizer, Prefix, Rules};
use super::{Tokenizer, sentencepiece};
use crate::{Error, Result};

const ADVICE: &str = "take a file of a model with a byte-level BPE (gpt-2, smollm, starcoder, llama-bpe, qwen2) or SentencePiece's BPE, or convert the model anew";

/// Types of tokens that are no text; what is left out are text (1) and bytes (6).
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;
const UNUSED: i64 = 5;

/// Keys of ids that end a reply: such a token is a control token whatever its type says.
const ENDS: [&str; 3] = [
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.eom_token_id",
];

/// Reads the tokenizer; `place` names the file in messages.
pub(super) fn read(gguf: &Gguf, place: &str) -> Result<Tokenizer> {
    let refuse = |problem: String| Error::malformed(place, problem, ADVICE);
    let Some(model) = gguf
        .metadata("tokenizer.ggml.model")
        .and_then(Value::as_str)
    else {
        return Err(refuse("it has no tokenizer".to_owned()));
    };
    let Sorted {
        vocab,
        specials,
        visible,
    } = sort_tokens(gguf).map_err(refuse)?;
    let (rules, merges, starts) = match model {
        "gpt2" => {
            let (rules, starts) = byte_level_rules(gguf).map_err(refuse)?;
            (rules, written_merges(gguf).map_err(refuse)?, starts)
        }
        "llama" => {
            let scores = scores(gguf, &vocab).map_err(refuse)?;
            let merges = sentencepiece::merges(&vocab, |id| scores[id as usize]);
            (sentencepiece_rules(gguf, &vocab), merges, true)
        }
        other => {
            return Err(refuse(format!(
                "its tokenizer is of the kind {other:.40}, which is not supported"
            )));
        }
    };
    let file = BpeFile {
        ignore_merges: rules.pattern == Pattern::Llama3,
        vocab,
        merges,
        specials,
        visible,
        rules,
    };
    let tokenizer = assemble_bpe(file, place)?;
    let starts = flag(gguf, "tokenizer.ggml.add_bos_token").unwrap_or(starts);
    let start = id(gguf, "tokenizer.ggml.bos_token_id").filter(|_| starts);
    Ok(tokenizer.with_document_start(start))
}

fn flag(gguf: &Gguf, key: &str) -> Option<bool> {
    gguf.metadata(key).and_then(Value::as_bool)
}

fn id(gguf: &Gguf, key: &str) -> Option<u32> {
    let id = gguf.metadata(key).and_then(Value::as_u64)?;
    u32::try_from(id).ok()
}

/// Tokens by what they are.
struct Sorted {
    /// Of text, with those specials that have a place in the vocabulary anyway.
    vocab: HashMap<String, u32>,
    specials: Vec<(String, u32)>,
    visible: Vec<u32>,
}

fn sort_tokens(gguf: &Gguf) -> std::result::Result<Sorted, String> {
    let tokens = array(gguf, "tokenizer.ggml.tokens")?;
    let types = gguf.metadata("tokenizer.ggml.token_type");
    let types = types.and_then(Value::as_array).unwrap_or_default();
    let ends = ENDS.map(|key| id(gguf, key));
    let mut sorted = Sorted {
        vocab: HashMap::with_capacity(tokens.len()),
        specials: Vec::new(),
        visible: Vec::new(),
    };
    for (i, token) in tokens.iter().enumerate() {
        let token = token
            .as_str()
            .ok_or_else(|| format!("its token {i} is no text"))?;
        let id = u32::try_from(i).map_err(|_| "it has too many tokens".to_owned())?;
        let kind = types.get(i).and_then(Value::as_i64).unwrap_or(1);
        let is_end = ends.contains(&Some(id));
        if kind == UNUSED && !is_end {
            continue;
        }
        if is_end || matches!(kind, UNKNOWN | CONTROL | USER_DEFINED) {
            sorted.specials.push((token.to_owned(), id));
            if kind == USER_DEFINED && !is_end {
                sorted.visible.push(id);
            }
        } else if sorted.vocab.insert(token.to_owned(), id).is_some() {
            return Err(format!("its token {token:?} is there twice"));
        }
    }
    Ok(sorted)
}

fn array<'a>(gguf: &'a Gguf, key: &str) -> std::result::Result<&'a [Value], String> {
    let found = gguf.metadata(key).and_then(Value::as_array);
    found.ok_or_else(|| format!("it has no list {key}"))
}

/// The rules of a byte-level BPE, and whether a document begins with a token of its own unless the file says otherwise.
fn byte_level_rules(gguf: &Gguf) -> std::result::Result<(Rules, bool), String> {
    let pre = gguf.metadata("tokenizer.ggml.pre").and_then(Value::as_str);
    let (pattern, normalizer) = match pre {
        Some("gpt-2") => (Pattern::Gpt2, Normalizer::Nothing),
        Some("smollm" | "starcoder" | "refact") => (Pattern::Digits, Normalizer::Nothing),
        Some("llama-bpe" | "llama3" | "llama-v3") => (Pattern::Llama3, Normalizer::Nothing),
        // The file does not say it, but Qwen's tokenizers compose accents.
        Some("qwen2" | "deepseek-r1-qwen") => (Pattern::Qwen2, Normalizer::Nfc),
        Some(other) => {
            return Err(format!(
                "its pre-tokenizer {other:.40} is not supported (tokenizer.ggml.pre)"
            ));
        }
        None => {
            return Err(
                "it does not say how text is cut into words (tokenizer.ggml.pre)".to_owned(),
            );
        }
    };
    let rules = Rules {
        normalizer,
        pattern,
    };
    Ok((rules, pattern == Pattern::Llama3))
}

fn written_merges(gguf: &Gguf) -> std::result::Result<Vec<(String, String)>, String> {
    let merges = array(gguf, "tokenizer.ggml.merges")?.iter().enumerate();
    let pair = |(i, merge): (usize, &Value)| {
        let pair = merge.as_str().and_then(|merge| merge.split_once(' '));
        let (left, right) = pair
            .ok_or_else(|| format!("its merge {i} is not two tokens with a space between them"))?;
        Ok((left.to_owned(), right.to_owned()))
    };
    merges.map(pair).collect()
}

/// The score of each id.
fn scores(gguf: &Gguf, vocab: &HashMap<String, u32>) -> std::result::Result<Vec<f64>, String> {
    let scores = array(gguf, "tokenizer.ggml.scores")?.iter();
    let scores: Option<Vec<f64>> = scores.map(Value::as_f64).collect();
    let needed = vocab.values().max().map_or(0, |&id| id as usize + 1);
    scores
        .filter(|scores| scores.len() >= needed)
        .ok_or_else(|| "its tokens have no scores, one each (tokenizer.ggml.scores)".to_owned())
}

fn sentencepiece_rules(gguf: &Gguf, vocab: &HashMap<String, u32>) -> Rules {
    let prefix = match flag(gguf, "tokenizer.ggml.add_space_prefix") {
        Some(false) => Prefix::Never,
        _ => Prefix::Always,
    };
    Rules {
        normalizer: Normalizer::SentencePiece(prefix),
        pattern: sentencepiece::pattern_of(vocab.keys().map(String::as_str)),
    }
}
