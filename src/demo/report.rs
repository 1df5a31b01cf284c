//! What the rehearsal tells in the end.

use std::path::PathBuf;

use super::story::Story;

/// One part of the rehearsal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scene {
    /// Its title.
    pub title: String,
    /// What happened, one line each.
    pub lines: Vec<String>,
}

/// Something that must hold in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// What.
    pub what: String,
    /// Whether it does.
    pub held: bool,
    /// What was found.
    pub found: String,
}

/// What `orch audit` and `orch verify` said on one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The machine.
    pub machine: String,
    /// `audit` or `verify`.
    pub command: &'static str,
    /// Whether it found nothing wrong.
    pub ok: bool,
    /// What it found.
    pub problems: Vec<String>,
}

/// A command to try next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// The command line.
    pub command: String,
    /// What it shows.
    pub shows: &'static str,
}

/// Everything.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Where everything lies.
    pub dir: PathBuf,
    /// Whether the folder has been removed.
    pub removed: bool,
    /// What happened.
    pub scenes: Vec<Scene>,
    /// What became of each task.
    pub tasks: Vec<Story>,
    /// What had to hold.
    pub expectations: Vec<Expectation>,
    /// What the audits said.
    pub verdicts: Vec<Verdict>,
    /// What to try next.
    pub next: Vec<Next>,
}

impl Report {
    /// Whether every audit and every expectation holds. Nothing looked at is nothing shown.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.audit_holds() && !self.expectations.is_empty() && self.expectations.iter().all(|one| one.held)
    }

    /// Whether every audit holds.
    #[must_use]
    pub fn audit_holds(&self) -> bool {
        !self.verdicts.is_empty() && self.verdicts.iter().all(|one| one.ok)
    }
}
