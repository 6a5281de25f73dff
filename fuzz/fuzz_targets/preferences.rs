//! Preferences in JSONL, and items to label.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gigaro_data::hostile::preferences(bytes));
