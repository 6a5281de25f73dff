//! GPT-2's pair of files.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gigaro_data::hostile::bpe_files(bytes));
