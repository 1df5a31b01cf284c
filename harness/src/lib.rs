//! The reliability harness: it drives the real code of orch through the seams of [`orch::world`], breaks what can
//! break, and compares with the promises of the specification.
//!
//! - [`cli`]: one file per command.
//! - [`conformance`]: what every implementation of a seam must do, real or simulated.
//! - [`probe`]: whether a remote is fit to coordinate agents.

pub mod cli;
pub mod conformance;
#[cfg(test)]
mod hub;
pub mod probe;
