//! What is done to a text before its words are merged, and how `tokenizer.json` says so.
//!
//! The ecosystem composes normalizers and pre-tokenizers freely; read here are the compositions of the tokenizers that this crate
//! knows. Anything else would give other ids and is refused by name.

use std::borrow::Cow;

use serde_json::{Value, json};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::pretokenize::{LLAMA3, Pattern, QWEN2};

/// What SentencePiece writes for a space.
pub(super) const SPACE_MARK: char = '\u{2581}';

/// What is done to a text before its words are merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) normalizer: Normalizer,
    pub(crate) pattern: Pattern,
}

/// How a text is changed first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Normalizer {
    /// Not at all.
    #[default]
    Nothing,
    /// Accents are composed with their letters.
    Nfc,
    /// As SentencePiece does: a space is put before the text in some places, and its mark of a space is one.
    SentencePiece(Prefix),
}

/// Where a space is put before a text, so that its first word is the token of a word inside a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prefix {
    /// Nowhere.
    Never,
    /// Where a text begins and after every special token.
    Always,
    /// The same, unless a space is there anyway.
    UnlessSpace,
    /// Where a text begins, unless a space is there anyway.
    FirstUnlessSpace,
}

/// What stands before a text that is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// It is the beginning.
    Nothing,
    /// A special token.
    Special,
    /// Text, which it goes on with.
    Text,
}

impl Rules {
    /// Whether this is what GPT-2 does.
    pub(crate) fn is_gpt2(self) -> bool {
        self == Rules::default()
    }

    /// Whether tokens are spelled as SentencePiece does, not in GPT-2's byte alphabet.
    pub(crate) fn is_sentencepiece(self) -> bool {
        matches!(self.normalizer, Normalizer::SentencePiece(_))
    }

    /// Whether a text that begins gets a space before it, which decoding takes off again.
    pub(crate) fn prefixes(self) -> bool {
        matches!(self.normalizer, Normalizer::SentencePiece(prefix) if prefix != Prefix::Never)
    }

    /// The text whose words are merged.
    pub(crate) fn normalize<'a>(self, text: &'a str, before: Before) -> Cow<'a, str> {
        match self.normalizer {
            Normalizer::Nothing => text.into(),
            Normalizer::Nfc if is_nfc_quick(text.chars()) == IsNormalized::Yes => text.into(),
            Normalizer::Nfc => text.nfc().collect::<String>().into(),
            Normalizer::SentencePiece(prefix) => {
                let has_space = text.starts_with([' ', SPACE_MARK]);
                let is_prefixed = match prefix {
                    Prefix::Never => false,
                    Prefix::Always => before != Before::Text,
                    Prefix::UnlessSpace => before != Before::Text && !has_space,
                    Prefix::FirstUnlessSpace => before == Before::Nothing && !has_space,
                };
                let is_prefixed = is_prefixed && !text.is_empty();
                if !is_prefixed && !text.contains(SPACE_MARK) {
                    return text.into();
                }
                let mut out = String::with_capacity(text.len() + 1);
                if is_prefixed {
                    out.push(' ');
                }
                out.extend(text.chars().map(|c| if c == SPACE_MARK { ' ' } else { c }));
                out.into()
            }
        }
    }

    /// The rules of a byte-level BPE.
    ///
    /// # Errors
    /// What in them is not known here, to follow the file's name.
    pub(super) fn read_byte_level(normalizer: &Value, pre: &Value) -> Result<Rules, String> {
        let normalizer = match &steps(normalizer, "normalizers")[..] {
            [] => Normalizer::Nothing,
            [one] if kind(one) == "NFC" => Normalizer::Nfc,
            [other, ..] => return Err(unknown_normalizer(other)),
        };
        let steps = steps(pre, "pretokenizers");
        let Some((last, first)) = steps.split_last() else {
            return Err("it has merges and no pre_tokenizer".to_owned());
        };
        if kind(last) != "ByteLevel" {
            let kind = kind(last);
            return Err(format!("its pre_tokenizer is {kind:.40}, not ByteLevel"));
        }
        if flag(last, "add_prefix_space", true) {
            return Err("its pre_tokenizer adds a space before the text".to_owned());
        }
        let uses_gpt2 = flag(last, "use_regex", true);
        let pattern = match (first, uses_gpt2) {
            ([], true) => Pattern::Gpt2,
            ([digits], true)
                if kind(digits) == "Digits" && flag(digits, "individual_digits", false) =>
            {
                Pattern::Digits
            }
            ([split], false) if kind(split) == "Split" => read_split(split)?,
            ([], false) => return Err("its pre_tokenizer does not use GPT-2's pattern".to_owned()),
            ([other, ..], _) => {
                let kind = kind(other);
                return Err(format!(
                    "its pre_tokenizer has a step {kind:.40} that is not known here"
                ));
            }
        };
        Ok(Rules {
            normalizer,
            pattern,
        })
    }

    /// The rules of a SentencePiece BPE; `pattern` is for its tokens to say.
    ///
    /// # Errors
    /// As [`Rules::read_byte_level`].
    pub(super) fn read_sentencepiece(
        normalizer: &Value,
        pre: &Value,
        pattern: Pattern,
    ) -> Result<Rules, String> {
        let mark = SPACE_MARK.to_string();
        let marks_spaces = |step: &Value| {
            kind(step) == "Replace"
                && step["pattern"]["String"] == " "
                && step["content"] == mark.as_str()
        };
        let prepends = |step: &Value| kind(step) == "Prepend" && step["prepend"] == mark.as_str();
        let normalizer = steps(normalizer, "normalizers");
        let prefix = match (&normalizer[..], &steps(pre, "pretokenizers")[..]) {
            ([first, second], []) if prepends(first) && marks_spaces(second) => Prefix::Always,
            ([one], []) if marks_spaces(one) => Prefix::Never,
            ([], [metaspace]) if kind(metaspace) == "Metaspace" => read_metaspace(metaspace)?,
            ([], []) => return Err("it does not say what becomes of spaces".to_owned()),
            ([], [other, ..]) => {
                let kind = kind(other);
                return Err(format!("its pre_tokenizer is {kind:.40}, not Metaspace"));
            }
            ([.., other], _) => return Err(unknown_normalizer(other)),
        };
        Ok(Rules {
            normalizer: Normalizer::SentencePiece(prefix),
            pattern,
        })
    }

    /// `normalizer`, `pre_tokenizer` and `decoder` of the file.
    pub(super) fn write(self) -> [Value; 3] {
        let byte_level = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
        let normalizer = match self.normalizer {
            Normalizer::Nothing => Value::Null,
            Normalizer::Nfc => json!({"type": "NFC"}),
            Normalizer::SentencePiece(prefix) => return write_sentencepiece(prefix),
        };
        let split = |pattern: &str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        let sequence = |first: Value, use_regex: bool| json!({"type": "Sequence", "pretokenizers": [first, byte_level(use_regex)]});
        let pre = match self.pattern {
            Pattern::Digits => sequence(json!({"type": "Digits", "individual_digits": true}), true),
            Pattern::Llama3 => sequence(split(LLAMA3), false),
            Pattern::Qwen2 => sequence(split(QWEN2), false),
            // The last two belong to SentencePiece alone.
            Pattern::Gpt2 | Pattern::Spaces | Pattern::Whole => byte_level(true),
        };
        [normalizer, pre, byte_level(true)]
    }
}

fn write_sentencepiece(prefix: Prefix) -> [Value; 3] {
    let mark = SPACE_MARK.to_string();
    let replace = |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
    let metaspace = |scheme: &str| json!({"type": "Metaspace", "replacement": mark, "prepend_scheme": scheme, "split": false});
    let (normalizer, pre) = match prefix {
        Prefix::Never => (replace(" ", &mark), Value::Null),
        Prefix::Always => {
            let prepend = json!({"type": "Prepend", "prepend": mark});
            let both = [prepend, replace(" ", &mark)];
            (
                json!({"type": "Sequence", "normalizers": both}),
                Value::Null,
            )
        }
        Prefix::UnlessSpace => (Value::Null, metaspace("always")),
        Prefix::FirstUnlessSpace => (Value::Null, metaspace("first")),
    };
    let mut decoders = vec![
        replace(&mark, " "),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefix != Prefix::Never {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    let decoder = json!({"type": "Sequence", "decoders": decoders});
    [normalizer, pre, decoder]
}

fn read_split(split: &Value) -> Result<Pattern, String> {
    if split["behavior"] != "Isolated" || flag(split, "invert", false) {
        return Err("its pre_tokenizer splits in a way that is not known here".to_owned());
    }
    let pattern = split["pattern"]["Regex"].as_str().unwrap_or_default();
    match pattern {
        LLAMA3 => Ok(Pattern::Llama3),
        QWEN2 => Ok(Pattern::Qwen2),
        other => Err(format!(
            "its pre_tokenizer splits by the pattern {other:.200}, which is not known here"
        )),
    }
}

fn read_metaspace(step: &Value) -> Result<Prefix, String> {
    if flag(step, "split", true) || step["replacement"] != SPACE_MARK.to_string().as_str() {
        return Err("its pre_tokenizer Metaspace splits the text at every space".to_owned());
    }
    match step["prepend_scheme"].as_str() {
        Some("never") => Ok(Prefix::Never),
        Some("first") => Ok(Prefix::FirstUnlessSpace),
        Some("always") => Ok(Prefix::UnlessSpace),
        None if !flag(step, "add_prefix_space", true) => Ok(Prefix::Never),
        None => Ok(Prefix::UnlessSpace),
        Some(other) => Err(format!(
            "its pre_tokenizer has the prepend_scheme {other:.40}, which is not known here"
        )),
    }
}

fn unknown_normalizer(step: &Value) -> String {
    let kind = kind(step);
    format!(
        "it has the normalizer {kind:.40}, which would change the text in a way that is not known here"
    )
}

/// The steps of a normalizer or pre-tokenizer: none, one, or those of a sequence.
fn steps(value: &Value, key: &str) -> Vec<Value> {
    match value {
        Value::Null => Vec::new(),
        value if kind(value) == "Sequence" => value[key].as_array().cloned().unwrap_or_default(),
        value => vec![value.clone()],
    }
}

fn kind(value: &Value) -> &str {
    value["type"].as_str().unwrap_or("unknown")
}

fn flag(value: &Value, key: &str, default: bool) -> bool {
    value[key].as_bool().unwrap_or(default)
}
