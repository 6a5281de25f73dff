//! The parsers of foreign bytes in this crate, each behind a function of arbitrary bytes.
//!
//! It feeds the bytes to the parser and, where they are accepted, checks that what came out holds together. It panics where
//! that fails; being refused is fine. A fuzz target in `fuzz/` calls it, and so does an ordinary test, with thousands of
//! mutations of valid files.

use crate::io::gguf::{Gguf, Value, write_gguf};
use crate::io::{read_safetensors, write_safetensors};

/// A safetensors file.
pub fn safetensors(bytes: &[u8]) {
    let Ok(tensors) = read_safetensors(bytes) else {
        return;
    };
    let written = write_safetensors(&tensors).expect("what was read can be written");
    let again = read_safetensors(&written).expect("our own file is read");
    assert_eq!(tensors.len(), again.len(), "writing changed the names");
    for ((name, tensor), (name_again, tensor_again)) in tensors.iter().zip(&again) {
        assert_eq!(name, name_again, "writing changed a name");
        assert_eq!(tensor.dtype(), tensor_again.dtype(), "{name}");
        assert_eq!(tensor.shape(), tensor_again.shape(), "{name}");
        assert!(
            tensor.to_bytes() == tensor_again.to_bytes(),
            "writing changed {name}"
        );
    }
}

/// A GGUF file.
pub fn gguf(bytes: &[u8]) {
    let Ok(file) = Gguf::from_bytes(bytes.to_vec()) else {
        return;
    };
    for tensor in file.tensors() {
        let numel: usize = tensor.shape.iter().product();
        assert_eq!(tensor.numel(), numel, "{}", tensor.name);
        assert_eq!(tensor.dequantize().len(), numel, "{}", tensor.name);
    }
    let entries: Vec<(String, Value)> = file
        .metadata_entries()
        .filter(|(key, _)| *key != "general.alignment")
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .collect();
    let tensors: Vec<_> = file.tensors().collect();
    let written = write_gguf(&entries, &tensors).expect("what was read can be written");
    let again = Gguf::from_bytes(written).expect("our own file is read");
    assert!(
        tensors
            .iter()
            .eq(again.tensors().collect::<Vec<_>>().iter())
    );
    for (key, value) in entries {
        // As text, since no NaN equals itself.
        let kept = again.metadata(&key).map(|v| format!("{v:?}"));
        assert_eq!(kept, Some(format!("{value:?}")), "writing changed {key}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::mutated;
    use crate::{DType, Device, Generator, Tensor};
    use std::collections::BTreeMap;

    #[test]
    fn no_safetensors_file_panics() {
        let numbers = Tensor::rand([3, 5], DType::F32, Device::Cpu, &Generator::new(1));
        let tensors: BTreeMap<String, Tensor> = [
            ("wide", numbers.to_dtype(DType::F64)),
            ("half", numbers.to_dtype(DType::BF16)),
            ("truth", numbers.to_dtype(DType::Bool)),
            ("scalar", numbers.sum_all()),
            ("empty", numbers.narrow(0, 0, 0).contiguous()),
            ("numbers", numbers),
        ]
        .map(|(name, tensor)| (name.to_owned(), tensor))
        .into();
        let seed = write_safetensors(&tensors).expect("a valid file");
        assert_eq!(read_safetensors(&seed).expect("is read").len(), 6);
        safetensors(&seed);
        let dice = Generator::new(2);
        for _ in 0..3000 {
            safetensors(&mutated(&seed, &dice));
        }
    }

    #[test]
    fn no_gguf_file_panics() {
        let seed = include_bytes!("../tests/fixtures/blocks.gguf");
        assert_eq!(
            Gguf::from_bytes(seed.to_vec())
                .expect("is valid")
                .tensors()
                .count(),
            11
        );
        gguf(seed);
        let dice = Generator::new(3);
        // What counts and claims is in the first kilobytes; the data behind them only costs time.
        let header = &seed[..2048];
        for _ in 0..3000 {
            let mut file = mutated(header, &dice);
            file.extend_from_slice(&seed[2048..]);
            gguf(&file);
            gguf(&mutated(seed, &dice));
        }
    }
}
