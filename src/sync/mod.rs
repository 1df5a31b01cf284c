//! The only room that knows git: objects, refs, and one sync round.
//!
//! Local objects and refs are written through [`git`]; the network is behind the `Remote` seam.

pub mod absorb;
pub mod alarm;
pub mod archive;
pub mod chain;
pub mod context;
pub mod fetch;
pub mod files;
pub mod foreign;
pub mod git;
pub mod group_push;
pub mod history;
pub mod local;
pub mod message;
pub mod names;
pub mod publish;
pub mod register;
pub mod rejected;
pub mod rename;
pub mod repair;
pub mod sessions;
pub mod shared;
pub mod valid;
pub mod whole;
