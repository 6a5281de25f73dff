//! The bytes of every token, by id.
//!
//! One buffer and its offsets instead of a vector per token. Ids without a token (holes in a foreign vocabulary) have no
//! bytes. What may stand in a text and what is special is decided in `mod`.

/// The bytes of every token, by id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vocabulary {
    bytes: Vec<u8>,
    /// `ends[id]` is the end of token `id` in `bytes`; it starts at the end of the one before.
    ends: Vec<u32>,
}

impl Vocabulary {
    /// Gives the next id to a token.
    pub(crate) fn push(&mut self, token: &[u8]) -> u32 {
        let id = self.ends.len() as u32;
        self.bytes.extend_from_slice(token);
        self.ends
            .push(u32::try_from(self.bytes.len()).expect("a vocabulary of less than 4 GiB"));
        id
    }

    /// The number of ids.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of `id`; none for an id outside the vocabulary.
    pub(crate) fn get(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let Some(&end) = self.ends.get(id) else {
            return &[];
        };
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.bytes[start as usize..end as usize]
    }

    /// The tokens in the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len() as u32).map(|id| self.get(id))
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for Vocabulary {
    fn from_iter<I: IntoIterator<Item = T>>(tokens: I) -> Vocabulary {
        let mut vocabulary = Vocabulary::default();
        for token in tokens {
            vocabulary.push(token.as_ref());
        }
        vocabulary
    }
}
