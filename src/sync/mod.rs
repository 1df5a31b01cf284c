//! The only room that knows git as a database: objects, refs, and the rounds that share them.

pub mod git;
