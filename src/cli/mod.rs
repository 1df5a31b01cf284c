//! The command line: arguments in, one use case, one document or page out, one exit code.
//!
//! `app` holds the table of commands, `commands/` one file per command, `context` finds the state directory
//! and opens the queue, `output` writes data, `failure` turns every error into words and a number, `render/`
//! is what people read. Nothing here decides anything about a task.

mod advice;
mod app;
mod commands;
mod context;
mod data;
mod definition;
mod failure;
mod globals;
mod hyphens;
mod output;
mod place;
mod policy_files;
mod progress;
pub mod render;
mod reports;
mod run;
#[cfg(test)]
mod samples;
mod signals;
mod values;
mod words;

pub use app::command;
pub use run::main;
