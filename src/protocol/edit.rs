//! What a person may change in a task file by hand, and what that means as an operation.

use super::op::Patch;
use super::task::{State, Task};
use super::transition::{Rejected, replay};

/// Why an edited file is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForbiddenEdit {
    /// A field that only commands change.
    #[error("`{field}` cannot be edited by hand: {instead}")]
    Field {
        /// The key in the file.
        field: &'static str,
        /// Which command does it.
        instead: &'static str,
    },
    /// The log was changed.
    #[error("the history was edited (operation {position}: {why}); it is the audit log and only grows")]
    History {
        /// Position of the first operation that does not fit, counted from 1.
        position: usize,
        /// Why it does not fit.
        why: Rejected,
    },
    /// An operation that no command made.
    #[error(
        "the history was edited (operation {position}, `{verb}`, is not known here); commands make operations"
    )]
    Unknown {
        /// Position, counted from 1.
        position: usize,
        /// What it says.
        verb: &'static str,
    },
    /// An operation differs from the one that is known under its id.
    #[error("the history was edited (operation {position} differs from what was recorded)")]
    Tampered {
        /// Position, counted from 1.
        position: usize,
    },
}

impl ForbiddenEdit {
    /// The key at fault, to point at a line of the file.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            ForbiddenEdit::Field { field, .. } => field,
            ForbiddenEdit::History { .. }
            | ForbiddenEdit::Unknown { .. }
            | ForbiddenEdit::Tampered { .. } => "history",
        }
    }
}

/// What an edited file means: the task as its own history tells it, and the edit on top, if any.
///
/// `known` is the newest version that git knows; its operations must stand in the file unchanged.
/// Operations that the file lacks are no fault of the editor: the caller replays them.
///
/// # Errors
/// [`ForbiddenEdit`] when anything but the definition was changed.
pub fn interpret(edited: &Task, known: Option<&Task>) -> Result<(Task, Option<Patch>), ForbiddenEdit> {
    check_known(edited, known)?;
    let mut told = replay(edited.id(), edited.history())
        .map_err(|(at, why)| ForbiddenEdit::History { position: at + 1, why })?;
    let field = |field, instead| Err(ForbiddenEdit::Field { field, instead });
    if edited.status() != told.status() {
        return field("status", "use `orch claim`, `done`, `fail`, `block`, `cancel` or `retry`");
    }
    if edited.epoch != told.epoch {
        return field("epoch", "`orch claim` raises it");
    }
    if edited.attempt != told.attempt {
        return field("attempt", "`orch claim` counts it, `orch retry` starts again");
    }
    if edited.result != told.result {
        return field("result", "use `orch done`, `orch fail` or `orch note`");
    }
    if let (State::InProgress(mine), State::InProgress(theirs)) = (&edited.state, &mut told.state) {
        let same_lease = mine.session == theirs.session
            && mine.machine == theirs.machine
            && mine.epoch == theirs.epoch
            && mine.ttl == theirs.ttl
            && mine.acquired_at == theirs.acquired_at
            && mine.process == theirs.process;
        // Nothing is said about `renewed_at` and `acquired_at`: somebody may have set the clock in between.
        let whole = mine.expires_at == mine.renewed_at.after(mine.ttl);
        if !same_lease || !whole {
            return field("lease", "use `orch claim`, `orch heartbeat` or `orch release`");
        }
        *theirs = mine.clone();
    }
    let patch = Patch::between(&told.def, &edited.def);
    Ok((told, patch))
}

/// Whether every operation of an edited file is one that is known: only commands add to a history.
///
/// # Errors
/// [`ForbiddenEdit::Unknown`] for the first one that is not.
pub fn adds_nothing(edited: &Task, known: &Task) -> Result<(), ForbiddenEdit> {
    let added = edited.history.iter().position(|op| !known.has_op(op));
    let Some(at) = added else { return Ok(()) };
    Err(ForbiddenEdit::Unknown { position: at + 1, verb: edited.history[at].action.verb() })
}

fn check_known(edited: &Task, known: Option<&Task>) -> Result<(), ForbiddenEdit> {
    let Some(known) = known else { return Ok(()) };
    let recorded: std::collections::HashMap<_, _> = known.history.iter().map(|op| (op.id, op)).collect();
    for (at, op) in edited.history.iter().enumerate() {
        if recorded.get(&op.id).is_some_and(|known| *known != op) {
            return Err(ForbiddenEdit::Tampered { position: at + 1 });
        }
    }
    Ok(())
}
