//! One file per verb: load, decide, commit, report. No argument parsing, no printing.

pub mod add;
mod adopt;
mod around;
pub mod change;
pub mod claim;
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
