//! What must hold for any bytes that reach orch from elsewhere, one law a file.
//!
//! A target in `fuzz_targets` hands its bytes to the law of the same name and does nothing else, so the seeds can
//! be replayed without a fuzzer: `cargo test --no-default-features` does that with a stable toolchain. Laws use public items
//! of `orch` only and say what its own tests and documents promise; none of them is invented here.

pub mod edit;
pub mod merge;
pub mod policy;
pub mod settings;
pub mod table;
pub mod task_file;

#[cfg(test)]
mod seeds;

use orch::protocol::task::Task;
use orch::store::{codec, seal};

/// The line between two files in one input.
const BETWEEN: &str = "\n=====\n";

/// The files of one input. Most inputs are text, so that a person can read a crash and write a seed.
fn files(text: &str) -> impl Iterator<Item = &str> {
    text.split(BETWEEN)
}

/// A body as orch would have left it: no mutation ever finds a SHA-256, so the seal is put on afterwards.
fn sealed(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut body = seal::split(text).map_or(text, |sealed| sealed.body).to_owned();
    if !body.ends_with('\n') {
        body.push('\n');
    }
    seal::add(&mut body);
    body
}

/// A task from a text without a seal, or with any.
fn task(text: &str) -> Option<Task> {
    codec::decode(sealed(text).as_bytes()).ok().map(|decoded| decoded.task)
}

/// A place in a text, as an editor counts: line and column from 1, at most one behind the last.
fn assert_place(text: &[u8], line: usize, column: usize, message: &str) {
    let there = text.split(|byte| *byte == b'\n').nth(line.wrapping_sub(1));
    let width = there.unwrap_or_else(|| panic!("line {line} is not there: {message}")).len();
    assert!((1..=width + 1).contains(&column), "{line}:{column} is no place: {message}");
    assert!(!message.is_empty(), "an error says nothing");
}
