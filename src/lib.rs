//! orch: a work queue for AI agents that lives in a git repository.
//!
//! ```text
//!             argv · HTTP request · MCP call · tick · child exit · file change
//!                   │
//!       ┌───────────┼──────────────┬──────────────┐
//!      cli       worker        watchdog         (edges: parse, loop, render)
//!       └───────────┴──────┬───────┴──────────────┘
//!                       usecase          one verb = load → decide → commit → report
//!               ┌──────────┼───────────┐
//!           protocol     store  ◄───  sync          pure │ files │ git
//!         (imports none)   └─────┬─────┘
//!                              world                clock, disk, remote, process, randomness
//! ```
//!
//! `ARCHITECTURE.md` names the directions that are forbidden, and `tests/tidy.rs` checks them.

pub mod cli;
pub mod demo;
pub mod machine;
pub mod policy;
pub mod protocol;
pub mod store;
pub mod sync;
pub mod usecase;
pub mod watchdog;
pub mod worker;
pub mod world;
