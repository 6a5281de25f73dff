//! Stop strings, found across the borders of tokens.
//!
//! Works on bytes, because a token may end inside a character. What could still be the beginning of a stop string is held back, so
//! that a reader who watches the reply appear never sees a part of one. Read next: `reply.rs`, which joins this with `utf8.rs`.

/// Cuts a stream of bytes before the first stop string.
///
/// The stop string that is complete first ends the stream; of two that are complete at the same byte, the longer. So the result does
/// not depend on how the bytes were divided into tokens.
#[derive(Clone, Debug)]
pub struct StopMatcher {
    stops: Vec<Vec<u8>>,
    /// Bytes that may begin a stop string.
    held: Vec<u8>,
    matched: Option<usize>,
}

/// What one piece of the stream led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopProgress {
    /// Bytes that are now certain to belong to the reply.
    pub released: Vec<u8>,
    /// The index of the stop string that ended the stream.
    pub stopped: Option<usize>,
}

impl StopMatcher {
    /// A matcher for these strings; without any it releases everything at once.
    ///
    /// # Panics
    /// If a stop string is empty (`SamplingParams::validate` refuses those).
    #[track_caller]
    pub fn new<S: AsRef<[u8]>>(stops: &[S]) -> Self {
        let stops: Vec<Vec<u8>> = stops.iter().map(|s| s.as_ref().to_vec()).collect();
        assert!(
            stops.iter().all(|s| !s.is_empty()),
            "a stop string is empty"
        );
        Self {
            stops,
            held: Vec::new(),
            matched: None,
        }
    }

    /// Takes the next bytes; after a stop string nothing is released any more.
    pub fn push(&mut self, bytes: &[u8]) -> StopProgress {
        let mut released = Vec::new();
        for &byte in bytes {
            if self.matched.is_some() {
                break;
            }
            self.held.push(byte);
            if let Some(index) = self.complete() {
                let start = self.held.len() - self.stops[index].len();
                released.extend_from_slice(&self.held[..start]);
                self.held.clear();
                self.matched = Some(index);
            } else {
                let certain = self.held.len() - self.possible_prefix_len();
                released.extend(self.held.drain(..certain));
            }
        }
        StopProgress {
            released,
            stopped: self.matched,
        }
    }

    /// Ends the stream: what was held back belongs to the reply after all.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// The longest stop string that the held bytes end with; of equal ones, the first given.
    fn complete(&self) -> Option<usize> {
        let ending = self
            .stops
            .iter()
            .enumerate()
            .filter(|(_, stop)| self.held.ends_with(stop));
        ending
            .max_by_key(|(index, stop)| (stop.len(), std::cmp::Reverse(*index)))
            .map(|(index, _)| index)
    }

    /// Length of the longest end of the held bytes that begins a stop string.
    fn possible_prefix_len(&self) -> usize {
        let longest = |stop: &Vec<u8>| {
            (1..stop.len().min(self.held.len() + 1))
                .rev()
                .find(|&n| self.held.ends_with(&stop[..n]))
        };
        self.stops.iter().filter_map(longest).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that is released when `text` comes in pieces cut after the bits set in `cuts`, and which stop string ended it.
    fn run(stops: &[&str], text: &[u8], cuts: u32) -> (Vec<u8>, Option<usize>) {
        let mut matcher = StopMatcher::new(stops);
        let (mut out, mut stopped, mut start) = (Vec::new(), None, 0);
        for end in 1..=text.len() {
            if end == text.len() || cuts >> end & 1 == 1 {
                let progress = matcher.push(&text[start..end]);
                out.extend(progress.released);
                stopped = progress.stopped;
                start = end;
            }
        }
        out.extend(matcher.finish());
        (out, stopped)
    }

    /// The definition: the shortest prefix of the text that ends with a stop string, less the longest such string.
    fn reference(stops: &[&str], text: &[u8]) -> (Vec<u8>, Option<usize>) {
        for end in 1..=text.len() {
            let mut best: Option<usize> = None;
            for (i, stop) in stops.iter().enumerate() {
                if text[..end].ends_with(stop.as_bytes())
                    && best.is_none_or(|b| stops[b].len() < stop.len())
                {
                    best = Some(i);
                }
            }
            if let Some(i) = best {
                return (text[..end - stops[i].len()].to_vec(), Some(i));
            }
        }
        (text.to_vec(), None)
    }

    #[test]
    fn every_text_in_every_division_agrees_with_the_definition() {
        let sets: [&[&str]; 7] = [
            &[],
            &["a"],
            &["ab"],
            &["aab"],
            &["abab", "ba"],
            &["abb", "bb", "b"],
            &["aaa", "ab", "bab"],
        ];
        for stops in sets {
            for len in 0..=7u32 {
                for code in 0..1u32 << len {
                    let text: Vec<u8> = (0..len)
                        .map(|i| if code >> i & 1 == 1 { b'b' } else { b'a' })
                        .collect();
                    let expected = reference(stops, &text);
                    for cuts in (0..1u32 << len).step_by(2) {
                        assert_eq!(
                            run(stops, &text, cuts),
                            expected,
                            "{stops:?} in {text:?} cut at {cuts:b}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn part_of_a_stop_string_is_never_shown() {
        let mut matcher = StopMatcher::new(&["<|end|>"]);
        assert_eq!(matcher.push(b"hello <|e").released, b"hello ");
        assert_eq!(
            matcher.push(b"nd"),
            StopProgress {
                released: vec![],
                stopped: None
            }
        );
        assert_eq!(
            matcher.push(b"|> and more"),
            StopProgress {
                released: vec![],
                stopped: Some(0)
            }
        );
        assert!(matcher.push(b"ignored").released.is_empty());
        assert!(matcher.finish().is_empty());
    }

    #[test]
    fn what_only_looked_like_a_stop_string_is_released() {
        let mut matcher = StopMatcher::new(&["<|end|>"]);
        assert_eq!(matcher.push(b"a <").released, b"a ");
        assert_eq!(matcher.push(b" b").released, b"< b");
        assert_eq!(matcher.push(b"<|en").released, b"");
        assert_eq!(matcher.finish(), b"<|en");
    }
}
