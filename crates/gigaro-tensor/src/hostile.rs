//! The parser of foreign bytes in this crate, behind a function of arbitrary bytes.
//!
//! It feeds the bytes to the parser and, where they are accepted, checks that what came out holds together. It panics where
//! that fails; being refused is fine. A fuzz target in `fuzz/` calls it, and so does an ordinary test, with thousands of
//! mutations of valid files.

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
}
