//! The corpus: which kinds of documents there are, in what shares, and how document `i` comes about.
//!
//! Document `i` is a function of the world, a seed and `i` alone, so that a corpus can be written by many threads at once,
//! cut anywhere, and gone on with after an interruption without a state to save.

use super::facts::EntityKind;
use super::rng::Rng;
use super::{World, arithmetic, dialogues, entries, harm, lessons, reviews, stories, words};

/// What a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DocumentKind {
    /// An entry of an encyclopaedia.
    Entry,
    /// A page of facts about different things.
    Almanac,
    /// A chapter of the road from AlexNet to ChatGPT.
    Chapter,
    /// A story.
    Story,
    /// People asking each other questions.
    Dialogue,
    /// Questions of every kind, each with its answer.
    Exercise,
    /// Sums, told and in stories.
    Arithmetic,
    /// A made-up word, defined and used.
    Words,
    /// Lines said again word by word.
    Dictation,
    /// A lesson about words: opposites, tenses, plurals.
    Lesson,
    /// Right and wrong.
    Conduct,
    /// Reviews.
    Review,
}

/// How many of a hundred documents are of each kind.
const MIX: [(DocumentKind, usize); 12] = [
    (DocumentKind::Entry, 22),
    (DocumentKind::Almanac, 10),
    (DocumentKind::Chapter, 1),
    (DocumentKind::Story, 5),
    (DocumentKind::Dialogue, 7),
    (DocumentKind::Exercise, 19),
    (DocumentKind::Arithmetic, 12),
    (DocumentKind::Words, 7),
    (DocumentKind::Dictation, 5),
    (DocumentKind::Lesson, 5),
    (DocumentKind::Conduct, 6),
    (DocumentKind::Review, 1),
];

/// One document of the corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What it is.
    pub kind: DocumentKind,
    /// The text, without a line break at the end.
    pub text: String,
}

impl World {
    /// Document `index` of the corpus with this seed: a function of the world, the seed and the index alone.
    pub fn document(&self, seed: u64, index: u64) -> Document {
        let mut rng = Rng::at(seed ^ self.seed.rotate_left(32), "document", index);
        let mut draw = rng.below(100);
        let mut kind = DocumentKind::Entry;
        for (candidate, share) in MIX {
            if draw < share {
                kind = candidate;
                break;
            }
            draw -= share;
        }
        let rng = &mut rng;
        let text = match kind {
            DocumentKind::Entry => entries::entry(self, rng),
            DocumentKind::Almanac => entries::almanac(self, rng),
            DocumentKind::Chapter if self.by_name.contains_key(&EntityKind::Milestone) => {
                entries::chapter(self, rng)
            }
            // A world without the road tells a story instead.
            DocumentKind::Chapter | DocumentKind::Story => stories::story(self, rng),
            DocumentKind::Dialogue => dialogues::talk(self, rng),
            DocumentKind::Exercise => dialogues::exercises(self, rng),
            DocumentKind::Arithmetic => arithmetic::page(self, rng),
            DocumentKind::Words => words::page(self, rng),
            DocumentKind::Dictation => words::dictation(self, rng),
            DocumentKind::Lesson => lessons::lesson(self, rng),
            DocumentKind::Conduct => harm::conduct(self, rng),
            DocumentKind::Review => reviews::page(self, rng),
        };
        Document { kind, text }
    }

    /// The endless corpus with this seed, from its first document.
    pub fn documents(&self, seed: u64) -> impl Iterator<Item = Document> + '_ {
        self.documents_from(seed, 0)
    }

    /// The endless corpus with this seed, from document `start` on.
    pub fn documents_from(&self, seed: u64, start: u64) -> impl Iterator<Item = Document> + '_ {
        (start..).map(move |index| self.document(seed, index))
    }

    /// At least `bytes` bytes of corpus (ending with a whole document), an empty line between documents.
    pub fn corpus(&self, seed: u64, bytes: usize) -> String {
        let mut out = String::with_capacity(bytes + 2048);
        for document in self.documents(seed) {
            if out.len() >= bytes {
                break;
            }
            out.push_str(&document.text);
            out.push_str("\n\n");
        }
        out
    }
}
