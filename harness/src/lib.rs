//! The reliability harness: it drives the real code of orch through the seams of [`orch::world`], breaks what can
//! break, and compares with the promises of the specification.
//!
//! - [`cli`]: one file per command.
//! - [`probe`]: whether a remote is fit to coordinate agents.

pub mod cli;
#[cfg(test)]
mod hub;
pub mod probe;
