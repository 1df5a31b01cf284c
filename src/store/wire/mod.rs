//! The task format: types of the protocol ↔ [`Value`](crate::protocol::value::Value), key by key.
//!
//! Nothing here knows YAML or JSON. Reading is strict: a field that nobody knows, a wrong type or a value
//! beyond its bound is an error that names its path and what was expected.

pub mod bounds;
mod definition;
mod fields;
mod op;
mod patch;
mod run;
mod state;
mod task;
mod words;

#[cfg(test)]
pub(in crate::store) mod arbitrary;

use std::fmt;

pub use super::parse::Step;
pub use definition::{definition_from_value, nearest_field};
pub use op::{is_verb, op_from_value, op_to_value};
pub use task::{summary_from_value, task_from_value, task_to_value};
pub use words::Word;

/// Newest version of the task format that this version reads and writes.
pub const FORMAT: i64 = 1;

/// For whom a task is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A file: fields at their default are left out, the history is there.
    File,
    /// A program: every key is there, with explicit nulls.
    Json {
        /// Whether the history is there, too.
        history: bool,
    },
}

/// What does not fit the format, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireError {
    /// The way from the top of the document to the place.
    pub path: Vec<Step>,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl WireError {
    /// An error at the value that is being read.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        WireError { path: Vec::new(), message: message.into() }
    }

    /// The same error, one level further out.
    #[must_use]
    pub fn within(mut self, step: Step) -> Self {
        self.path.insert(0, step);
        self
    }

    /// The same error, under a key.
    #[must_use]
    pub fn under(self, key: &str) -> Self {
        self.within(Step::Key(key.to_owned()))
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.path.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                // The message names the key itself.
                Step::Name(_) => continue,
                Step::Key(key) if place > 0 => write!(f, ".{key}")?,
                Step::Key(key) => write!(f, "{key}")?,
            }
        }
        let named = self.path.iter().any(|step| !matches!(step, Step::Name(_)));
        write!(f, "{}{}", if named { ": " } else { "" }, self.message)
    }
}

impl std::error::Error for WireError {}
