//! The text column of a Parquet file.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The driver's hook aborts at the panic itself; the reader underneath may panic and is caught, which is allowed. A panic
    // that is not caught still reaches the driver and counts.
    std::panic::set_hook(Box::new(|_| {}));
    gigaro_data::hostile::parquet(bytes);
});
