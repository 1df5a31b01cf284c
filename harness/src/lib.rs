//! The reliability harness: it drives the real code of orch through the seams of [`orch::world`], breaks what can
//! break, and compares with the promises of the specification.
//!
//! - [`cli`]: one file per command.
//! - [`history`]: what clients were told, and whether the order of operations explains it.
//! - [`model`]: the protocol, every interleaving within a bound.

pub mod cli;
pub mod history;
pub mod model;
