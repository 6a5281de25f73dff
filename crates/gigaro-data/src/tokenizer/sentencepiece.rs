//! How SentencePiece's BPE spells tokens, and the merges that its scores stand for.
//!
//! A token is text with a mark for each space; a byte that no token holds is spelled `<0x0A>`. The model file has no merges: of all
//! neighbours whose concatenation is a token, those are joined whose token has the highest score. That is the same as a list of
//! merges by falling score, which is how `tokenizer.json` has it.
//!
//! # Reference
//! Kudo, Richardson (2018), "SentencePiece", <https://arxiv.org/abs/1808.06226>

use std::collections::HashMap;

use rustc_hash::FxHashMap;

use super::pretokenize::Pattern;
use super::rules::SPACE_MARK;

/// The bytes of a token.
pub(super) fn read(spelled: &str) -> Vec<u8> {
    match byte_of(spelled) {
        Some(byte) => vec![byte],
        None => spelled.replace(SPACE_MARK, " ").into_bytes(),
    }
}

/// The byte that a token spells, if it is one of the 256 such.
fn byte_of(spelled: &str) -> Option<u8> {
    let digits = spelled.strip_prefix("<0x")?.strip_suffix('>')?;
    let byte = u8::from_str_radix(digits, 16).ok()?;
    (spell_byte(byte) == spelled).then_some(byte)
}

/// The spelling of a byte that no token holds.
pub(super) fn spell_byte(byte: u8) -> String {
    format!("<0x{byte:02X}>")
}

/// The spelling of a token of text.
pub(super) fn spell(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace(' ', &SPACE_MARK.to_string())
}

/// How text may be cut into words that merges never cross, with these tokens.
pub(super) fn pattern_of<'a>(mut tokens: impl Iterator<Item = &'a str>) -> Pattern {
    let has_space_inside = |token: &str| token.trim_start_matches(SPACE_MARK).contains(SPACE_MARK);
    if tokens.any(has_space_inside) {
        Pattern::Whole
    } else {
        Pattern::Spaces
    }
}

/// The tokens of single characters.
pub(super) fn characters(vocab: &HashMap<String, u32>) -> FxHashMap<char, u32> {
    let mut found = FxHashMap::default();
    for (token, &id) in vocab {
        let mut characters = token.chars();
        if let (Some(character), None) = (characters.next(), characters.next()) {
            let character = if character == SPACE_MARK {
                ' '
            } else {
                character
            };
            found.insert(character, id);
        }
    }
    found
}

/// The merges that the scores of tokens stand for, the first to be made first; `score` is by id.
pub(super) fn merges(
    vocab: &HashMap<String, u32>,
    score: impl Fn(u32) -> f64,
) -> Vec<(String, String)> {
    let mut found: Vec<(f64, u32, u32, &str, &str)> = Vec::new();
    for (token, &id) in vocab {
        if byte_of(token).is_some() {
            continue;
        }
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if let (Some(&left_id), Some(_)) = (vocab.get(left), vocab.get(right)) {
                found.push((score(id), id, left_id, left, right));
            }
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let pair =
        |(_, _, _, left, right): (f64, u32, u32, &str, &str)| (left.to_owned(), right.to_owned());
    found.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_spaces_are_spelled_as_sentencepiece_does() {
        assert_eq!(read("\u{2581}the"), b" the");
        assert_eq!(read("<0x0A>"), b"\n");
        assert_eq!(read("<0x0a>"), b"<0x0a>");
        assert_eq!(spell(b" a "), "\u{2581}a\u{2581}");
        assert_eq!(spell_byte(255), "<0xFF>");
    }

    #[test]
    fn merges_are_ordered_by_the_score_of_what_they_make() {
        let vocab: HashMap<String, u32> = ["a", "b", "ab", "ba", "aba"]
            .into_iter()
            .zip(0..)
            .map(|(token, id)| (token.to_owned(), id))
            .collect();
        let scores = [0.0, 0.0, -2.0, -1.0, -3.0];
        let merges = merges(&vocab, |id| scores[id as usize]);
        let merges: Vec<(&str, &str)> = merges
            .iter()
            .map(|(l, r)| (l.as_str(), r.as_str()))
            .collect();
        assert_eq!(merges, [("b", "a"), ("a", "b"), ("a", "ba"), ("ab", "a")]);
    }

    #[test]
    fn a_token_with_a_space_inside_forbids_cutting() {
        assert_eq!(
            pattern_of(["\u{2581}\u{2581}a", "b"].into_iter()),
            Pattern::Spaces
        );
        assert_eq!(pattern_of(["a\u{2581}b"].into_iter()), Pattern::Whole);
        assert_eq!(
            pattern_of(["\u{2581}a\u{2581}"].into_iter()),
            Pattern::Whole
        );
    }
}
