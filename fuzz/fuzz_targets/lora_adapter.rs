//! The two files of a LoRA adapter.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gigaro_models::hostile::lora_adapter(bytes));
