//! The safetensors format as streams: written and read tensor by tensor.
//!
//! The `safetensors` crate defines the header and checks it; what is done here is to pass the
//! bytes through the hash in one sweep without ever holding the file in memory.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};

use safetensors::tensor::{Dtype, Metadata, TensorInfo, View};
use sha2::{Digest, Sha256};

use super::disk::hex;

/// Tensors by name, as they are handed over for saving.
///
/// [`View`] is the `safetensors` crate's own trait: dtype, shape, and the bytes in little-endian
/// contiguous order, which may be made when asked for.
pub type NamedViews<'a> = [(String, Box<dyn View + 'a>)];

/// One tensor as it comes back from a file.
#[derive(Clone, PartialEq, Eq)]
pub struct RawTensor {
    /// The element type.
    pub dtype: Dtype,
    /// The sizes of the dims.
    pub shape: Vec<usize>,
    /// The elements, little-endian, contiguous.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for RawTensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "RawTensor({:?}, {:?}, {} bytes)",
            self.dtype,
            self.shape,
            self.bytes.len()
        )
    }
}

impl View for RawTensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        (&self.bytes).into()
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// A header larger than this is refused, as the `safetensors` crate does.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Writes tensors in the order the ecosystem uses: widest elements first, then by name.
///
/// # Panics
/// If two tensors have one name, or a view's length is not its shape times its element size.
pub(crate) fn write(out: &mut dyn Write, tensors: &NamedViews<'_>) -> io::Result<()> {
    let mut order: Vec<&(String, Box<dyn View + '_>)> = tensors.iter().collect();
    order.sort_by(|(a_name, a), (b_name, b)| {
        b.dtype().cmp(&a.dtype()).then_with(|| a_name.cmp(b_name))
    });
    let mut offset = 0;
    let info: Vec<(String, TensorInfo)> = order
        .iter()
        .map(|(name, view)| {
            let start = offset;
            offset += view.data_len();
            let (dtype, shape) = (view.dtype(), view.shape().to_vec());
            (
                name.clone(),
                TensorInfo {
                    dtype,
                    shape,
                    data_offsets: (start, offset),
                },
            )
        })
        .collect();
    let mut names: Vec<&str> = info.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        panic!("checkpoint: two tensors are named '{}'", pair[0]);
    }
    // Readers of the ecosystem look for this mark before they trust the layout.
    let mark = HashMap::from([("format".to_string(), "pt".to_string())]);
    let metadata = Metadata::new(Some(mark), info)
        .unwrap_or_else(|e| panic!("checkpoint: a tensor's bytes do not match its shape: {e}"));
    let mut header = serde_json::to_vec(&metadata).map_err(io::Error::other)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    for (name, view) in order {
        let data = view.data();
        assert_eq!(
            data.len(),
            view.data_len(),
            "checkpoint: '{name}' gave another number of bytes than it announced"
        );
        out.write_all(&data)?;
    }
    Ok(())
}

/// Why a tensor file could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    Io(io::Error),
    /// The content is not a tensor file, or lies about itself.
    Malformed(String),
    /// The content is not what was hashed when it was saved.
    WrongHash {
        found: String,
    },
}

impl From<io::Error> for ReadError {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::UnexpectedEof => ReadError::Malformed("it ends too early".into()),
            _ => ReadError::Io(e),
        }
    }
}

/// Reads a tensor file of `len` bytes in one sweep, giving each tensor to `take` in file order.
///
/// With `expected_sha256`, the hash is checked at the end: what `take` has received must not be
/// used if this fails.
pub(crate) fn read(
    input: impl Read,
    len: u64,
    expected_sha256: Option<&str>,
    take: &mut dyn FnMut(String, RawTensor),
) -> Result<(), ReadError> {
    let mut input = HashingReader {
        input,
        hash: Sha256::new(),
    };
    let result = read_tensors(&mut input, len, take);
    if let Some(expected) = expected_sha256 {
        // A flipped bit in the header shows as nonsense first; the hash knows that it is damage.
        io::copy(&mut input, &mut io::sink())?;
        let found = hex(&input.hash.finalize());
        if found != expected {
            return Err(ReadError::WrongHash { found });
        }
    }
    result
}

fn read_tensors(
    input: &mut impl Read,
    len: u64,
    take: &mut dyn FnMut(String, RawTensor),
) -> Result<(), ReadError> {
    let malformed = |why: &str| Err(ReadError::Malformed(why.into()));
    let mut head = [0; 8];
    input.read_exact(&mut head)?;
    let header_len = u64::from_le_bytes(head);
    if header_len > MAX_HEADER_BYTES || header_len > len.saturating_sub(8) {
        return malformed("its header claims to be larger than the file");
    }
    let mut header = vec![0; header_len as usize];
    input.read_exact(&mut header)?;
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|e| {
        ReadError::Malformed(format!("its header is not one of a tensor file: {e}"))
    })?;
    // Offsets are contiguous and agree with shapes (checked by `Metadata`), so this bounds every
    // allocation below by the file's own size.
    if metadata.data_len() as u64 != len - 8 - header_len {
        return malformed("its header does not cover the file");
    }
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else {
            return malformed("its header is inconsistent");
        };
        let mut bytes = vec![0; info.data_offsets.1 - info.data_offsets.0];
        input.read_exact(&mut bytes)?;
        let (dtype, shape) = (info.dtype, info.shape.clone());
        take(
            name,
            RawTensor {
                dtype,
                shape,
                bytes,
            },
        );
    }
    Ok(())
}

/// The SHA-256 of the rest of a file.
pub(crate) fn sha256_of(file: File) -> io::Result<String> {
    let mut reader = HashingReader {
        input: io::BufReader::with_capacity(1 << 18, file),
        hash: Sha256::new(),
    };
    io::copy(&mut reader, &mut io::sink())?;
    Ok(hex(&reader.hash.finalize()))
}

/// A reader that hashes what passes through.
struct HashingReader<R> {
    input: R,
    hash: Sha256,
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buffer)?;
        self.hash.update(&buffer[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn sample() -> Vec<(String, Box<dyn View>)> {
        let tensor = |dtype, shape: &[usize], bytes: Vec<u8>| -> Box<dyn View> {
            Box::new(RawTensor {
                dtype,
                shape: shape.to_vec(),
                bytes,
            })
        };
        vec![
            (
                "wte.weight".into(),
                tensor(Dtype::F32, &[3, 2], (0..24).collect()),
            ),
            (
                "h.0.bias".into(),
                tensor(Dtype::BF16, &[2], vec![1, 2, 3, 4]),
            ),
            ("step".into(), tensor(Dtype::I64, &[], vec![7; 8])),
            ("empty".into(), tensor(Dtype::F32, &[0, 5], vec![])),
        ]
    }

    fn written() -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, &sample()).unwrap();
        out
    }

    fn read_all(bytes: &[u8]) -> Result<BTreeMap<String, RawTensor>, ReadError> {
        let mut tensors = BTreeMap::new();
        read(bytes, bytes.len() as u64, None, &mut |name, tensor| {
            tensors.insert(name, tensor);
        })?;
        Ok(tensors)
    }

    #[test]
    fn the_safetensors_crate_reads_what_is_written_here() {
        let bytes = written();
        let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        for (name, view) in sample() {
            let tensor = theirs.tensor(&name).unwrap();
            assert_eq!(
                (tensor.dtype(), tensor.shape(), tensor.data()),
                (view.dtype(), view.shape(), &*view.data())
            );
        }
    }

    #[test]
    fn what_the_safetensors_crate_writes_is_read_here() {
        let list = sample();
        let theirs = safetensors::serialize(
            list.iter().map(|(name, v)| {
                (
                    name.as_str(),
                    RawTensor {
                        dtype: v.dtype(),
                        shape: v.shape().to_vec(),
                        bytes: v.data().to_vec(),
                    },
                )
            }),
            None,
        );
        let read = read_all(&theirs.unwrap()).unwrap();
        assert_eq!(read, read_all(&written()).unwrap());
        assert_eq!(read["h.0.bias"].bytes, [1, 2, 3, 4]);
    }

    #[test]
    #[should_panic(expected = "two tensors are named 'step'")]
    fn two_tensors_of_one_name_are_a_bug_of_the_caller() {
        let mut list = sample();
        list.extend(sample().drain(2..3));
        let _ = write(&mut Vec::new(), &list);
    }

    #[test]
    fn every_prefix_of_a_file_is_refused() {
        let good = written();
        for n in 0..good.len() {
            assert!(read_all(&good[..n]).is_err(), "{n} bytes");
        }
    }

    #[test]
    fn a_header_that_promises_terabytes_allocates_nothing() {
        let header =
            br#"{"x":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}"#;
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header].concat();
        assert!(matches!(read_all(&bytes), Err(ReadError::Malformed(_))));
        assert!(matches!(
            read_all(&[0xff; 64]),
            Err(ReadError::Malformed(_))
        ));
    }

    proptest! {
        #[test]
        fn mutated_files_never_panic(edits in prop::collection::vec((0usize..400, any::<u8>()), 1..6)) {
            let mut bytes = written();
            for (at, value) in edits {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            let _ = read_all(&bytes);
        }
    }
}
