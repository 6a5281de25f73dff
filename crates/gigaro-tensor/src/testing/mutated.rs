//! Valid files made into hostile ones, for tests of parsers.

use crate::Generator;

/// Pieces that parsers trip over.
const PIECES: [&[u8]; 15] = [
    b"",
    b"\0",
    b"\xff",
    b"\"",
    b"{",
    b"[",
    b"}",
    b"]",
    b"null",
    b"-1",
    b"18446744073709551615",
    b"1e999",
    b"\\ud800",
    "\u{feff}é".as_bytes(),
    b"\xff\xff\xff\xff\xff\xff\xff\x7f",
];

/// A valid file with one to four wounds: a bit flipped, the end cut off, a piece replaced by something strange, copied
/// elsewhere or cut out. Half of them are in the first 200 bytes, where headers are.
#[must_use]
pub fn mutated(file: &[u8], dice: &Generator) -> Vec<u8> {
    let below = |n: usize| dice.below(n.max(1) as u64) as usize;
    let mut bytes = file.to_vec();
    for _ in 0..=below(4) {
        let range = if below(2) == 0 { bytes.len() } else { 200 };
        let at = below(range.min(bytes.len()));
        let end = (at + below(12)).min(bytes.len());
        match below(5) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << below(8),
            1 => bytes.truncate(end),
            2 => drop(bytes.splice(at..end, PIECES[below(PIECES.len())].iter().copied())),
            3 => {
                let (copy, to) = (bytes[at..end].to_vec(), below(bytes.len()));
                drop(bytes.splice(to..to, copy));
            }
            _ => drop(bytes.drain(at..end)),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wounds_are_many_and_the_same_in_every_run() {
        let file: Vec<u8> = (0..=255).collect();
        let draw = |seed| {
            let dice = Generator::new(seed);
            (0..100).map(|_| mutated(&file, &dice)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        let different: std::collections::HashSet<Vec<u8>> = draw(2).into_iter().collect();
        assert!(different.len() > 80, "{}", different.len());
        for seed in 0..50 {
            let dice = Generator::new(seed);
            assert!(mutated(&[], &dice).len() <= 4 * 20);
        }
    }
}
