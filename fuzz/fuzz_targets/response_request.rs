//! A body of `/v1/responses`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gigaro_serve::hostile::response_request(bytes));
