//! What somebody else's model replies, and its address.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gigaro_serve::hostile::endpoint(bytes));
