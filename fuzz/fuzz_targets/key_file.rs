//! A file of keys.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gigaro_serve::hostile::key_file(bytes));
