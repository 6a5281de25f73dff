//! Whole characters out of a stream of bytes.
//!
//! Tokens of a byte-level vocabulary end anywhere, also inside a character. [`Utf8Stream`] keeps the bytes of an unfinished character
//! until the rest arrives and turns bytes that can never become one into U+FFFD, as `String::from_utf8_lossy` would for the whole.

/// A decoder that never shows half a character.
#[derive(Clone, Debug, Default)]
pub struct Utf8Stream {
    /// The beginning of a character, at most 3 bytes.
    pending: Vec<u8>,
}

impl Utf8Stream {
    /// Takes bytes and returns the text that is certain by now.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::with_capacity(self.pending.len());
        let mut rest: &[u8] = &self.pending;
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    // Lossy on a valid prefix copies it unchanged.
                    text.push_str(&String::from_utf8_lossy(valid));
                    rest = after;
                    match error.error_len() {
                        Some(len) => {
                            text.push(char::REPLACEMENT_CHARACTER);
                            rest = &rest[len..];
                        }
                        // An unfinished character: its other bytes may come with the next token.
                        None => break,
                    }
                }
            }
        }
        self.pending = rest.to_vec();
        text
    }

    /// Ends the stream: an unfinished character becomes U+FFFD.
    pub fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stream in pieces cut after the bits set in `cuts`.
    fn decode(bytes: &[u8], cuts: u32) -> String {
        let mut stream = Utf8Stream::default();
        let mut text = String::new();
        let mut start = 0;
        for end in 1..=bytes.len() {
            if end == bytes.len() || cuts >> end & 1 == 1 {
                text += &stream.push(&bytes[start..end]);
                start = end;
            }
        }
        text + &stream.finish()
    }

    #[test]
    fn every_way_to_cut_valid_and_invalid_bytes_gives_the_lossy_text_of_the_whole() {
        let samples: [&[u8]; 8] = [
            "aä€😀z".as_bytes(),
            b"\xff\xfea\x80",
            b"\xf0\x9f\x98",
            b"\xf0\x9fa\xe2\x82",
            b"\xed\xa0\x80\xc3\xa4",
            b"\xc0\xaf\xf5\x80\xe2\x28\xa1",
            b"",
            b"\xe2\x82\xac\xe2\x82\xf0\x9f\x98\x80",
        ];
        for bytes in samples {
            for cuts in 0..1u32 << (bytes.len() + 1) {
                assert_eq!(
                    decode(bytes, cuts),
                    String::from_utf8_lossy(bytes),
                    "{bytes:x?} cut at {cuts:b}"
                );
            }
        }
    }

    #[test]
    fn every_short_sequence_of_awkward_bytes_agrees_with_lossy() {
        let alphabet = [
            b'a', 0x80, 0x9f, 0xa0, 0xbf, 0xc3, 0xe2, 0xed, 0xf0, 0xf4, 0xff,
        ];
        let n = alphabet.len();
        for code in 0..n.pow(4) {
            let bytes: Vec<u8> = (0..4).map(|i| alphabet[code / n.pow(i) % n]).collect();
            let expected = String::from_utf8_lossy(&bytes);
            for cuts in 0..16 {
                assert_eq!(decode(&bytes, cuts), expected, "{bytes:x?} cut at {cuts:b}");
            }
        }
    }

    #[test]
    fn unfinished_character_waits_for_its_last_byte() {
        let mut stream = Utf8Stream::default();
        assert_eq!(stream.push(&[0xf0, 0x9f, 0x98]), "");
        assert_eq!(stream.push(&[0x80, b'!']), "😀!");
        assert_eq!(stream.finish(), "");
    }
}
