//! One file per verb: load, decide, commit, report. No argument parsing, no printing.

pub mod add;
mod around;
pub mod audit;
pub mod change;
pub mod claim;
pub mod doctor;
pub mod edit;
pub mod error;
mod held;
pub mod holder;
pub mod init;
mod needs;
mod notice;
pub mod operator;
pub mod queue;
pub mod read;
pub mod sync;
pub mod watch;
