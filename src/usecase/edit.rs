//! Changing what a task says: edit, note, snooze.

use crate::protocol::id::TaskId;
use crate::protocol::op::{Action, Patch};
use crate::protocol::time::Timestamp;

use super::around;
use super::change::{self, Changed, Decision};
use super::error::{Error, Kind, Result};
use super::queue::Queue;

/// Changes fields of the definition.
///
/// # Errors
/// Refused (5) when a need would close a cycle, which is named; conflict (4) when the task has ended.
pub fn edit(q: &mut Queue, id: &TaskId, patch: &Patch) -> Result<Changed> {
    super::notice::look(q, std::slice::from_ref(id))?;
    if *patch == Patch::default() {
        return Err(
            Error::new(Kind::Usage, "usage", "nothing to change").hint("`orch edit --help` lists the fields")
        );
    }
    if let Some(needs) = &patch.needs
        && let Some(path) = around::cycle(q, id, needs)?
    {
        return Err(cycle(&path));
    }
    change::edit(q, id, &mut |_, _| Ok(Decision::Do(Action::Edit(Box::new(patch.clone())))))
}

/// The error for needs that would close a cycle.
pub(crate) fn cycle(path: &str) -> Error {
    Error::new(Kind::Refused, "cycle", format!("these needs would form a cycle: {path}"))
        .hint("leave out one of these needs")
}

/// Says something about a task.
///
/// # Errors
/// Conflict (4) when the task has ended.
pub fn note(q: &mut Queue, id: &TaskId, text: &str) -> Result<Changed> {
    super::notice::look(q, std::slice::from_ref(id))?;
    if text.trim().is_empty() {
        return Err(Error::new(Kind::Usage, "usage", "the note is empty"));
    }
    change::edit(q, id, &mut |_, _| Ok(Decision::Do(Action::Note { text: text.to_owned() })))
}

/// Puts a task off; `None` ends the snooze.
///
/// # Errors
/// Conflict (4) when the task has ended.
pub fn snooze(q: &mut Queue, id: &TaskId, until: Option<Timestamp>) -> Result<Changed> {
    super::notice::look(q, std::slice::from_ref(id))?;
    change::edit(q, id, &mut |_, _| Ok(Decision::Do(Action::Snooze { until })))
}
