//! Feeds bytes to the laws in `src/settings.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| orch_fuzz::settings::holds(bytes));
