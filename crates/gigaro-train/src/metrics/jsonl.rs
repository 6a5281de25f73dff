//! `metrics.jsonl`: one JSON object a line, `{"step":7,"time":1795473003,"loss":2.31,"lr":0.0003}`.
//!
//! A number that is not finite is written as `null`, since JSON has no other word for it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Map;
pub use serde_json::Value;

use crate::error::{Error, Result};
use crate::quantity::Timestamp;

/// The file's name in a run's folder.
pub const FILE_NAME: &str = "metrics.jsonl";

/// One line: the measurements of one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Optimiser steps done.
    pub step: u64,
    /// The measurements by name; numbers or texts.
    pub values: Map<String, Value>,
}

impl Record {
    /// A finite number by name.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.values.get(name)?.as_f64()
    }

    /// A text by name.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.as_str()
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let mut values: Map<String, Value> = serde_json::from_slice(line).ok()?;
        let step = values.remove("step")?.as_u64()?;
        values.remove("time");
        Some(Record { step, values })
    }
}

/// Reads all whole lines of a metrics file, in order; a torn or foreign line is passed over.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    Ok(bytes
        .split(|&b| b == b'\n')
        .filter_map(Record::parse)
        .collect())
}

/// The open file, appended to line by line.
#[derive(Debug)]
pub(super) struct LineFile {
    file: File,
    path: PathBuf,
}

impl LineFile {
    /// Opens the file for a run that goes on after `resume_step`: keeps the whole lines up to that
    /// step, drops the rest. The rewritten file replaces the old one by a rename.
    pub(super) fn open(path: &Path, resume_step: u64) -> Result<Self> {
        let old = match fs::read(path) {
            Ok(bytes) if resume_step > 0 => bytes,
            Ok(_) => Vec::new(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(Error::io("read", path)(e)),
        };
        let keep = |line: &&[u8]| {
            let line = line.strip_suffix(b"\n").unwrap_or_default(); // no line break: torn
            Record::parse(line).is_some_and(|record| record.step <= resume_step)
        };
        let kept: Vec<u8> = old
            .split_inclusive(|&b| b == b'\n')
            .filter(keep)
            .flatten()
            .copied()
            .collect();
        let beside = path.with_extension("jsonl.tmp");
        let write = || -> std::io::Result<File> {
            let mut file = File::create(&beside)?;
            file.write_all(&kept)?;
            file.sync_all()?;
            fs::rename(&beside, path)?;
            OpenOptions::new().append(true).open(path)
        };
        let file = write().map_err(Error::io("write", path))?;
        Ok(LineFile {
            file,
            path: path.into(),
        })
    }

    /// Appends one line in one write, so that a reader beside sees whole lines.
    pub(super) fn append<'a>(
        &mut self,
        step: u64,
        time: Timestamp,
        values: impl IntoIterator<Item = (&'a str, Value)>,
    ) -> Result<()> {
        let head = [("step", step.into()), ("time", time.0.into())];
        let map: Map<String, Value> = head
            .into_iter()
            .chain(values)
            .map(|(name, v)| (name.to_string(), v))
            .collect();
        let line = format!("{}\n", Value::Object(map));
        self.file
            .write_all(line.as_bytes())
            .map_err(Error::io("write", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(file: &mut LineFile, step: u64) {
        file.append(step, Timestamp(1), [("loss", (1.0 / step as f64).into())])
            .unwrap();
    }

    #[test]
    fn resuming_drops_later_lines_and_a_torn_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let mut file = LineFile::open(&path, 0).unwrap();
        (1..=5).for_each(|step| append(&mut file, step));
        file.file.write_all(b"{\"step\":2,\"lo").unwrap();
        drop(file);
        let mut file = LineFile::open(&path, 3).unwrap();
        append(&mut file, 4);
        let records = read(&path).unwrap();
        assert_eq!(
            records.iter().map(|r| r.step).collect::<Vec<_>>(),
            [1, 2, 3, 4]
        );
        assert_eq!(records[3].number("loss"), Some(0.25));
    }

    #[test]
    fn starting_anew_starts_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        append(&mut LineFile::open(&path, 0).unwrap(), 1);
        LineFile::open(&path, 0).unwrap();
        assert_eq!(read(&path).unwrap(), []);
    }

    #[test]
    fn foreign_bytes_are_passed_over_and_infinities_are_null() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        fs::write(
            &path,
            b"\xff\xfe\n[1]\n{\"step\":-1}\n{\"step\":3,\"loss\":1}\nnull\n",
        )
        .unwrap();
        let mut file = LineFile::open(&path, 9).unwrap();
        file.append(
            4,
            Timestamp(1),
            [("loss", f64::INFINITY.into()), ("sample", "a\nb".into())],
        )
        .unwrap();
        let records = read(&path).unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(
            (records[1].number("loss"), &records[1].values["sample"]),
            (None, &Value::from("a\nb"))
        );
    }
}
