//! GPT-2's pre-tokeniser: cuts text into the words that merges never cross.
//!
//! The published rule is a regular expression with a look-ahead,
//! `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
//! which needs a backtracking engine. This is the same rule as a scanner that looks at each character once; the tests hold
//! it against the regular expression. It is not a general pattern engine. The merges inside a word are in `bpe`.

use std::sync::LazyLock;

/// What GPT-2's pattern asks of a character.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Class {
    /// Neither of the three others: punctuation, symbols, marks, controls.
    Other = 0,
    /// `\p{L}`
    Letter = 1,
    /// `\p{N}`
    Number = 2,
    /// `\s`
    Space = 3,
}

/// The class of every code point, from the same tables that the regular expression engines of the ecosystem use.
static CLASSES: LazyLock<Vec<Class>> = LazyLock::new(|| {
    let mut classes = vec![Class::Other; 0x11_0000];
    for (pattern, class) in [
        (r"\p{L}", Class::Letter),
        (r"\p{N}", Class::Number),
        (r"\s", Class::Space),
    ] {
        let hir = regex_syntax::parse(pattern).expect("a constant pattern");
        let regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(set)) = hir.kind()
        else {
            unreachable!("{pattern} is a class of code points");
        };
        for range in set.ranges() {
            classes[range.start() as usize..=range.end() as usize].fill(class);
        }
    }
    classes
});

/// The words of a text, in order and without gaps: joined they are the text again.
pub(crate) struct Words<'a> {
    text: &'a str,
    /// Byte offset where the next word starts.
    at: usize,
    classes: &'static [Class],
}

/// Cuts `text` into words.
pub(crate) fn words(text: &str) -> Words<'_> {
    Words {
        text,
        at: 0,
        classes: &CLASSES,
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.at == self.text.len() {
            return None;
        }
        let start = self.at;
        self.at = self.end_of_word(start);
        Some(&self.text[start..self.at])
    }
}

impl Words<'_> {
    /// The class of the character at byte `at` and the offset after it; `None` at the end.
    #[inline]
    fn class_at(&self, at: usize) -> Option<(Class, usize)> {
        let byte = *self.text.as_bytes().get(at)?;
        if byte < 0x80 {
            return Some((self.classes[usize::from(byte)], at + 1));
        }
        let character = self.text[at..].chars().next()?;
        Some((self.classes[character as usize], at + character.len_utf8()))
    }

    /// The end of the run of `class` that starts at `at`.
    #[inline]
    fn end_of_run(&self, class: Class, mut at: usize) -> usize {
        while let Some((found, next)) = self.class_at(at) {
            if found != class {
                break;
            }
            at = next;
        }
        at
    }

    fn end_of_word(&self, start: usize) -> usize {
        let bytes = self.text.as_bytes();
        if bytes[start] == b'\'' {
            let rest = &bytes[start + 1..];
            match rest {
                [b's' | b't' | b'm' | b'd', ..] => return start + 2,
                [b'r' | b'v', b'e', ..] | [b'l', b'l', ..] => return start + 3,
                _ => {}
            }
        }
        let (class, after_first) = self.class_at(start).expect("a word starts inside the text");
        if class != Class::Space {
            return self.end_of_run(class, after_first);
        }
        // ` ?\p{L}+` and its two sisters: one ordinary space belongs to the run after it.
        if bytes[start] == b' '
            && let Some((class, after_second)) = self.class_at(after_first)
            && class != Class::Space
        {
            return self.end_of_run(class, after_second);
        }
        self.end_of_spaces(start, after_first)
    }

    /// `\s+(?!\S)|\s+`: a run of space leaves its last character to the word that follows, unless it is the only one.
    fn end_of_spaces(&self, start: usize, after_first: usize) -> usize {
        let end = self.end_of_run(Class::Space, after_first);
        if end == self.text.len() || end == after_first {
            return end;
        }
        let last = self.text[start..end]
            .chars()
            .next_back()
            .map_or(0, char::len_utf8);
        end - last
    }
}

/// Cuts a text into pieces of about `bytes` bytes at places where a word ends in any case, so that the words of the pieces
/// are the words of the text.
pub(crate) fn pieces(text: &str, bytes: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(end_of_piece(rest, bytes).unwrap_or(rest.len()));
        rest = after;
        Some(piece)
    })
}

/// The first place at or after byte `at_least` where space follows something that is not space. No word of GPT-2's
/// pattern holds both in that order, and its only look-ahead stays inside the space.
pub(crate) fn end_of_piece(text: &str, at_least: usize) -> Option<usize> {
    let mut at = at_least.max(1);
    while !text.is_char_boundary(at.min(text.len())) {
        at += 1;
    }
    let mut before = text.get(..at)?.chars().next_back()?;
    for (i, character) in text[at..].char_indices() {
        if character.is_whitespace() && !before.is_whitespace() {
            return Some(at + i);
        }
        before = character;
    }
    None
}

/// The last place where a text may be cut so that the words of the two parts are the words of the whole, wherever it goes
/// on: before the last run of space that follows something else.
pub(crate) fn last_cut(text: &str) -> Option<usize> {
    let mut after_is_space = false;
    for (i, character) in text.char_indices().rev() {
        let is_space = character.is_whitespace();
        if after_is_space && !is_space {
            return Some(i + character.len_utf8());
        }
        after_is_space = is_space;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    /// The cuts that the published regular expression makes.
    fn by_pattern(text: &str) -> Vec<String> {
        let mut pieces = PreTokenizedString::from(text);
        ByteLevel::new(false, true, true)
            .pre_tokenize(&mut pieces)
            .expect("the pattern runs");
        pieces
            .get_splits(OffsetReferential::Original, OffsetType::Byte)
            .into_iter()
            .map(|(_, (start, end), _)| text[start..end].to_owned())
            .collect()
    }

    fn check(text: &str) {
        let own: Vec<&str> = words(text).collect();
        assert_eq!(own.concat(), text);
        assert_eq!(own, by_pattern(text), "cuts of {text:?}");
    }

    #[test]
    fn the_scanner_cuts_where_the_pattern_cuts() {
        for text in [
            "",
            "Hello world",
            "I'll say it's they've 'quoted' 'S 'LL ''s",
            "  two  spaces   then word  ",
            "tabs\t\tand\nnewlines\n\n  indented\r\n",
            "3 apples, 4,500 pears & 12½ Ⅻ",
            "naïve café Ωμέγα 漢字 한국어 \u{0301}mark e\u{0301}",
            "\u{a0}non\u{a0}\u{a0}breaking\u{2003}em\u{3000}wide",
            " 's 't' re",
            "emoji 🙂🙂 and 👩‍👩‍👧",
            "\u{85}\u{200b}\u{feff}x",
        ] {
            check(text);
        }
    }

    proptest! {
        #[test]
        fn pieces_have_the_words_of_the_whole(text in "[ a'\n\u{3000}é.5]{0,80}", bytes in 0usize..9) {
            let cut: Vec<&str> = pieces(&text, bytes).flat_map(words).collect();
            prop_assert_eq!(cut, words(&text).collect::<Vec<_>>());
        }

        #[test]
        fn a_text_cut_before_its_last_space_has_the_same_words(
            text in "[ a'\n\u{3000}é.5]{0,40}", rest in "[ a'\n\u{3000}é.5]{0,10}",
        ) {
            if let Some(at) = last_cut(&text) {
                let whole = format!("{text}{rest}");
                let (left, right) = whole.split_at(at);
                prop_assert_eq!(words(left).chain(words(right)).collect::<Vec<_>>(), words(&whole).collect::<Vec<_>>());
            }
        }

        #[test]
        fn the_scanner_equals_the_pattern_on_any_text(text in any::<String>()) {
            check(&text);
        }

        #[test]
        fn the_scanner_equals_the_pattern_on_crowded_text(text in "[ a-zA-Z0-9'\n\t\u{a0}\u{3000}ést.,!漢½\u{301}]{0,60}") {
            check(&text);
        }
    }
}
