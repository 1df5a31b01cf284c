//! orch: a work queue for AI agents that lives in a git repository.
pub mod policy;
pub mod protocol;
pub mod world;
