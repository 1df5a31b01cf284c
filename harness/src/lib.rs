//! The reliability harness: it drives the real code of orch through the seams of [`orch::world`], breaks what can
//! break, and compares with the promises of the specification.
//!
//! - [`cli`]: one file per command.
//! - [`sim`]: machines, time, disks and the remote, simulated; [`drive`]: one run of them.

pub mod cli;
pub mod drive;
pub mod sim;
