//! Feeds bytes to the laws in `src/table.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| orch_fuzz::table::holds(bytes));
