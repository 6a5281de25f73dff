//! Which tokens may be drawn next, where a reply is held to a grammar.
//!
//! Who decides it is not here: a server asks a parser (`gigaro-serve`). The sampler only keeps to it.

/// A bit for each token: 1 where it may be drawn. The first token is the lowest bit of the first word; tokens behind the last word may
/// not be drawn.
#[derive(Clone, Copy, Debug)]
pub struct TokenMask<'a>(&'a [u32]);

impl<'a> TokenMask<'a> {
    /// The mask in these words.
    #[must_use]
    pub const fn new(words: &'a [u32]) -> Self {
        Self(words)
    }

    /// Gives every token that may not be drawn the logit of one that has no probability.
    pub(super) fn exclude(self, logits: &mut [f32]) {
        for (i, block) in logits.chunks_mut(32).enumerate() {
            match self.0.get(i).copied().unwrap_or(0) {
                0 => block.fill(f32::NEG_INFINITY),
                u32::MAX => {}
                word => {
                    for (bit, logit) in block.iter_mut().enumerate() {
                        if word >> bit & 1 == 0 {
                            *logit = f32::NEG_INFINITY;
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_without_its_bit_or_behind_the_mask_has_no_probability() {
        let mut logits = vec![1.0; 100];
        TokenMask::new(&[u32::MAX, 0b101, 0]).exclude(&mut logits);
        let left: Vec<usize> = (0..100).filter(|&i| logits[i] == 1.0).collect();
        let expected: Vec<usize> = (0..32).chain([32, 34]).collect();
        assert_eq!(left, expected);
        assert!(logits[33] == f32::NEG_INFINITY && logits[99] == f32::NEG_INFINITY);
    }
}
