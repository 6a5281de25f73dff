//! A GGUF file.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gigaro_tensor::hostile::gguf(bytes));
