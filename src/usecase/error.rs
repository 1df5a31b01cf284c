//! What can go wrong, in the words and numbers that users and scripts see.

use crate::protocol::transition::Rejected;

/// Kinds of failure; each has one stable exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Anything that has no kind of its own.
    Failure = 1,
    /// The command line is wrong.
    Usage = 2,
    /// No such task, file or command.
    NotFound = 3,
    /// Somebody else holds it, or the operation does not fit the task's status.
    Conflict = 4,
    /// Policy or validation says no.
    Refused = 5,
    /// Nothing is ready.
    Nothing = 6,
    /// It took too long.
    Timeout = 7,
    /// State is damaged and a person is needed.
    Damaged = 8,
    /// The lease is not the caller's any more.
    Fenced = 9,
    /// The remote cannot be reached; try again.
    Unreachable = 75,
    /// The configuration is wrong.
    Config = 78,
}

/// A failure: what happened, what to do next, and what scripts need to know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Decides the exit code.
    pub kind: Kind,
    /// Stable word for scripts: `fenced`, `not_found`, `unreachable`, …
    pub code: &'static str,
    /// What happened, naming the file, ref or task, and the reason.
    pub message: String,
    /// The next step.
    pub hint: Option<String>,
    /// Whether the same command may succeed later without any change.
    pub retryable: bool,
}

impl Error {
    /// A failure with its stable code and message.
    #[must_use]
    pub fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        let retryable = matches!(kind, Kind::Unreachable | Kind::Timeout | Kind::Nothing);
        Error { kind, code, message: message.into(), hint: None, retryable }
    }

    /// Adds the next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Something unexpected.
    #[must_use]
    pub fn failure(message: impl Into<String>) -> Self {
        Error::new(Kind::Failure, "failure", message)
    }

    /// No such task.
    #[must_use]
    pub fn no_task(id: impl std::fmt::Display) -> Self {
        Error::new(Kind::NotFound, "not_found", format!("there is no task {id}"))
            .hint("`orch list` shows the tasks that are known here; `orch sync` fetches others")
    }

    /// The operation does not fit the task.
    #[must_use]
    pub fn rejected(id: impl std::fmt::Display, why: &Rejected) -> Self {
        let message = format!("{id}: {why}");
        match why {
            Rejected::NotesRequired { .. } => Error::new(Kind::Usage, "notes_required", message),
            Rejected::NeedsItself => Error::new(Kind::Refused, "cycle", message),
            Rejected::Epoch { .. } | Rejected::Renewed { .. } => Error::new(Kind::Conflict, "moved", message),
            Rejected::TooLarge => Error::new(Kind::Refused, "too_large", message)
                .hint("shorten the text, or keep it in a file and name that (`--artifact`, `--file`)"),
            Rejected::Exists => Error::new(Kind::Conflict, "exists", message),
            _ => Error::new(Kind::Conflict, "conflict", message),
        }
    }
}

/// The result of a use case.
pub type Result<T> = std::result::Result<T, Error>;
