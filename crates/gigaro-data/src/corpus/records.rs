//! JSON objects: one a line (JSONL), or one array of them (`.json`).

use super::Document;
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::io::{BufRead, BufReader, Read};

const ADVICE: &str = "put one JSON object on each line";

/// A JSON object and where it stands: the file and the line, or the item of the array.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) place: String,
    pub(crate) object: Map<String, Value>,
}

impl Record {
    /// The text under `key`.
    pub(crate) fn text(&self, key: &str) -> Result<&str> {
        match self.object.get(key) {
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(Error::malformed(
                &self.place,
                format!("the key `{key}` holds {}, not text", kind_of(other)),
                "make it a string, or name another key",
            )),
            None => Err(Error::malformed(
                &self.place,
                format!("there is no key `{key}` (there are: {})", self.keys()),
                "name the key that holds the text",
            )),
        }
    }

    /// The keys, for messages.
    pub(crate) fn keys(&self) -> String {
        const SHOWN: usize = 8;
        let mut keys: Vec<String> = self
            .object
            .keys()
            .take(SHOWN)
            .map(|key| format!("{key:.40}"))
            .collect();
        match self.object.len() {
            0 => return "none".to_owned(),
            n if n > SHOWN => keys.push(format!("and {} more", n - SHOWN)),
            _ => {}
        }
        keys.join(", ")
    }
}

/// What a JSON value is, for messages.
pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The objects of a file, in order. Blank lines are passed over. Ends after the first error.
pub(crate) fn read<R: Read + Send + 'static>(
    reader: R,
    place: String,
) -> Box<dyn Iterator<Item = Result<Record>> + Send> {
    let mut reader = BufReader::with_capacity(1 << 16, reader);
    match first_byte(&mut reader) {
        Err(source) => Box::new(std::iter::once(Err(Error::io("read", place, source)))),
        Ok(Some(b'[')) => match read_array(reader, &place) {
            Err(error) => Box::new(std::iter::once(Err(error))),
            Ok(items) => Box::new(
                items
                    .into_iter()
                    .enumerate()
                    .map(move |(i, item)| record(item, format!("{place}, item {}", i + 1))),
            ),
        },
        Ok(_) => Box::new(Lines {
            reader,
            place,
            line: 0,
            failed: false,
        }),
    }
}

/// Of a text, a person may have named the key on the command line or in a recipe.
fn with_flag(error: Error) -> Error {
    match error {
        Error::Malformed { place, problem, .. } => Error::malformed(
            place,
            problem,
            "name the key that holds the text with --column (or `column` in [data])",
        ),
        other => other,
    }
}

/// The texts under `key`, a document each.
pub(crate) fn texts<R: Read + Send + 'static>(
    reader: R,
    place: String,
    key: String,
) -> impl Iterator<Item = Result<Document>> + Send {
    read(reader, place).map(move |record| {
        let record = record?;
        record.text(&key).map_err(with_flag)?;
        // Checked just above; taking it out saves a copy of the text.
        let Record { mut object, .. } = record;
        let Some(Value::String(text)) = object.remove(&key) else {
            unreachable!("the key holds text")
        };
        Ok(Document {
            text,
            continues: false,
        })
    })
}

/// The first byte that is not space, left where it is.
fn first_byte(reader: &mut impl BufRead) -> std::io::Result<Option<u8>> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(None);
        }
        match buffer.iter().position(|byte| !byte.is_ascii_whitespace()) {
            Some(at) => return Ok(Some(buffer[at])),
            // Only newlines were here: they count as lines, but such a file is blank that far anyway.
            None => {
                let len = buffer.len();
                reader.consume(len);
            }
        }
    }
}

fn read_array(mut reader: impl Read, place: &str) -> Result<Vec<Value>> {
    let mut bytes = Vec::new();
    reader
        .read_to_end(&mut bytes)
        .map_err(|source| Error::io("read", place, source))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::malformed(place, format!("not a JSON array: {error}"), ADVICE))
}

fn record(value: Value, place: String) -> Result<Record> {
    match value {
        Value::Object(object) => Ok(Record { place, object }),
        other => Err(Error::malformed(
            place,
            format!("this is {}, not a JSON object", kind_of(&other)),
            ADVICE,
        )),
    }
}

struct Lines<R> {
    reader: R,
    place: String,
    line: u64,
    failed: bool,
}

impl<R: BufRead> Lines<R> {
    fn next_record(&mut self) -> Result<Option<Record>> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let read = self
                .reader
                .read_until(b'\n', &mut bytes)
                .map_err(|source| Error::io("read", &self.place, source))?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            if bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let place = format!("{}, line {}", self.place, self.line);
            let json = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
            let value = serde_json::from_slice(json).map_err(|error| {
                // The line within the line is always 1; only the column says something.
                let what = error.to_string();
                let what = what.split(" at line ").next().unwrap_or(&what);
                Error::malformed(
                    &place,
                    format!("not JSON at column {}: {what}", error.column()),
                    ADVICE,
                )
            })?;
            return record(value, place).map(Some);
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        if self.failed {
            return None;
        }
        let record = self.next_record().transpose();
        self.failed = matches!(record, Some(Err(_)));
        record
    }
}
