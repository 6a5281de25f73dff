//! TensorBoard's event files: `Event` messages in TFRecord frames.
//!
//! A frame is length (8 bytes), its masked CRC (4), the message, its masked CRC (4), all
//! little-endian. The few protobuf fields needed are encoded by hand; their numbers are those of
//! tensorboard/compat/proto/{event,summary,tensor}.proto.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::crc32c::masked;
use crate::error::{Error, Result};
use crate::quantity::Timestamp;

/// An open event file.
#[derive(Debug)]
pub struct EventFile {
    file: File,
    path: PathBuf,
}

impl EventFile {
    /// Creates a new event file in `run_dir`. With `resume_step` above 0, TensorBoard is told to
    /// forget what earlier files of the folder say about later steps.
    pub fn create(run_dir: &Path, resume_step: u64) -> Result<Self> {
        let now = Timestamp::now();
        let stem = format!(
            "events.out.tfevents.{:010}.gigaro.{}",
            now.0,
            std::process::id()
        );
        // A process may open a second file within one second.
        let open = |n: u32| {
            let path = run_dir.join(format!("{stem}.{n}"));
            OpenOptions::new()
                .append(true)
                .create_new(true)
                .open(&path)
                .map(|file| EventFile { file, path })
        };
        let file = (0..1000)
            .map(open)
            .find(|r| !matches!(r, Err(e) if e.kind() == io::ErrorKind::AlreadyExists));
        let mut file = file
            .unwrap_or_else(|| Err(io::Error::from(io::ErrorKind::AlreadyExists)))
            .map_err(Error::io("create an event file in", run_dir))?;
        let mut version = event(0, now);
        put_bytes(&mut version, 3, b"brain.Event:2");
        file.record(&version)?;
        if resume_step > 0 {
            let mut start = event(resume_step + 1, now);
            let mut session_log = Vec::new();
            put_varint_field(&mut session_log, 1, 1); // status: START
            put_bytes(&mut start, 7, &session_log);
            file.record(&start)?;
        }
        Ok(file)
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Records numbers of a step under their tags.
    pub fn scalars(&mut self, step: u64, time: Timestamp, figures: &[(&str, f64)]) -> Result<()> {
        let mut summary = Vec::new();
        for (tag, x) in figures {
            let mut value = Vec::new();
            put_bytes(&mut value, 1, tag.as_bytes());
            put_key(&mut value, 2, FIXED32);
            value.extend((*x as f32).to_le_bytes()); // simple_value
            put_bytes(&mut summary, 1, &value);
        }
        self.summary(step, time, &summary)
    }

    /// Records a text of a step under its tag; TensorBoard reads it as Markdown.
    pub fn text(&mut self, step: u64, time: Timestamp, tag: &str, text: &str) -> Result<()> {
        let [
            mut plugin,
            mut metadata,
            mut dim,
            mut shape,
            mut tensor,
            mut value,
            mut summary,
        ] = [const { Vec::new() }; 7];
        put_bytes(&mut plugin, 1, b"text");
        put_bytes(&mut metadata, 1, &plugin);
        put_varint_field(&mut dim, 1, 1); // one element
        put_bytes(&mut shape, 2, &dim);
        put_varint_field(&mut tensor, 1, 7); // DT_STRING
        put_bytes(&mut tensor, 2, &shape);
        put_bytes(&mut tensor, 8, text.as_bytes());
        put_bytes(&mut value, 1, tag.as_bytes());
        put_bytes(&mut value, 8, &tensor);
        put_bytes(&mut value, 9, &metadata);
        put_bytes(&mut summary, 1, &value);
        self.summary(step, time, &summary)
    }

    fn summary(&mut self, step: u64, time: Timestamp, summary: &[u8]) -> Result<()> {
        let mut message = event(step, time);
        put_bytes(&mut message, 5, summary);
        self.record(&message)
    }

    /// Writes one frame in one call, so that a reader beside never sees a mixture.
    fn record(&mut self, message: &[u8]) -> Result<()> {
        let length = (message.len() as u64).to_le_bytes();
        let (head, tail) = (masked(&length).to_le_bytes(), masked(message).to_le_bytes());
        let frame = [&length, &head[..], message, &tail].concat();
        self.file
            .write_all(&frame)
            .map_err(Error::io("write", &self.path))
    }
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// The start of an `Event`: wall time and step.
fn event(step: u64, time: Timestamp) -> Vec<u8> {
    let mut out = Vec::new();
    put_key(&mut out, 1, FIXED64);
    out.extend((time.0 as f64).to_le_bytes());
    put_varint_field(&mut out, 2, step);
    out
}

fn put_varint(out: &mut Vec<u8>, mut x: u64) {
    while x >= 0x80 {
        out.push(x as u8 | 0x80);
        x >>= 7;
    }
    out.push(x as u8);
}

fn put_key(out: &mut Vec<u8>, field: u64, wire_type: u64) {
    put_varint(out, field << 3 | wire_type);
}

fn put_varint_field(out: &mut Vec<u8>, field: u64, x: u64) {
    put_key(out, field, VARINT);
    put_varint(out, x);
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_key(out, field, BYTES);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields of a message: number to payload (a varint's value as 8 bytes).
    fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        fn varint(bytes: &mut &[u8]) -> u64 {
            let n = bytes.iter().position(|b| b & 0x80 == 0).unwrap() + 1;
            let (head, rest) = bytes.split_at(n);
            *bytes = rest;
            head.iter()
                .rev()
                .fold(0, |x, b| x << 7 | u64::from(b & 0x7f))
        }
        let mut out = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let n = match key & 7 {
                VARINT => {
                    let x = varint(&mut bytes);
                    out.push((key >> 3, x.to_le_bytes().to_vec()));
                    continue;
                }
                FIXED64 => 8,
                FIXED32 => 4,
                BYTES => varint(&mut bytes) as usize,
                other => panic!("wire type {other}"),
            };
            out.push((key >> 3, bytes[..n].to_vec()));
            bytes = &bytes[n..];
        }
        out
    }

    fn frames(mut bytes: &[u8]) -> Vec<Vec<(u64, Vec<u8>)>> {
        let mut out = Vec::new();
        while !bytes.is_empty() {
            let n = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            assert_eq!(bytes[8..12], masked(&bytes[..8]).to_le_bytes());
            assert_eq!(
                bytes[12 + n..16 + n],
                masked(&bytes[12..12 + n]).to_le_bytes()
            );
            out.push(fields(&bytes[12..12 + n]));
            bytes = &bytes[16 + n..];
        }
        out
    }

    #[test]
    fn records_parse_back_field_by_field() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = EventFile::create(dir.path(), 0).unwrap();
        file.scalars(300, Timestamp(5), &[("loss", 2.5), ("lr", 1e-3)])
            .unwrap();
        file.text(300, Timestamp(5), "sample", "once upon").unwrap();
        let events = frames(&std::fs::read(file.path()).unwrap());
        assert_eq!(events.len(), 3);
        assert_eq!(events[0][2], (3, b"brain.Event:2".to_vec()));
        assert_eq!(events[1][0], (1, 5f64.to_le_bytes().to_vec()));
        assert_eq!(events[1][1], (2, 300u64.to_le_bytes().to_vec()));
        let values = fields(&events[1][2].1);
        let loss = fields(&values[0].1);
        assert_eq!(
            loss,
            [(1, b"loss".to_vec()), (2, 2.5f32.to_le_bytes().to_vec())]
        );
        let text = fields(&fields(&events[2][2].1)[0].1);
        assert_eq!(
            fields(&text[1].1).last().unwrap(),
            &(8, b"once upon".to_vec())
        );
    }

    #[test]
    fn resuming_opens_another_file_that_takes_back_later_steps() {
        let dir = tempfile::tempdir().unwrap();
        let first = EventFile::create(dir.path(), 0).unwrap();
        let second = EventFile::create(dir.path(), 40).unwrap();
        assert_ne!(first.path(), second.path());
        let events = frames(&std::fs::read(second.path()).unwrap());
        assert_eq!(events[1][1], (2, 41u64.to_le_bytes().to_vec()));
        assert_eq!(fields(&events[1][2].1), [(1, 1u64.to_le_bytes().to_vec())]);
    }
}
