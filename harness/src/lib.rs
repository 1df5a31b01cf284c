//! The reliability harness: it drives the real code of orch through the seams of [`orch::world`], breaks what can
//! break, and compares with the promises of the specification.
//!
//! - [`cli`]: one file per command.
//! - [`soak`]: real processes under real faults; [`report`] shows what came out, [`gate`] decides.
//! - [`record`]: what each layer has shown, for the gate.

pub mod cli;
pub mod gate;
pub mod record;
pub mod report;
pub mod soak;
pub mod yaml;
