//! A body of `/v1/completions`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gigaro_serve::hostile::completion_request(bytes));
