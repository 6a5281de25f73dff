//! Reads everything before the weights, and where each of these is.

use std::collections::BTreeMap;
use std::ops::Range;

use super::format::BlockFormat;
use super::value::Value;

/// What stands before the data.
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) metadata: BTreeMap<String, Value>,
    pub(super) tensors: Vec<Entry>,
}

/// A tensor's name and place.
pub(super) struct Entry {
    pub(super) name: String,
    /// Slowest dim first.
    pub(super) shape: Vec<usize>,
    pub(super) format: BlockFormat,
    /// Within the file.
    pub(super) bytes: Range<usize>,
}

/// The first four bytes.
pub(super) const MAGIC: &[u8; 4] = b"GGUF";
/// What data is aligned to unless the file says otherwise.
pub(super) const DEFAULT_ALIGNMENT: usize = 32;
/// The key by which it does.
pub(super) const ALIGNMENT: &str = "general.alignment";
/// More dims than the format's own library allows.
const MAX_DIMS: u32 = 8;
/// Arrays within arrays: the standard keys have none, and each level is a level of recursion here.
const MAX_DEPTH: usize = 8;

/// Reads the header of a whole file.
pub(super) fn read(file: &[u8]) -> Result<Header, String> {
    let mut cursor = Cursor { file, at: 0 };
    if cursor.take(4, "the magic number")? != MAGIC {
        return Err("it does not begin with GGUF, so it is another kind of file".to_owned());
    }
    let version = cursor.u32("the version")?;
    match version {
        2 | 3 => {}
        1 => {
            return Err(
                "it is of version 1, which has died out; convert the model anew".to_owned(),
            );
        }
        _ if matches!(version.swap_bytes(), 1..=3) => {
            return Err("it is big-endian; convert the model anew, little-endian".to_owned());
        }
        other => return Err(format!("it is of version {other}; known are 2 and 3")),
    }
    let n_tensors = cursor.u64("the number of tensors")?;
    let n_entries = cursor.u64("the number of metadata entries")?;
    let metadata = read_metadata(&mut cursor, n_entries)?;
    let mut claims = Vec::new();
    for i in 0..n_tensors {
        claims.push(Claim::read(&mut cursor, i)?);
    }
    let alignment = alignment(&metadata)?;
    // The data may be absent altogether: a file of nothing but a tokenizer has no tensors.
    let start = cursor.at.next_multiple_of(alignment);
    let tensors = claims
        .into_iter()
        .map(|claim| claim.check(start, file.len(), alignment))
        .collect::<Result<_, _>>()?;
    Ok(Header {
        version,
        metadata,
        tensors,
    })
}

fn read_metadata(cursor: &mut Cursor<'_>, count: u64) -> Result<BTreeMap<String, Value>, String> {
    let mut metadata = BTreeMap::new();
    for i in 0..count {
        let key = cursor.text(&format!("the key of metadata entry {i}"))?;
        let kind = cursor.u32(&key)?;
        let value = cursor.value(kind, &key, 0)?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(format!("the key {key} is there twice"));
        }
    }
    Ok(metadata)
}

fn alignment(metadata: &BTreeMap<String, Value>) -> Result<usize, String> {
    let Some(value) = metadata.get(ALIGNMENT) else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    let sane = |n: &usize| n.is_power_of_two() && *n <= 1 << 20;
    value
        .as_u64()
        .and_then(|n| usize::try_from(n).ok())
        .filter(sane)
        .ok_or_else(|| format!("{ALIGNMENT} is {value:?}, which is no power of two up to 2^20"))
}

/// A tensor as the header describes it, not yet held against the file's length.
struct Claim {
    name: String,
    shape: Vec<usize>,
    format: BlockFormat,
    offset: u64,
}

impl Claim {
    fn read(cursor: &mut Cursor<'_>, i: u64) -> Result<Self, String> {
        let name = cursor.text(&format!("the name of tensor {i}"))?;
        let n_dims = cursor.u32(&name)?;
        if n_dims > MAX_DIMS {
            return Err(format!("the tensor {name} has {n_dims} dims"));
        }
        let mut shape = Vec::new();
        for _ in 0..n_dims {
            let dim = cursor.u64(&name)?;
            let dim = usize::try_from(dim)
                .map_err(|_| format!("the tensor {name} has a dim of {dim}"))?;
            shape.push(dim);
        }
        shape.reverse();
        let format = BlockFormat::from_id(cursor.u32(&name)?)
            .map_err(|reason| format!("the tensor {name} {reason}"))?;
        let offset = cursor.u64(&name)?;
        Ok(Self {
            name,
            shape,
            format,
            offset,
        })
    }

    fn check(self, start: usize, file_len: usize, alignment: usize) -> Result<Entry, String> {
        let Self {
            name,
            shape,
            format,
            offset,
        } = self;
        let width = shape.last().copied().unwrap_or(1);
        if !width.is_multiple_of(format.block_len()) {
            return Err(format!(
                "the tensor {name} has rows of {width} numbers, which are no whole blocks of {format}"
            ));
        }
        if !offset.is_multiple_of(alignment as u64) {
            return Err(format!(
                "the tensor {name} begins at {offset}, which is not aligned to {alignment}"
            ));
        }
        let numel = shape.iter().try_fold(1_usize, |n, &dim| n.checked_mul(dim));
        let range = numel.and_then(|numel| {
            let len = (numel / format.block_len()).checked_mul(format.block_bytes())?;
            let begin = start.checked_add(usize::try_from(offset).ok()?)?;
            let end = begin.checked_add(len)?;
            (end <= file_len).then_some(begin..end)
        });
        let bytes = range.ok_or_else(|| {
            format!(
                "the tensor {name} of shape {shape:?} reaches beyond the end of the file, so the file is cut short or damaged"
            )
        })?;
        Ok(Entry {
            name,
            shape,
            format,
            bytes,
        })
    }
}

/// A place in the file; every read names what it was after.
struct Cursor<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize, what: &str) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(n).filter(|&end| end <= self.file.len());
        let Some(end) = end else {
            return Err(format!("it ends within {what}"));
        };
        let bytes = &self.file[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], String> {
        let bytes = self.take(N, what)?;
        Ok(bytes.try_into().expect("as many bytes as were asked for"))
    }

    fn u32(&mut self, what: &str) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &str) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    fn text(&mut self, what: &str) -> Result<String, String> {
        let len = self.u64(what)?;
        // A length beyond the address space is beyond the file too.
        let bytes = self.take(usize::try_from(len).unwrap_or(usize::MAX), what)?;
        let text = std::str::from_utf8(bytes).map_err(|_| format!("{what} is not UTF-8"))?;
        Ok(text.to_owned())
    }

    fn value(&mut self, kind: u32, key: &str, depth: usize) -> Result<Value, String> {
        Ok(match kind {
            0 => Value::Unsigned(u8::from_le_bytes(self.array(key)?).into()),
            1 => Value::Signed(i8::from_le_bytes(self.array(key)?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.array(key)?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.array(key)?).into()),
            4 => Value::Unsigned(self.u32(key)?.into()),
            5 => Value::Signed(i32::from_le_bytes(self.array(key)?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array(key)?).into()),
            7 => match self.array(key)? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                [other] => return Err(format!("{key} is {other}, neither true nor false")),
            },
            8 => Value::Text(self.text(key)?),
            9 => Value::Array(self.elements(key, depth)?),
            10 => Value::Unsigned(self.u64(key)?),
            11 => Value::Signed(i64::from_le_bytes(self.array(key)?)),
            12 => Value::Float(f64::from_le_bytes(self.array(key)?)),
            other => {
                return Err(format!(
                    "{key} has a value of type {other}; known are 0 to 12"
                ));
            }
        })
    }

    fn elements(&mut self, key: &str, depth: usize) -> Result<Vec<Value>, String> {
        if depth == MAX_DEPTH {
            return Err(format!("{key} holds arrays more than {MAX_DEPTH} deep"));
        }
        let kind = self.u32(key)?;
        let count = self.u64(key)?;
        // An element takes a byte at least, so a count beyond what is left is a lie; the vector grows with what is read.
        if count > (self.file.len() - self.at) as u64 {
            return Err(format!("it ends within {key}"));
        }
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value(kind, key, depth + 1)?);
        }
        Ok(values)
    }
}
