//! The text of one reply as it appears: the bytes of tokens in, whole characters out, cut at stop strings.
//!
//! Not the decision which token comes next (`sampler.rs`), nor the bytes of a token (the tokeniser's business).

use super::{StopMatcher, Utf8Stream};

/// Why a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model said it is done, or a stop string came.
    Stop,
    /// The most tokens asked for, or the model's context, were reached.
    Length,
    /// Whoever asked no longer wants the rest.
    Cancelled,
}

impl FinishReason {
    /// The word of the ecosystem's APIs: `stop`, `length`, `cancelled`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Collects the text of one reply.
#[derive(Clone, Debug)]
pub struct ReplyText {
    stop: StopMatcher,
    utf8: Utf8Stream,
    text: String,
    stopped: bool,
}

impl ReplyText {
    /// An empty reply that will end before the first of these strings.
    #[track_caller]
    pub fn new<S: AsRef<[u8]>>(stops: &[S]) -> Self {
        Self {
            stop: StopMatcher::new(stops),
            utf8: Utf8Stream::default(),
            text: String::new(),
            stopped: false,
        }
    }

    /// Takes the bytes of a token; returns the text that has become certain, often empty.
    pub fn push(&mut self, token_bytes: &[u8]) -> String {
        let progress = self.stop.push(token_bytes);
        self.stopped = progress.stopped.is_some();
        let piece = self.utf8.push(&progress.released);
        self.text.push_str(&piece);
        piece
    }

    /// Ends the reply; returns the text that was held back.
    pub fn finish(&mut self) -> String {
        let held = self.stop.finish();
        let mut piece = self.utf8.push(&held);
        piece.push_str(&self.utf8.finish());
        self.text.push_str(&piece);
        piece
    }

    /// Whether a stop string came, so that no further token is needed.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// All the text so far.
    pub fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_to_the_text_also_when_tokens_cut_characters_and_stop_strings() {
        let whole = "Grüße 😀 an alle\n\nUser: more".as_bytes();
        for size in 1..=whole.len() {
            let mut reply = ReplyText::new(&["\n\nUser:"]);
            let mut pieces = String::new();
            for token in whole.chunks(size) {
                if reply.is_stopped() {
                    break;
                }
                pieces += &reply.push(token);
            }
            pieces += &reply.finish();
            assert_eq!(pieces, "Grüße 😀 an alle", "tokens of {size} bytes");
            assert_eq!(reply.text(), pieces);
            assert!(reply.is_stopped());
        }
    }
}
