//! The files of a checkpoint.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gigaro_train::checkpoint::read_hostile_bytes(bytes));
