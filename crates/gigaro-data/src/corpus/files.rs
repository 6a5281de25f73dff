//! Which files a path stands for, what format each has, and how it is opened.

use crate::{Error, Result};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// How the text lies in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// The file is the text.
    Plain,
    /// JSON objects, one a line or as one array.
    Records,
    /// Parquet.
    Parquet,
}

/// The lower-case extension and, behind a `.gz`, the one before it.
fn extension(path: &Path) -> (Option<String>, bool) {
    let lower = |path: &Path| {
        path.extension()
            .map(|extension| extension.to_string_lossy().to_lowercase())
    };
    match lower(path) {
        Some(gz) if gz == "gz" => (
            path.file_stem().and_then(|stem| lower(Path::new(stem))),
            true,
        ),
        other => (other, false),
    }
}

/// The format that the name of a file tells.
pub(crate) fn format_of(path: &Path) -> Format {
    match extension(path).0.as_deref() {
        Some("jsonl" | "ndjson" | "json") => Format::Records,
        Some("parquet") => Format::Parquet,
        _ => Format::Plain,
    }
}

/// Whether the name ends in `.gz`.
pub(crate) fn is_gzipped(path: &Path) -> bool {
    extension(path).1
}

/// Whether a file met in a folder is to be read as text: by its name if that says so, else by its first bytes.
pub(crate) fn holds_text(path: &Path) -> bool {
    match extension(path).0.as_deref() {
        Some("txt" | "text" | "md" | "markdown" | "jsonl" | "ndjson" | "json" | "parquet") => true,
        _ => looks_like_text(path).unwrap_or(false),
    }
}

/// Whether a file met in a folder may hold conversations.
pub(crate) fn holds_records(path: &Path) -> bool {
    format_of(path) == Format::Records
}

fn looks_like_text(path: &Path) -> Result<bool> {
    let mut start = Vec::new();
    let read = open(path)?.take(4096).read_to_end(&mut start);
    if read.is_err() || start.is_empty() || start.contains(&0) {
        return Ok(false);
    }
    // The last character may be cut in half.
    Ok(std::str::from_utf8(&start).map_or_else(|error| error.error_len().is_none(), |_| true))
}

/// Opens a file, unpacking it if its name ends in `.gz`.
pub(crate) fn open(path: &Path) -> Result<Box<dyn Read + Send>> {
    let file = File::open(path).map_err(|source| Error::io("read", path, source))?;
    let file = BufReader::with_capacity(1 << 16, file);
    Ok(if is_gzipped(path) {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    })
}

/// The file at `place`, or all files in the folder at `place` and below that `wanted` accepts, in the order of their paths.
/// Names that begin with a dot are passed over.
pub(crate) fn list(place: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    let data = std::fs::metadata(place).map_err(|source| Error::io("read", place, source))?;
    if !data.is_dir() {
        if data.is_file() && data.len() == 0 {
            return Err(Error::malformed(
                place.display().to_string(),
                "the file is empty",
                "give a file with text",
            ));
        }
        return Ok(vec![place.to_path_buf()]);
    }
    let (mut found, mut passed_over) = (Vec::new(), 0usize);
    let mut folders = vec![place.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).map_err(|source| Error::io("read", &folder, source))?;
        for entry in entries {
            let entry = entry.map_err(|source| Error::io("read", &folder, source))?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            let path = entry.path();
            // Links to folders are not followed, they may lead back up; links to files are.
            let kind = entry
                .file_type()
                .map_err(|source| Error::io("read", &path, source))?;
            if kind.is_dir() {
                folders.push(path);
            } else if path.is_file() && wanted(&path) {
                found.push(path);
            } else {
                passed_over += 1;
            }
        }
    }
    if found.is_empty() {
        let files = if passed_over == 1 { "file" } else { "files" };
        return Err(Error::malformed(
            place.display().to_string(),
            format!(
                "nothing in this folder can be read as text ({passed_over} {files} passed over)"
            ),
            "give a folder with .txt, .md, .jsonl or .parquet files",
        ));
    }
    found.sort();
    Ok(found)
}
