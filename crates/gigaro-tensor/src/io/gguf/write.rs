//! Writes a GGUF file of version 3.

use super::GgufTensor;
use super::format::BlockFormat;
use super::header::{ALIGNMENT, DEFAULT_ALIGNMENT, MAGIC};
use super::value::Value;

// The types of values as files number them; those of eight and sixteen bits are not written.
const UNSIGNED_32: u32 = 4;
const SIGNED_32: u32 = 5;
const FLOAT_32: u32 = 6;
const BOOL: u32 = 7;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;
const UNSIGNED_64: u32 = 10;
const SIGNED_64: u32 = 11;
const FLOAT_64: u32 = 12;
/// From a number of 32 bits to its sister of 64.
const WIDENED: u32 = UNSIGNED_64 - UNSIGNED_32;

/// The bytes of a file with these entries and tensors, in the order given. Numbers are written as u64, i64 and f64 unless they
/// fit the 32 bits that the format's standard keys have.
///
/// # Errors
/// If a tensor's bytes are not what its shape needs, or an array holds values of several types.
pub fn write_gguf(
    metadata: &[(String, Value)],
    tensors: &[GgufTensor<'_>],
) -> Result<Vec<u8>, String> {
    let mut out = MAGIC.to_vec();
    out.extend(3_u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        if key == ALIGNMENT {
            return Err(format!(
                "{ALIGNMENT} is {DEFAULT_ALIGNMENT} in what is written here"
            ));
        }
        text(&mut out, key);
        let kind = kind(value);
        out.extend(kind.to_le_bytes());
        body(&mut out, value, kind).map_err(|reason| format!("{key} {reason}"))?;
    }
    let mut offset = 0;
    for tensor in tensors {
        check(tensor)?;
        text(&mut out, tensor.name);
        out.extend((tensor.shape.len() as u32).to_le_bytes());
        for &dim in tensor.shape.iter().rev() {
            out.extend((dim as u64).to_le_bytes());
        }
        out.extend(tensor.format.id().to_le_bytes());
        out.extend((offset as u64).to_le_bytes());
        offset += tensor.bytes.len().next_multiple_of(DEFAULT_ALIGNMENT);
    }
    for tensor in tensors {
        out.resize(out.len().next_multiple_of(DEFAULT_ALIGNMENT), 0);
        out.extend(tensor.bytes);
    }
    Ok(out)
}

fn check(tensor: &GgufTensor<'_>) -> Result<(), String> {
    let (len, size) = (tensor.format.block_len(), tensor.format.block_bytes());
    let width = tensor.shape.last().copied().unwrap_or(1);
    let numel: usize = tensor.shape.iter().product();
    if width.is_multiple_of(len) && numel / len * size == tensor.bytes.len() {
        return Ok(());
    }
    let GgufTensor { name, shape, .. } = tensor;
    let (bytes, format): (usize, BlockFormat) = (tensor.bytes.len(), tensor.format);
    Err(format!(
        "the tensor {name} of shape {shape:?} in {format} has {bytes} bytes"
    ))
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// Whether a float is an f32 that was widened.
fn is_single(x: f64) -> bool {
    !x.is_finite() || f64::from(x as f32) == x
}

/// The file's number of the type that a value is written in.
fn kind(value: &Value) -> u32 {
    match value {
        Value::Unsigned(n) if u32::try_from(*n).is_ok() => UNSIGNED_32,
        Value::Unsigned(_) => UNSIGNED_64,
        Value::Signed(n) if i32::try_from(*n).is_ok() => SIGNED_32,
        Value::Signed(_) => SIGNED_64,
        Value::Float(x) if is_single(*x) => FLOAT_32,
        Value::Float(_) => FLOAT_64,
        Value::Bool(_) => BOOL,
        Value::Text(_) => TEXT,
        Value::Array(_) => ARRAY,
    }
}

/// The type that holds every value of an array: the wide one as soon as one value needs it.
fn element_kind(values: &[Value]) -> Result<u32, String> {
    let kinds = || values.iter().map(kind);
    let widest = kinds().max().unwrap_or(UNSIGNED_32); // an empty array has no type of its own
    let fits = |kind: u32| kind == widest || kind + WIDENED == widest && kind <= FLOAT_32;
    if kinds().all(fits) {
        Ok(widest)
    } else {
        Err("holds values of several types".to_owned())
    }
}

fn body(out: &mut Vec<u8>, value: &Value, kind: u32) -> Result<(), String> {
    match value {
        Value::Unsigned(n) if kind == UNSIGNED_32 => out.extend((*n as u32).to_le_bytes()),
        Value::Unsigned(n) => out.extend(n.to_le_bytes()),
        Value::Signed(n) if kind == SIGNED_32 => out.extend((*n as i32).to_le_bytes()),
        Value::Signed(n) => out.extend(n.to_le_bytes()),
        Value::Float(x) if kind == FLOAT_32 => out.extend((*x as f32).to_le_bytes()),
        Value::Float(x) => out.extend(x.to_le_bytes()),
        Value::Bool(b) => out.push(u8::from(*b)),
        Value::Text(s) => text(out, s),
        Value::Array(values) => {
            let of = element_kind(values)?;
            out.extend(of.to_le_bytes());
            out.extend((values.len() as u64).to_le_bytes());
            for value in values {
                body(out, value, of)?;
            }
        }
    }
    Ok(())
}
