//! A model in a GGUF file.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gigaro_models::hostile::gguf_model(bytes));
