//! Feeds bytes to the laws in `src/policy.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| orch_fuzz::policy::holds(bytes));
