//! Feeds bytes to the laws in `src/edit.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| orch_fuzz::edit::holds(bytes));
