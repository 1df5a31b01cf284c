//! Which commands may run: built-in checks for shells, wrappers and destructive commands, and the rules of
//! `policy.yaml`.
//!
//! A guard against mistakes, not a boundary: the boundary is the sandbox. Nothing here opens a file or
//! starts a process; questions about paths go through [`Paths`](crate::world::paths::Paths).
//! [`check`] takes one command apart into every command it would run in turn and judges each of them;
//! the strictest judgement counts.

mod assign;
mod check;
mod command;
mod decision;
mod default;
mod destructive;
mod find;
mod git;
mod git_destroy;
mod globals;
mod ground;
mod hidden;
mod interpreters;
mod load;
mod options;
mod program;
mod rules;
mod scripts;
mod shells;
mod special;
mod unwrap;
mod words;
mod wrappers;

#[cfg(test)]
mod tests;

pub use check::{Request, check};
pub use decision::{Decision, Reason, Source, Verdict};
pub use default::DEFAULT;
pub use load::PolicyError;
pub use rules::{Policy, Rule};
