//! Feeds bytes to the laws in `src/task_file.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| orch_fuzz::task_file::holds(bytes));
