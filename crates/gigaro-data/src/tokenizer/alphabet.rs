//! GPT-2's byte alphabet: each of the 256 bytes written as one printable character.
//!
//! Vocabulary files hold text, and a byte-level token need not be valid UTF-8, so GPT-2 (and everything that shares its
//! files) writes a token as one character per byte: the printable bytes of Latin-1 stand for themselves, the other 68 are
//! shifted to U+0100 and up in order. This is a spelling for files only; inside the crate tokens are bytes. The files
//! themselves are read in `json` and `gpt2_files`.

/// The character that writes `byte` in a vocabulary file.
pub(crate) fn char_of_byte(byte: u8) -> char {
    match byte {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
        // The unprintable ones in ascending order: 0x00..=0x20, 0x7F..=0xA0, 0xAD.
        0x00..=0x20 => char_at(0x100 + u32::from(byte)),
        0x7F..=0xA0 => char_at(0x121 + u32::from(byte) - 0x7F),
        0xAD => char_at(0x143),
    }
}

fn char_at(code: u32) -> char {
    char::from_u32(code).expect("U+0100..=U+0143 are characters")
}

/// The byte that `character` writes, or `None` for a character outside the alphabet.
pub(crate) fn byte_of_char(character: char) -> Option<u8> {
    let code = u32::from(character);
    let byte = match code {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => code,
        0x100..=0x120 => code - 0x100,
        0x121..=0x142 => code - 0x121 + 0x7F,
        0x143 => 0xAD,
        _ => return None,
    };
    u8::try_from(byte).ok()
}

/// Writes the bytes of a token in the alphabet.
pub(crate) fn spell(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char_of_byte(byte)).collect()
}

/// Reads a token written in the alphabet; `None` if a character is outside it.
pub(crate) fn read(spelled: &str) -> Option<Vec<u8>> {
    spelled.chars().map(byte_of_char).collect()
}

/// The 256 bytes in the order of their characters, which is the order that vocabularies list them in.
pub(crate) fn bytes_in_file_order() -> [u8; 256] {
    let mut bytes: [u8; 256] = std::array::from_fn(|i| i as u8);
    bytes.sort_by_key(|&byte| char_of_byte(byte));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back_from_its_character() {
        for byte in 0..=255 {
            assert_eq!(byte_of_char(char_of_byte(byte)), Some(byte));
        }
        assert_eq!(spell(b" a\n"), "ĠaĊ");
        assert_eq!(read("ĠaĊ").as_deref(), Some(&b" a\n"[..]));
        assert_eq!(read("€"), None);
    }

    #[test]
    fn the_file_order_starts_with_the_exclamation_mark() {
        let order = bytes_in_file_order();
        assert_eq!(order[0], b'!');
        assert_eq!(order[93], b'~');
        assert_eq!(order[188], 0x00);
        assert_eq!(order[255], 0xAD);
    }
}
