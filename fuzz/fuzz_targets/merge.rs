//! Feeds bytes to the laws in `src/merge.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| orch_fuzz::merge::holds(bytes));
