//! orch: a work queue for AI agents that lives in a git repository.
pub mod protocol;
pub mod store;
pub mod world;
