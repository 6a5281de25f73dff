//! A model's `config.json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gigaro_models::hostile::config_json(bytes));
