//! Plain text in UTF-8, in parts.

use super::Document;
use crate::tokenizer::last_cut;
use crate::{Error, Result};
use std::io::Read;

/// A part of a long text has about this many bytes.
const PART_BYTES: usize = 1 << 20;
/// A text without a single space is cut at this many bytes in any case, so that memory stays bounded.
const UNBROKEN_BYTES: usize = 1 << 26;

/// The parts of one plain text, in order.
pub(crate) struct Parts<R> {
    reader: R,
    place: String,
    /// Bytes read and not yet given out.
    pending: Vec<u8>,
    /// How many bytes were given out.
    offset: u64,
    at_end: bool,
    failed: bool,
}

impl<R: Read> Parts<R> {
    pub(crate) fn new(reader: R, place: String) -> Parts<R> {
        Parts {
            reader,
            place,
            pending: Vec::new(),
            offset: 0,
            at_end: false,
            failed: false,
        }
    }

    /// Reads on until there is `bytes` pending or the text ends.
    fn fill(&mut self, bytes: usize) -> Result<()> {
        let missing = bytes.saturating_sub(self.pending.len()) as u64;
        let read = self
            .reader
            .by_ref()
            .take(missing)
            .read_to_end(&mut self.pending);
        let read = read.map_err(|source| Error::io("read", &self.place, source))?;
        self.at_end = (read as u64) < missing;
        Ok(())
    }

    fn next_part(&mut self) -> Result<Option<String>> {
        let mut wanted = PART_BYTES;
        loop {
            self.fill(wanted)?;
            if self.offset == 0 && self.pending.starts_with(b"\xEF\xBB\xBF") {
                self.pending.drain(..3);
                self.offset = 3;
            }
            let valid = self.valid_len()?;
            let text = std::str::from_utf8(&self.pending[..valid]).map_err(|_| self.not_utf8(0))?;
            let cut = if self.at_end {
                Some(text.len())
            } else {
                last_cut(text)
            };
            match cut {
                Some(0) => return Ok(None),
                Some(cut) => return Ok(Some(self.give_out(cut))),
                None if valid >= UNBROKEN_BYTES => return Ok(Some(self.give_out(valid))),
                None => wanted *= 2,
            }
        }
    }

    fn give_out(&mut self, len: usize) -> String {
        let rest = self.pending.split_off(len);
        let part = std::mem::replace(&mut self.pending, rest);
        self.offset += len as u64;
        // `next_part` has checked these bytes.
        String::from_utf8(part).unwrap_or_default()
    }

    /// How many of the pending bytes are whole characters.
    fn valid_len(&self) -> Result<usize> {
        match std::str::from_utf8(&self.pending) {
            Ok(text) => Ok(text.len()),
            Err(error) if error.error_len().is_none() && !self.at_end => Ok(error.valid_up_to()),
            Err(error) => Err(self.not_utf8(error.valid_up_to())),
        }
    }

    fn not_utf8(&self, at: usize) -> Error {
        let byte = self.offset + at as u64;
        let advice = if self.offset == 0
            && (self.pending.starts_with(b"\xFF\xFE") || self.pending.starts_with(b"\xFE\xFF"))
        {
            "it looks like UTF-16, convert it: iconv -f UTF-16 -t UTF-8"
        } else {
            "convert it, for example with iconv -f LATIN1 -t UTF-8, or leave it out"
        };
        Error::malformed(
            self.place.clone(),
            format!("not UTF-8 text at byte {byte}"),
            advice,
        )
    }
}

impl<R: Read> Iterator for Parts<R> {
    type Item = Result<Document>;

    fn next(&mut self) -> Option<Result<Document>> {
        if self.failed {
            return None;
        }
        let continues = self.offset > 3;
        match self.next_part() {
            Ok(text) => text.map(|text| Ok(Document { text, continues })),
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}
