//! Commit messages: one line for people, trailers for `git log --format` and for the audit.

use crate::protocol::id::TaskId;
use crate::protocol::op::{Op, Role};
use crate::protocol::task::Task;

/// Author name of a commit: a name without what git or a terminal would misread.
#[must_use]
pub fn author(by: &str) -> String {
    let clean: String = by.chars().filter(|c| !c.is_control() && !matches!(c, '<' | '>')).collect();
    if clean.trim().is_empty() { "orch".to_owned() } else { clean }
}

/// Message of a commit on a lease ref. The id makes every object unique: two agents that do the same in the
/// same second never produce the same commit.
#[must_use]
pub fn for_lease(task: &Task, op: &Op) -> String {
    format!("{} {} (epoch {}) [skip ci]\n\n{}", op.action.verb(), task.id(), task.epoch(), trailers(op))
}

/// Message of a commit on the state branch.
#[must_use]
pub fn for_branch(ops: &[(String, Op)]) -> String {
    let subject = match ops {
        [] => "settings [skip ci]".to_owned(),
        [(id, op)] => format!("{} {id} [skip ci]", op.action.verb()),
        many => format!("{} operations [skip ci]", many.len()),
    };
    let mut text = format!("{subject}\n");
    if ops.len() > 1 {
        for (id, op) in ops.iter().take(200) {
            text.push_str(&format!("\n{} {id}", op.action.verb()));
        }
        text.push('\n');
    }
    text.push('\n');
    for (_, op) in ops.iter().take(200) {
        text.push_str(&trailers(op));
    }
    text
}

/// Message of a commit that moves ended tasks to the archive. The dice tell it from the commit of another machine
/// that does the same in the same second.
#[must_use]
pub fn for_archive(ids: &[TaskId], dice: [u8; 16]) -> String {
    let subject = match ids {
        [id] => format!("archive {id}"),
        many => format!("archive {} tasks", many.len()),
    };
    let token: String = dice.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{subject} [skip ci]\n\nOrch-Archive: {token}\n")
}

fn trailers(op: &Op) -> String {
    let by = author(&op.by);
    let role = match op.role {
        Role::Author => "Author",
        Role::Reviewer => "Reviewer",
        Role::Source => "Source",
    };
    format!("Orch-Op: {}\n{role}: {by}\n", op.id)
}
