//! A stream of server-sent events.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gigaro_serve::hostile::events(bytes));
