//! The headers that say who asks, and from where.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gigaro_serve::hostile::headers(bytes));
