//! Plain text.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gigaro_data::hostile::plain_text(bytes));
