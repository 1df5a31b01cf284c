//! A task as it would be imported, made by the same transitions as every other.

use crate::protocol::id::TaskId;
use crate::protocol::op::Action;
use crate::protocol::task::{Definition, Reason, Review, Status, Task};
use crate::protocol::transition::{DEFAULT_MAX_ATTEMPTS, next};
use crate::store::codec;
use crate::usecase::queue::Queue;

/// A task that is ready to be written.
pub(super) struct Draft {
    /// Line of the file, from 1.
    pub line: usize,
    /// The task.
    pub task: Task,
    /// Whether the file told its history.
    pub whole: bool,
    /// What was not understood, for a person.
    pub remarks: Vec<String>,
}

impl Draft {
    /// How a task of the same id differs, in words; `None` if it is the same one.
    pub(super) fn differs(&self, here: &Task) -> Option<&'static str> {
        let (theirs, ours) = (self.task.history(), here.history());
        if self.whole {
            // The same task may have moved on, here or where the file comes from.
            let same = theirs.first().map(|op| op.id) == ours.first().map(|op| op.id);
            return match same {
                true if theirs.iter().all(|op| here.has_op(op)) => None,
                true => Some("and has not seen all operations that the file tells of"),
                false => Some("with another history"),
            };
        }
        (self.task.def().title != here.def().title).then_some("with another title")
    }
}

/// Where an imported task shall stand, with what was said about it.
pub(super) struct Wish {
    /// The status; [`Status::InProgress`] cannot be wished for.
    pub status: Status,
    /// Everything that has no field of its own.
    pub note: Option<String>,
}

/// Makes a task from a definition and brings it to its status.
pub(super) fn fresh(q: &Queue, id: &TaskId, mut def: Definition, wish: &Wish) -> Result<Task, String> {
    def.needs.sort();
    def.needs.dedup();
    def.tags.sort();
    def.tags.dedup();
    if def.title.trim().is_empty() {
        return Err("a task needs a title".to_owned());
    }
    if wish.status == Status::InReview {
        def.review = Review::Required;
    }
    let default = q.settings().retry.max_attempts;
    if def.retry.max_attempts.is_none() && default != DEFAULT_MAX_ATTEMPTS {
        // The rule that decides about further attempts must be in the file: every machine replays it alike.
        def.retry.max_attempts = Some(default);
    }
    let mut actions = vec![Action::Add(Box::new(def))];
    actions.extend(note(wish).map(|text| Action::Note { text }));
    actions.extend(to_status(q, wish.status));
    let mut task: Option<Task> = None;
    for action in actions {
        task = Some(next(task.as_ref(), id, &q.op(action)).map_err(|why| why.to_string())?);
    }
    let task = task.ok_or("nothing was told about it")?;
    checked(task)
}

/// What there is to note. A table that was exported here tells of an earlier import already; saying that once
/// more at every turn would let the notes grow for ever.
fn note(wish: &Wish) -> Option<String> {
    let said = said(wish.status);
    let lines: Vec<&str> = wish.note.as_deref()?.lines().filter(|line| *line != said).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// The notes of an end that was imported.
fn said(status: Status) -> String {
    format!("imported as {}", crate::protocol::transition::status_word(status))
}

/// The operations that lead from a new task to a status.
fn to_status(q: &Queue, status: Status) -> Vec<Action> {
    let said = || said(status);
    let claim =
        || Action::Claim { base: 0, epoch: 1, ttl: q.settings().lease.ttl, process: None, over: None };
    match status {
        Status::Pending | Status::InProgress => Vec::new(),
        Status::Blocked => vec![Action::Block { epoch: 0, notes: said() }],
        Status::Cancelled => vec![Action::Cancel { epoch: 0, notes: said() }],
        Status::Done | Status::InReview => {
            vec![claim(), Action::Done { epoch: 1, notes: said(), artifacts: Vec::new(), bundle: None }]
        }
        Status::Failed => vec![
            claim(),
            Action::Fail {
                epoch: 1,
                reason: Reason::Error,
                notes: said(),
                permanent: true,
                retry_at: None,
                bundle: None,
            },
        ],
    }
}

/// Makes sure that the file of a task can be read again, bounds included.
pub(super) fn checked(task: Task) -> Result<Task, String> {
    let bytes = codec::encode(&task);
    let read = codec::decode(&bytes).map_err(|problem| problem.message)?;
    if read.task == task { Ok(task) } else { Err("it cannot be written in the task format".to_owned()) }
}
