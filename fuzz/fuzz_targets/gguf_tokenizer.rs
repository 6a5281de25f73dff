//! The tokenizer in a GGUF file.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gigaro_data::hostile::gguf_tokenizer(bytes));
