//! The text column of a Parquet file, a document a row.
//!
//! Only a top-level column of strings is read; rows without a value are passed over. Snappy, gzip, brotli and LZ4 are
//! unpacked; Zstandard would need C. The reader underneath is a large parser, so a panic in it on a damaged file is caught and
//! becomes the sentence that the file is damaged.

use super::files;
use crate::{Error, Result};
use bytes::Bytes;
use parquet::basic::Type;
use parquet::column::reader::{ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, FileReader, SerializedFileReader};
use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Rows decoded at a time.
const ROWS: usize = 256;

/// Opens the column `key` of the file at `path`.
pub(crate) fn open(path: &Path, key: &str) -> Result<Texts> {
    let place = path.display().to_string();
    if files::is_gzipped(path) {
        let mut bytes = Vec::new();
        files::open(path)?
            .read_to_end(&mut bytes)
            .map_err(|source| Error::io("read", path, source))?;
        return from_bytes(bytes, place, key);
    }
    let file = File::open(path).map_err(|source| Error::io("read", path, source))?;
    from_chunks(file, place, key)
}

/// Opens the column `key` of a file in memory.
pub(crate) fn from_bytes(bytes: Vec<u8>, place: String, key: &str) -> Result<Texts> {
    from_chunks(Bytes::from(bytes), place, key)
}

fn from_chunks<C: ChunkReader + 'static>(chunks: C, place: String, key: &str) -> Result<Texts> {
    let reader = guarded(&place, || SerializedFileReader::new(chunks))?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let found = schema
        .columns()
        .iter()
        .position(|column| column.path().parts() == [key]);
    let Some(column) =
        found.filter(|&column| schema.column(column).physical_type() == Type::BYTE_ARRAY)
    else {
        let what = if found.is_some() {
            "not text"
        } else {
            "not there"
        };
        let columns: Vec<String> = schema
            .columns()
            .iter()
            .take(20)
            .map(|column| format!("{:.60}", column.path().string()))
            .collect();
        return Err(Error::malformed(
            place,
            format!(
                "the column `{key}` is {what} (the columns are: {})",
                columns.join(", ")
            ),
            "name the column that holds the text with --column (or `column` in [data])",
        ));
    };
    Ok(Texts {
        reader: Box::new(reader),
        place,
        column,
        row_group: 0,
        open: None,
        decoded: Vec::new().into_iter(),
        rows: 0,
        failed: false,
    })
}

/// The texts of one column, in order.
pub(crate) struct Texts {
    reader: Box<dyn FileReader>,
    place: String,
    column: usize,
    /// The next row group to open.
    row_group: usize,
    open: Option<ColumnReaderImpl<ByteArrayType>>,
    decoded: std::vec::IntoIter<ByteArray>,
    /// Texts given out.
    rows: u64,
    failed: bool,
}

impl Texts {
    /// Decodes more rows; `false` at the end of the file.
    fn decode(&mut self) -> Result<bool> {
        let Texts {
            reader,
            place,
            column,
            row_group,
            open,
            decoded,
            ..
        } = self;
        guarded(place, || {
            loop {
                let Some(column_reader) = open else {
                    if *row_group == reader.num_row_groups() {
                        return Ok(false);
                    }
                    let group = reader.get_row_group(*row_group)?;
                    *open = Some(get_typed_column_reader(group.get_column_reader(*column)?));
                    *row_group += 1;
                    continue;
                };
                let (mut values, mut levels, mut repeats) = (Vec::new(), Vec::new(), Vec::new());
                let (rows, ..) = column_reader.read_records(
                    ROWS,
                    Some(&mut levels),
                    Some(&mut repeats),
                    &mut values,
                )?;
                if rows == 0 {
                    *open = None;
                } else if !values.is_empty() {
                    *decoded = values.into_iter();
                    return Ok(true);
                }
            }
        })
    }

    fn next_text(&mut self) -> Result<Option<String>> {
        loop {
            let Some(value) = self.decoded.next() else {
                if self.decode()? {
                    continue;
                }
                return Ok(None);
            };
            self.rows += 1;
            return String::from_utf8(value.data().to_vec())
                .map(Some)
                .map_err(|_| {
                    Error::malformed(
                        &self.place,
                        format!("text number {} of the column is not UTF-8", self.rows),
                        "write the file again with a string column",
                    )
                });
        }
    }
}

impl Iterator for Texts {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        if self.failed {
            return None;
        }
        let text = self.next_text().transpose();
        self.failed = matches!(text, Some(Err(_)));
        text
    }
}

/// Runs the reader and turns its errors and panics into sentences.
fn guarded<T>(place: &str, f: impl FnOnce() -> std::result::Result<T, ParquetError>) -> Result<T> {
    let damaged = |what: String| {
        let advice = match what.to_lowercase().contains("zstd") {
            true => "write it again with snappy compression",
            false => "fetch or write it again",
        };
        Error::malformed(
            place,
            format!("not a readable Parquet file: {what:.200}"),
            advice,
        )
    };
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => result.map_err(|error| damaged(error.to_string())),
        Err(_) => Err(damaged("its parts contradict each other".to_owned())),
    }
}
