//! orch: a work queue for AI agents that lives in a git repository.
pub mod protocol;
pub mod worker;
pub mod world;
