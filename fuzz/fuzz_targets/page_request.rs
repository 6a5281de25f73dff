//! A body of any request of the chat page.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gigaro_serve::hostile::page_request(bytes));
