//! Tasks in JSONL.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gigaro_data::hostile::tasks(bytes));
