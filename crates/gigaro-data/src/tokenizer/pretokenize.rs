//! Pre-tokenisers: they cut text into the words that merges never cross.
//!
//! The published rules are regular expressions with a look-ahead, GPT-2's being
//! `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
//! which need a backtracking engine. These are the same rules as scanners that look at each character once or twice; the tests
//! hold them against the regular expressions. It is not a general pattern engine. The merges inside a word are in `bpe`.

use std::sync::LazyLock;

/// A rule that cuts text into words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// GPT-2's, above.
    #[default]
    Gpt2,
    /// Each number character alone, and GPT-2's pattern on what lies between: StarCoder, SmolLM.
    Digits,
    /// [`LLAMA3`]
    Llama3,
    /// [`QWEN2`]
    Qwen2,
    /// Before every space that follows something else: where no token has a space inside, these words are those of the whole
    /// text. Llama 2's tokens are such.
    Spaces,
    /// Not at all.
    Whole,
}

/// Llama 3's pattern, as its `tokenizer.json` spells it.
pub(super) const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen's: numbers are cut into single digits.
pub(super) const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// What the patterns ask of a character.
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
    pattern: Pattern,
}

/// Cuts `text` into words.
pub(crate) fn words(text: &str, pattern: Pattern) -> Words<'_> {
    Words {
        text,
        at: 0,
        classes: &CLASSES,
        pattern,
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
        match self.pattern {
            Pattern::Gpt2 => self.end_by_gpt2(start, false),
            Pattern::Digits => self.end_by_gpt2(start, true),
            Pattern::Llama3 => self.end_by_llama3(start, 3),
            Pattern::Qwen2 => self.end_by_llama3(start, 1),
            Pattern::Spaces => self.end_before_space(start),
            Pattern::Whole => self.text.len(),
        }
    }

    /// GPT-2's pattern. With `digits_apart` it sees the text end at each number.
    fn end_by_gpt2(&self, start: usize, digits_apart: bool) -> usize {
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
        let is_apart = |class: Class| digits_apart && class == Class::Number;
        if is_apart(class) {
            return after_first;
        }
        if class != Class::Space {
            return self.end_of_run(class, after_first);
        }
        // ` ?\p{L}+` and its two sisters: one ordinary space belongs to the run after it.
        if bytes[start] == b' '
            && let Some((class, after_second)) = self.class_at(after_first)
            && class != Class::Space
            && !is_apart(class)
        {
            return self.end_of_run(class, after_second);
        }
        let end = self.end_of_run(Class::Space, after_first);
        match self.class_at(end) {
            Some((class, _)) if !is_apart(class) => self.all_but_last(start, after_first, end),
            _ => end,
        }
    }

    /// Llama 3's pattern, with numbers of up to `longest_number` characters.
    fn end_by_llama3(&self, start: usize, longest_number: usize) -> usize {
        let bytes = self.text.as_bytes();
        if bytes[start] == b'\''
            && let Some(len) = contraction_in_any_case(&self.text[start + 1..])
        {
            return start + 1 + len;
        }
        let (class, after_first) = self.class_at(start).expect("a word starts inside the text");
        let second = self.class_at(after_first);
        match class {
            Class::Letter => return self.end_of_run(Class::Letter, after_first),
            Class::Number => return self.end_of_number(after_first, longest_number),
            Class::Other | Class::Space => {}
        }
        // `[^\r\n\p{L}\p{N}]?\p{L}+`: any one character but a line's end goes with the letters after it.
        if let Some((Class::Letter, after_second)) = second
            && !matches!(bytes[start], b'\r' | b'\n')
        {
            return self.end_of_run(Class::Letter, after_second);
        }
        // ` ?[^\s\p{L}\p{N}]+[\r\n]*`
        let symbols = match second {
            _ if class == Class::Other => Some(after_first),
            Some((Class::Other, after_second)) if bytes[start] == b' ' => Some(after_second),
            _ => None,
        };
        if let Some(at) = symbols {
            let end = self.end_of_run(Class::Other, at);
            let is_line_end = |byte: &&u8| matches!(byte, b'\r' | b'\n');
            return end + bytes[end..].iter().take_while(is_line_end).count();
        }
        // `\s*[\r\n]+`, then `\s+(?!\S)|\s+`
        let end = self.end_of_run(Class::Space, after_first);
        match self.text[start..end].rfind(['\r', '\n']) {
            Some(last) => start + last + 1,
            None if end == self.text.len() => end,
            None => self.all_but_last(start, after_first, end),
        }
    }

    /// The end of a number of which the first character is before `at`.
    fn end_of_number(&self, mut at: usize, longest: usize) -> usize {
        for _ in 1..longest {
            match self.class_at(at) {
                Some((Class::Number, next)) => at = next,
                _ => break,
            }
        }
        at
    }

    fn end_before_space(&self, start: usize) -> usize {
        let rest = &self.text[start..];
        let spaces = rest.len() - rest.trim_start_matches(' ').len();
        rest[spaces..]
            .find(' ')
            .map_or(self.text.len(), |at| start + spaces + at)
    }

    /// `\s+(?!\S)|\s+`: a run of space leaves its last character to the word that follows, unless it is the only one.
    fn all_but_last(&self, start: usize, after_first: usize, end: usize) -> usize {
        if end == after_first {
            return end;
        }
        let last = self.text[start..end].chars().next_back();
        end - last.map_or(0, char::len_utf8)
    }
}

/// The length of what follows an apostrophe in `(?i:'s|'t|'re|'ve|'m|'ll|'d)`. Without regard to case, an s may also be the long one.
fn contraction_in_any_case(rest: &str) -> Option<usize> {
    match rest.as_bytes() {
        [b's' | b'S' | b't' | b'T' | b'm' | b'M' | b'd' | b'D', ..] => Some(1),
        [b'r' | b'R' | b'v' | b'V', b'e' | b'E', ..] => Some(2),
        [b'l' | b'L', b'l' | b'L', ..] => Some(2),
        _ => rest.starts_with('\u{17f}').then_some(2),
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

/// The last place where a text may be cut so that the words of the two parts are the words of the whole, wherever it goes on: before
/// the last run of space that follows something else. A run that begins with an ordinary space serves every pattern but
/// [`Pattern::Whole`]; if there is none, any run does, which serves GPT-2's pattern and [`Pattern::Digits`].
pub(crate) fn last_cut(text: &str) -> Option<usize> {
    last_run_of_space(text, |first| first == ' ').or_else(|| last_run_of_space(text, |_| true))
}

/// Where the last run of space begins that follows something else and whose first character is `wanted`.
fn last_run_of_space(text: &str, wanted: impl Fn(char) -> bool) -> Option<usize> {
    let mut begins_a_run = false;
    for (i, character) in text.char_indices().rev() {
        let is_space = character.is_whitespace();
        if begins_a_run && !is_space {
            return Some(i + character.len_utf8());
        }
        begins_a_run = is_space && wanted(character);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;
    use tokenizers::pre_tokenizers::digits::Digits;
    use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
    use tokenizers::{
        OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, SplitDelimiterBehavior,
    };

    const PATTERNS: [Pattern; 4] = [
        Pattern::Gpt2,
        Pattern::Digits,
        Pattern::Llama3,
        Pattern::Qwen2,
    ];

    /// The cuts that the published regular expression makes.
    fn by_pattern(text: &str, pattern: Pattern) -> Vec<String> {
        let mut pieces = PreTokenizedString::from(text);
        let digits = Digits::new(true);
        let byte_level = ByteLevel::new(
            false,
            true,
            pattern == Pattern::Gpt2 || pattern == Pattern::Digits,
        );
        let regex = |source: &str| {
            let source = SplitPattern::Regex(source.to_owned());
            Split::new(source, SplitDelimiterBehavior::Isolated, false).expect("a valid pattern")
        };
        let first = match pattern {
            Pattern::Digits => digits.pre_tokenize(&mut pieces),
            Pattern::Llama3 => regex(LLAMA3).pre_tokenize(&mut pieces),
            Pattern::Qwen2 => regex(QWEN2).pre_tokenize(&mut pieces),
            _ => Ok(()),
        };
        first
            .and_then(|()| byte_level.pre_tokenize(&mut pieces))
            .expect("the pattern runs");
        pieces
            .get_splits(OffsetReferential::Original, OffsetType::Byte)
            .into_iter()
            .map(|(_, (start, end), _)| text[start..end].to_owned())
            .collect()
    }

    fn check(text: &str) {
        for pattern in PATTERNS {
            let own: Vec<&str> = words(text, pattern).collect();
            assert_eq!(own.concat(), text);
            assert_eq!(own, by_pattern(text, pattern), "{pattern:?} cuts {text:?}");
        }
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
            "I'LL 'Re 'VE '\u{17f}o '\u{212a} x'S!!\n\n  ?\r\n\t\tend \n ",
            "  12345 \t 6  7\n8 9",
            "#hash \ttab\u{3000}wide ...\n\n\n",
        ] {
            check(text);
        }
    }

    proptest! {
        #[test]
        fn pieces_have_the_words_of_the_whole(text in "[ a'\n\u{3000}é.5]{0,80}", bytes in 0usize..9) {
            let cut: Vec<&str> = pieces(&text, bytes).flat_map(|piece| words(piece, Pattern::Gpt2)).collect();
            prop_assert_eq!(cut, words(&text, Pattern::Gpt2).collect::<Vec<_>>());
        }

        #[test]
        fn a_text_cut_before_its_last_space_has_the_same_words(
            text in "[ a'\n\r\t\u{3000}é.5]{0,40}", rest in "[ a'\n\r\t\u{3000}é.5]{0,10}",
        ) {
            if let Some(at) = last_cut(&text) {
                let whole = format!("{text}{rest}");
                let (left, right) = whole.split_at(at);
                let all = [Pattern::Gpt2, Pattern::Digits, Pattern::Llama3, Pattern::Qwen2, Pattern::Spaces];
                let served = if text[at..].starts_with(' ') { &all[..] } else { &all[..2] };
                for &pattern in served {
                    let cut: Vec<&str> = words(left, pattern).chain(words(right, pattern)).collect();
                    prop_assert_eq!(cut, words(&whole, pattern).collect::<Vec<_>>());
                }
            }
        }

        #[test]
        fn the_scanner_equals_the_pattern_on_any_text(text in any::<String>()) {
            check(&text);
        }

        #[test]
        fn the_scanner_equals_the_pattern_on_crowded_text(text in "[ a-zA-Z0-9'\n\r\t\u{a0}\u{3000}ést.,!漢½\u{301}\u{17f}]{0,60}") {
            check(&text);
        }
    }
}
