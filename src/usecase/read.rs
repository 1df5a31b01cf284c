//! Looking at tasks: list, show, explain, resume.

use crate::protocol::gates::{Gate, ready};
use crate::protocol::id::TaskId;
use crate::protocol::op::{Action, Op};
use crate::protocol::task::{Reason, Task};
use crate::protocol::time::Timestamp;
use crate::protocol::value::Value;
use crate::store::codec;
pub use crate::store::index::Filter;

use crate::sync::shared;

use super::error::{Error, Kind, Result};
use super::queue::{Queue, quarantined};
use super::{around, watch};

/// Tasks that match, in the order of the queue, without their history. While the queue is paused none is ready.
///
/// # Errors
/// The index cannot be read.
pub fn list(q: &mut Queue, filter: &Filter) -> Result<Vec<Task>> {
    if filter.ready.is_some()
        && let Some(why) = around::paused(q)?
    {
        q.warn(why);
        return Ok(Vec::new());
    }
    q.store.list(filter).map_err(|e| Error::from_store(&e))
}

/// One task with its history.
///
/// # Errors
/// Not found (3); damaged (8) when its file is quarantined.
pub fn show(q: &mut Queue, id: &TaskId) -> Result<Task> {
    super::notice::look(q, std::slice::from_ref(id))?;
    if let Some(problem) = q.store.problem_of(id).map_err(|e| Error::from_store(&e))? {
        return Err(quarantined(problem));
    }
    let task = q.load(id)?;
    if let Some(path) = archived(q, id)? {
        q.warn(format!("{id} is archived: {path}"));
    }
    Ok(task)
}

/// Where the file of a task lies in the archive, relative to the state directory; `None` if it is not there.
///
/// # Errors
/// The index cannot be read.
pub fn archived(q: &Queue, id: &TaskId) -> Result<Option<String>> {
    let place = q.store.place(id).map_err(|e| Error::from_store(&e))?;
    Ok(place.month().map(|_| place.tree_path(id)))
}

/// What `show` has to show.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    /// A task.
    Task(Box<Task>),
    /// What a newer version of orch wrote, key by key. This one must not write it.
    Newer(Value),
}

/// One task, also when only a newer version of orch knows what it means.
///
/// # Errors
/// As [`show`].
pub fn shown(q: &mut Queue, id: &TaskId) -> Result<Shown> {
    let error = match show(q, id) {
        Ok(task) => return Ok(Shown::Task(Box::new(task))),
        Err(error) if error.kind == Kind::Damaged => error,
        Err(error) => return Err(error),
    };
    let path = q.store.file(&q.world, id).map_err(|e| Error::from_store(&e))?;
    let here = q.world.disk.read(&path, codec::FILE_MAX as u64).ok();
    let tree = match here.as_deref().and_then(codec::peek) {
        Some(tree) => Some(tree),
        None => shared::raw(&q.cx(), id).map_err(|e| Error::from_sync(&e))?.as_deref().and_then(codec::peek),
    };
    let tree = tree.ok_or_else(|| error.clone())?;
    q.warn(error.message);
    Ok(Shown::Newer(tree))
}

/// Why a task can be claimed or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// The task.
    pub task: Task,
    /// Every gate with its verdict.
    pub gates: Vec<Gate>,
    /// Whether all are open.
    pub ready: bool,
}

/// Lists every gate of a task.
///
/// # Errors
/// As [`show`].
pub fn explain(q: &mut Queue, id: &TaskId) -> Result<Explained> {
    let task = show(q, id)?;
    let lapsed = match task.lease() {
        Some(lease) => watch::is_stale(q, &task, lease)?,
        None => false,
    };
    let gates = around::look(q, &task, lapsed)?;
    Ok(Explained { ready: ready(&gates), task, gates })
}

/// One earlier attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its epoch.
    pub epoch: u64,
    /// Who tried.
    pub session: String,
    /// On which machine.
    pub machine: String,
    /// When it began.
    pub from: Timestamp,
    /// When it ended, if it did.
    pub to: Option<Timestamp>,
    /// The word for how it ended: `done`, `fail`, `release`, `recover`, `cancel`, …
    pub ended: Option<&'static str>,
    /// Why it ended.
    pub reason: Option<Reason>,
    /// What was said at the end.
    pub notes: Option<String>,
    /// Digest of its bundle.
    pub bundle: Option<String>,
}

/// Something that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// What.
    pub text: String,
}

/// What a session needs to go on where another one stopped.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    /// The task.
    pub task: Task,
    /// Attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// Checkpoints, oldest first.
    pub checkpoints: Vec<Said>,
    /// Notes, oldest first.
    pub notes: Vec<Said>,
}

/// The context of a task, for a session that takes it over or starts again.
///
/// # Errors
/// As [`show`].
pub fn resume(q: &mut Queue, id: &TaskId) -> Result<Context> {
    let task = show(q, id)?;
    Ok(context(task))
}

/// The task that whoever asks holds, or else was in the middle of at its last checkpoint: what a session that was
/// started again goes on with.
///
/// # Errors
/// Nothing (6) when there is none, usage (2) when it holds several.
pub fn held_by_me(q: &mut Queue) -> Result<TaskId> {
    let running = q.store.in_progress().map_err(|e| Error::from_store(&e))?;
    let mine = |task: &&Task| task.lease().is_some_and(|lease| q.holds(lease));
    let held: Vec<&TaskId> = running.iter().filter(mine).map(Task::id).collect();
    match held.as_slice() {
        [one] => Ok((*one).clone()),
        [] if let Some(left) = q.store.session(&q.world, &q.session, &q.machine) => {
            let (id, epoch) = (left.task, left.epoch);
            q.warn(format!(
                "{} no longer holds {id}; it left a checkpoint there in epoch {epoch}",
                q.session
            ));
            Ok(id)
        }
        [] => Err(Error::new(Kind::Nothing, "holds_nothing", format!("{} holds no task", q.session))
            .hint("`orch sessions` shows what it did before, `orch pick` claims the next task")),
        many => {
            let names: Vec<&str> = many.iter().map(|id| id.as_str()).collect();
            let message = format!("{} holds {}", q.session, names.join(", "));
            Err(Error::new(Kind::Usage, "usage", message).hint("name the one that you want to go on with"))
        }
    }
}

/// The context that a task's history holds.
#[must_use]
pub fn context(task: Task) -> Context {
    let said = |op: &Op, text: &str| Said { at: op.at, by: op.by.clone(), text: text.to_owned() };
    let mut context = Context { attempts: Vec::new(), checkpoints: Vec::new(), notes: Vec::new(), task };
    for op in context.task.history() {
        match &op.action {
            Action::Claim { epoch, .. } => {
                end(&mut context.attempts, op, Some("claim"));
                context.attempts.push(Attempt {
                    epoch: *epoch,
                    session: op.by.clone(),
                    machine: op.machine.clone(),
                    from: op.at,
                    to: None,
                    ended: None,
                    reason: None,
                    notes: None,
                    bundle: None,
                });
            }
            Action::Checkpoint { note, .. } => context.checkpoints.push(said(op, note)),
            Action::Note { text } => context.notes.push(said(op, text)),
            action if action.based_on().is_some() => end(&mut context.attempts, op, None),
            _ => {}
        }
    }
    context
}

/// Closes the attempt that is open, if one is.
fn end(attempts: &mut [Attempt], op: &Op, verb: Option<&'static str>) {
    let Some(open) = attempts.last_mut().filter(|attempt| attempt.to.is_none()) else { return };
    open.to = Some(op.at);
    open.ended = Some(verb.unwrap_or(op.action.verb()));
    match &op.action {
        Action::Done { notes, bundle, .. } => {
            open.reason = Some(Reason::Success);
            open.notes = Some(notes.clone());
            open.bundle.clone_from(bundle);
        }
        Action::Fail { reason, notes, bundle, .. } => {
            open.reason = Some(*reason);
            open.notes = Some(notes.clone());
            open.bundle.clone_from(bundle);
        }
        Action::Release { reason, notes, .. } => {
            open.reason = *reason;
            open.notes.clone_from(notes);
        }
        Action::Recover { .. } | Action::Claim { .. } => open.reason = Some(Reason::LeaseLost),
        Action::Cancel { notes, .. } => {
            open.reason = Some(Reason::Cancelled);
            open.notes = Some(notes.clone());
        }
        Action::Block { notes, .. } | Action::Review { notes, .. } | Action::Replan { notes, .. } => {
            open.notes = Some(notes.clone());
        }
        _ => {}
    }
}
