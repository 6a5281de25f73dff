//! `tokenizer.json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gigaro_data::hostile::tokenizer_json(bytes));
