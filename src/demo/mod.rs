//! A rehearsal with everything real: one bare remote, three machines in a folder, workers as processes, a
//! power cut, a pulled cable, and an audit at the end.
//!
//! [`play::run`] drives the `orch` program itself and only looks at files; nothing here decides anything
//! about a task. [`check`] says what must hold, and computes the results of the work a second time by itself.

pub mod cast;
pub mod check;
pub mod play;
pub mod project;
pub mod report;
mod scenes;
pub mod story;
pub mod view;
