//! `audit`: walks the whole history of the shared branch and checks what SPEC §14 promises.
//!
//! The branch is a witness: every commit is a step of every task that it changes, so each step is compared with
//! the one before. Only what a commit changed is read.

mod here;
mod steps;

use crate::protocol::id::TaskId;
use crate::sync::chain;
use crate::sync::context::SyncError;
use crate::sync::names::TRACKING_BRANCH;
use crate::world::Oid;

use super::change;
use super::error::{Error, Result};
use super::queue::Queue;

/// A broken promise, or something on the branch that orch did not put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Number of the promise in SPEC §14; `None` for a foreign commit.
    pub promise: Option<u8>,
    /// The task, if it is about one.
    pub task: Option<TaskId>,
    /// The commit in which it was seen, as hexadecimal digits.
    pub commit: Option<String>,
    /// What was seen.
    pub what: String,
}

/// What an audit found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// Whether every promise was kept.
    pub ok: bool,
    /// Commits of the branch that were walked.
    pub commits: usize,
    /// Tasks that were seen.
    pub tasks: usize,
    /// Different operations that were seen, on the branch and on lease refs.
    pub operations: usize,
    /// What was found, oldest first.
    pub problems: Vec<Problem>,
}

/// Audits the shared branch after a fetch (or, without a remote, the local one), the lease refs, and the files of
/// this machine. `progress` is told how many of how many commits are done.
///
/// # Errors
/// Unreachable (75) when the remote cannot be asked; failure (1) when history cannot be read.
pub fn audit(q: &mut Queue, progress: &mut dyn FnMut(usize, usize)) -> Result<Audit> {
    let mut found = Found::default();
    if q.is_shared() && !q.no_sync {
        match change::fetch_now(q) {
            Ok(_) => {}
            Err(SyncError::Rewound(text)) => found.problem(4, None, None, text),
            Err(error) => return Err(Error::from_sync(&error)),
        }
    }
    let branch = if q.is_shared() { TRACKING_BRANCH } else { &q.names.branch };
    let tip = q.world.objects.get_ref(branch).map_err(|e| Error::from_sync(&e.into()))?;
    let links = match tip {
        Some(tip) => chain::links(&*q.world.objects, tip).map_err(|e| Error::from_sync(&e.into()))?,
        None => Vec::new(),
    };
    let mut steps = steps::Steps::default();
    for (at, link) in links.iter().enumerate() {
        steps.commit(q, link, &mut found)?;
        progress(at + 1, links.len());
    }
    steps.leases(q, &mut found)?;
    here::compare(q, &steps, &mut found)?;
    Ok(Audit {
        ok: found.problems.is_empty(),
        commits: links.len(),
        tasks: steps.tasks(),
        operations: steps.operations(),
        problems: found.problems,
    })
}

/// Problems as they are met.
#[derive(Default)]
struct Found {
    problems: Vec<Problem>,
}

impl Found {
    fn problem(&mut self, promise: u8, task: Option<&TaskId>, commit: Option<Oid>, what: impl Into<String>) {
        self.add(Some(promise), task, commit, what.into());
    }

    fn foreign(&mut self, commit: Oid, what: impl Into<String>) {
        self.add(None, None, Some(commit), what.into());
    }

    fn add(&mut self, promise: Option<u8>, task: Option<&TaskId>, commit: Option<Oid>, what: String) {
        let commit = commit.map(|oid| oid.to_string());
        self.problems.push(Problem { promise, task: task.cloned(), commit, what });
    }
}

#[cfg(test)]
mod tests;
