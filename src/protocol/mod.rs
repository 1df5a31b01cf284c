//! The rules, without the world: no file, no clock, no process, no randomness, no format.
//!
//! [`transition::next`] is the one place where a task's state changes; everything else here helps to
//! decide which operation to issue, or checks what came of it.

pub mod dag;
pub mod edit;
pub mod gates;
pub mod id;
pub mod invariant;
pub mod lease;
pub mod merge;
pub mod op;
pub mod retry;
pub mod schedule;
pub mod task;
pub mod time;
pub mod transition;
pub mod value;

#[cfg(test)]
mod tests;
