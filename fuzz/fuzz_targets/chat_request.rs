//! A body of `/v1/chat/completions`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gigaro_serve::hostile::chat_request(bytes));
