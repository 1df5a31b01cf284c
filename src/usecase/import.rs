//! Taking tasks over from a file: whole tasks, definitions, or a Markdown queue table.
//!
//! Everything is read and checked before anything is written, and what is here already is left alone, so
//! that importing the same file again adds nothing.

mod draft;
mod lines;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::protocol::dag::{Edges, show_cycle};
use crate::protocol::id::TaskId;
use crate::protocol::op::Role;
use crate::protocol::task::Task;
use crate::store::place::Place;
use crate::store::tasks::{FileState, Publish};
use crate::sync::whole;

use super::error::{Error, Kind, Result};
use super::graph;
use super::queue::Queue;
use draft::Draft;

const LOCK_WAIT: Duration = Duration::from_secs(10);
/// Tasks that are written with one sync of the file system; as many locks are held meanwhile.
const BATCH: usize = 200;
/// Complaints about a file that are shown at once.
const SHOWN: usize = 20;

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON document per line: a task with its history, or a definition.
    Jsonl,
    /// A Markdown text with a queue table.
    Markdown,
}

/// The format of a file, by its name or else by how it begins.
#[must_use]
pub fn format_of(name: &str, text: &str) -> Format {
    let text = plain(text);
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    match ending.as_deref() {
        Some("md" | "markdown") => Format::Markdown,
        Some("jsonl" | "ndjson" | "json") => Format::Jsonl,
        _ if text.trim_start().starts_with('{') => Format::Jsonl,
        _ => Format::Markdown,
    }
}

/// The text without the byte order mark that some editors put in front of it.
fn plain(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// What an import did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// Tasks that were added.
    pub imported: Vec<TaskId>,
    /// Tasks that were here already.
    pub skipped: Vec<TaskId>,
    /// Whether other machines can see them.
    pub published: bool,
}

/// Imports a file. What was not understood of a row is kept in a note of its task and reported as a notice.
///
/// # Errors
/// Refused (5) with line numbers when the file cannot be read or its needs form a cycle, and then nothing
/// was imported; unreachable (75) when decisions of other queues must be shared and cannot be.
pub fn import(q: &mut Queue, format: Format, text: &str) -> Result<Imported> {
    let role = q.role;
    q.role = Role::Source;
    let result = import_as_source(q, format, plain(text));
    q.role = role;
    result
}

fn import_as_source(q: &mut Queue, format: Format, text: &str) -> Result<Imported> {
    super::notice::look_at_all(q)?;
    let drafts = match format {
        Format::Jsonl => lines::read(q, text),
        Format::Markdown => rows::read(q, text),
    };
    let drafts = drafts.and_then(|drafts| distinct(&drafts).map(|()| drafts)).map_err(malformed)?;
    let mut report = Imported::default();
    let mut fresh = Vec::new();
    for draft in drafts {
        match known(q, &draft)? {
            Some(id) => report.skipped.push(id),
            None => {
                for remark in &draft.remarks {
                    q.warn(format!("line {}: {}: {remark}", draft.line, draft.task.id()));
                }
                fresh.push(draft.task);
            }
        }
    }
    no_cycles(q, &fresh)?;
    unknown_needs(q, &fresh)?;
    write(q, fresh, &mut report)?;
    report.published = q.settle()?;
    Ok(report)
}

/// A line of the file and what is wrong with it.
type Complaint = (usize, String);

fn malformed(complaints: Vec<Complaint>) -> Error {
    let count = complaints.len();
    let mut lines: Vec<String> =
        complaints.into_iter().take(SHOWN).map(|(line, what)| format!("line {line}: {what}")).collect();
    if count > SHOWN {
        lines.push(format!("… and {} more", count - SHOWN));
    }
    Error::new(Kind::Refused, "invalid", lines.join("\n"))
        .hint("nothing was imported; correct the file and import it again")
}

/// No id twice within the file.
fn distinct(drafts: &[Draft]) -> std::result::Result<(), Vec<Complaint>> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for draft in drafts {
        if let Some(line) = seen.insert(draft.task.id().folded(), draft.line) {
            wrong.push((draft.line, format!("the id {} stands in line {line} already", draft.task.id())));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// The task that is here already for a draft: the same id, or the same idempotency key.
fn known(q: &mut Queue, draft: &Draft) -> Result<Option<TaskId>> {
    let id = draft.task.id();
    if let Some(taken) = q.store.taken(&q.world, id).map_err(|e| Error::from_store(&e))? {
        if let Ok(here) = q.load(&taken)
            && let Some(difference) = draft.differs(&here)
        {
            q.warn(format!("line {}: {id} exists already {difference}; it was left as it is", draft.line));
        }
        return Ok(Some(taken));
    }
    let Some(key) = draft.task.def().idempotency_key.as_ref().filter(|_| !draft.whole) else {
        return Ok(None);
    };
    q.store.with_key(key).map_err(|e| Error::from_store(&e))
}

/// Refuses a file whose tasks would close a cycle of needs.
fn no_cycles(q: &Queue, fresh: &[Task]) -> Result<()> {
    let new: BTreeSet<&TaskId> = fresh.iter().map(Task::id).collect();
    let mut edges: Edges = q.store.edges().map_err(|e| Error::from_store(&e))?.into_iter().collect();
    edges.extend(fresh.iter().map(|task| (task.id().clone(), task.def().needs.clone())));
    match graph::cycles(&edges).into_iter().find(|path| path.iter().any(|id| new.contains(id))) {
        Some(path) => Err(super::edit::cycle(&show_cycle(&path))),
        None => Ok(()),
    }
}

fn unknown_needs(q: &mut Queue, fresh: &[Task]) -> Result<()> {
    let new: BTreeSet<String> = fresh.iter().map(|task| task.id().folded()).collect();
    for task in fresh.iter().filter(|task| !task.status().is_terminal()) {
        for need in task.def().needs.iter().filter(|need| !new.contains(&need.folded())) {
            if q.store.status_of(need).map_err(|e| Error::from_store(&e))?.is_none() {
                let id = task.id();
                q.warn(format!(
                    "{id} needs {need}, which is not known here; it waits until that is added and done"
                ));
            }
        }
    }
    Ok(())
}

/// Writes what is new. In a shared queue, decisions about a status go to the branch first: there they are
/// either all in or none is.
fn write(q: &mut Queue, fresh: Vec<Task>, report: &mut Imported) -> Result<()> {
    let decided = |task: &Task| task.history().iter().any(|op| op.action.based_on().is_some());
    let (through_branch, mut plain): (Vec<Task>, Vec<Task>) =
        fresh.into_iter().partition(|task| q.is_shared() && decided(task));
    if !through_branch.is_empty() {
        if q.no_sync {
            return Err(Error::new(
                Kind::Refused,
                "no_sync",
                "the file holds tasks that were claimed or have ended; in a shared queue only the remote can \
                 take them, and --no-sync forbids asking it",
            )
            .hint("run the command without --no-sync"));
        }
        let taken = whole::add(&q.cx(), &through_branch).map_err(|e| Error::from_sync(&e))?;
        for task in &through_branch {
            let list = if taken.contains(task.id()) { &mut report.skipped } else { &mut report.imported };
            list.push(task.id().clone());
        }
    }
    // In one order everywhere, so that two imports at once never wait for each other's locks in a circle.
    plain.sort_by_key(|task| task.id().folded());
    for batch in plain.chunks(BATCH) {
        write_batch(q, batch, report)?;
    }
    Ok(())
}

fn write_batch(q: &mut Queue, batch: &[Task], report: &mut Imported) -> Result<()> {
    let mut guards = Vec::with_capacity(batch.len());
    let mut files = Vec::with_capacity(batch.len());
    for task in batch {
        let id = task.id();
        guards.push(q.store.lock_task(&q.world, id, LOCK_WAIT).map_err(|e| Error::from_store(&e))?);
        let absent =
            matches!(q.store.read(&q.world, id).map_err(|e| Error::from_store(&e))?, FileState::Absent);
        if absent {
            report.imported.push(id.clone());
            files.push((task.clone(), Place::Tasks, Publish::Waiting));
        } else {
            report.skipped.push(id.clone());
        }
    }
    q.store.write_many(&q.world, &files).map_err(|e| Error::from_store(&e))?;
    drop(guards);
    Ok(())
}
