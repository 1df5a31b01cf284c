//! The reliability harness: it drives the real code of orch through the seams of [`orch::world`], breaks what can
//! break, and compares with the promises of the specification.
//!
//! - [`cli`]: one file per command.
//! - [`sim`]: machines, time, disks and the remote, simulated; [`drive`]: one run of them.
//! - [`shrink`]: makes a plan that breaks a promise smaller; [`corpus`]: keeps it for ever.
//! - [`conformance`]: what every implementation of a seam must do, real or simulated.
//! - [`crash`]: commands that are killed or fail at each of their calls.
//! - [`history`]: what clients were told, and whether the order of operations explains it.
//! - [`model`]: the protocol, every interleaving within a bound.
//! - [`interleave`]: real processes, every interleaving within a bound, by loom.
//! - [`soak`]: real processes under real faults; [`report`] shows what came out, [`gate`] decides.
//! - [`record`]: what each layer has shown, for the gate.
//! - [`probe`]: whether a remote is fit to coordinate agents.

pub mod cli;
pub mod conformance;
pub mod corpus;
pub mod crash;
pub mod drive;
pub mod gate;
pub mod history;
#[cfg(test)]
mod hub;
pub mod interleave;
pub mod model;
pub mod probe;
pub mod record;
#[cfg(test)]
mod reference;
pub mod report;
pub mod shrink;
pub mod sim;
pub mod soak;
pub mod yaml;
