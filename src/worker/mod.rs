//! Runs the work of one attempt under supervision and leaves evidence of it.
//!
//! [`executor::run_attempt`] is the door: it takes an [`attempt::Attempt`], tells an
//! [`attempt::Control`] at least five times a second how it goes, and returns an
//! [`attempt::AttemptReport`]. It knows nothing of leases: heartbeats, fencing and cancellation are the
//! business of whoever stands behind `Control`: [`holding`] decides about them, [`job`] ends the claim.
//!
//! [`engine::Engine`] is the worker as a whole: what [`dispatcher`] decides, done with threads.

pub mod attempt;
pub mod bundle;
pub mod capture;
pub mod clocks;
pub mod dispatcher;
pub mod ending;
pub mod engine;
pub mod environment;
pub mod executor;
pub mod git_head;
pub mod holding;
pub mod job;
pub mod kit;
pub mod manifest;
mod output;
pub mod plan;
pub mod prompt;
pub mod pulse;
pub mod redact;
pub mod sandbox;
mod step;
pub mod supervisor;

#[cfg(test)]
mod tests;
