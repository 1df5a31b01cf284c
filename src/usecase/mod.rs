//! One file per verb: load, decide, commit, report. No argument parsing, no printing.

pub mod add;
mod adopt;
mod archived;
mod around;
pub mod audit;
mod budget;
pub mod change;
pub mod claim;
pub mod config;
pub mod doctor;
pub mod drain;
pub mod edit;
pub mod error;
pub mod export;
pub mod gc;
pub(crate) mod glance;
pub mod graph;
mod held;
pub mod holder;
pub mod import;
pub mod init;
pub mod log;
pub mod metrics;
mod needs;
mod notice;
pub mod operator;
pub mod queue;
#[cfg(test)]
mod races;
pub mod read;
pub mod run;
pub mod sessions;
mod shared_files;
pub mod status;
mod survey;
pub mod sync;
#[cfg(test)]
mod testing;
pub mod verify;
pub mod watch;
pub mod workers;
