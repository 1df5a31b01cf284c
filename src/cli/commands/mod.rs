//! One file per command, or per small family. The doc comment of each argument struct is its help text.

pub mod add;
pub mod check;
pub mod checkpoint;
pub mod claim;
pub mod completions;
pub mod config;
pub mod demo;
pub mod edit;
pub mod explain;
pub mod finish;
pub mod heartbeat;
pub mod holder;
pub mod init;
pub mod list;
pub mod man;
pub mod operator;
pub mod recover;
pub mod resume;
pub mod schema;
pub mod show;
pub mod sync;
pub mod version;
pub mod watchdog;
