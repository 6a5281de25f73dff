//! Keeping what the template writes apart from what the messages say.
//!
//! A template gives one text, in which a special token that it wrote and the same characters in a message look alike. So
//! before rendering, a mark is put into every special token's name inside a message, and taken out again afterwards, when the
//! special tokens have been found. Marks are noncharacters of Unicode that occur nowhere in the conversation.

use std::borrow::Cow;

/// The noncharacters that marks are chosen from: never in ordinary text, and no template trims or splits at them.
const CANDIDATES: std::ops::RangeInclusive<char> = '\u{FDD0}'..='\u{FDEF}';

/// Three characters that occur in none of the texts at hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    guard: char,
    begin: char,
    end: char,
}

/// Whether the name of a special token can be guarded: one of a single character cannot be broken, and is left text.
pub(super) fn is_guarded(name: &str) -> bool {
    name.chars().nth(1).is_some()
}

impl Marks {
    /// Marks that none of the texts holds; `None` if there are not enough.
    pub(super) fn absent_from<'a>(texts: impl Iterator<Item = &'a str>) -> Option<Marks> {
        let mut free: Vec<char> = CANDIDATES.collect();
        for text in texts {
            // All of them begin with the same byte, which is rare.
            if text.as_bytes().contains(&0xEF) {
                free.retain(|&c| !text.contains(c));
            }
        }
        let [guard, begin, end] = *free.first_chunk()?;
        Some(Marks { guard, begin, end })
    }

    /// What the template writes around what is learnt.
    pub(super) fn learn(&self) -> [char; 2] {
        [self.begin, self.end]
    }

    /// Whether a character is no part of the text.
    pub(super) fn is_mark(&self, c: char) -> bool {
        [self.guard, self.begin, self.end].contains(&c)
    }

    /// Whether what follows a mark is learnt, if what stands before it was.
    pub(super) fn is_learnt_after(&self, mark: char, before: bool) -> bool {
        mark == self.begin || (before && mark != self.end)
    }

    /// The text without marks.
    pub(super) fn remove(&self, text: &str) -> String {
        text.chars().filter(|&c| !self.is_mark(c)).collect()
    }

    /// A message in which no special token can be found, nor together with what the template writes next to it.
    pub(super) fn guard<'a>(&self, content: &'a str, specials: &[(String, u32)]) -> Cow<'a, str> {
        let names: Vec<&str> = specials
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| is_guarded(name))
            .collect();
        // Templates trim, so what meets their own words is the text without space around it.
        let core = content.trim();
        let start = content.len() - content.trim_start().len();
        let cuts = |name: &'_ &str| {
            name.char_indices()
                .skip(1)
                .map(|(i, _)| i)
                .collect::<Vec<_>>()
        };
        let heads = |name: &&str| cuts(name).iter().any(|&i| core.starts_with(&name[i..]));
        let tails = |name: &&str| cuts(name).iter().any(|&i| core.ends_with(&name[..i]));
        let (head, tail) = (names.iter().any(heads), names.iter().any(tails));
        if !head && !tail && !names.iter().any(|name| core.contains(name)) {
            return content.into();
        }
        let mut out = content[..start].to_owned();
        if head {
            out.push(self.guard);
        }
        for (at, c) in core.char_indices() {
            out.push(c);
            if names.iter().any(|name| core[at..].starts_with(name)) {
                out.push(self.guard);
            }
        }
        if tail {
            out.push(self.guard);
        }
        out.push_str(&content[start + core.len()..]);
        out.into()
    }
}
