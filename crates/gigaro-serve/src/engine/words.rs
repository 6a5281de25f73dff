//! A tokenizer as generation sees it.

use gigaro_data::Tokenizer;
use gigaro_models::generate::Vocabulary;

/// The tokens of a tokenizer, of which special ones have no text, and each of them ends a reply.
#[derive(Clone, Debug)]
pub struct Words(pub Tokenizer);

impl Vocabulary for Words {
    fn token_bytes(&self, id: u32) -> &[u8] {
        if self.0.is_special(id) {
            &[]
        } else {
            self.0.token_bytes(id)
        }
    }

    fn is_end(&self, id: u32) -> bool {
        self.0.is_special(id)
    }
}
