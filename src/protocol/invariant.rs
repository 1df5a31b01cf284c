//! SPEC §14 as functions over files: what must hold for one task, and between two looks at it.

use std::collections::HashMap;

use super::op::{Action, Op};
use super::task::{Lease, State, Status, Task};
use super::transition::replay;

/// A broken promise: its number in SPEC §14 and what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Number of the promise.
    pub promise: u8,
    /// What was seen.
    pub what: String,
}

fn broken(promise: u8, what: impl Into<String>) -> Violation {
    Violation { promise, what: what.into() }
}

/// What must hold for one task by itself: promises 1, 2, 5 and 6.
#[must_use]
pub fn check(task: &Task) -> Vec<Violation> {
    let mut found = Vec::new();
    match replay(task.id(), task.history()) {
        Err((at, why)) => found.push(broken(6, format!("operation {at} of the history does not fit: {why}"))),
        Ok(replayed) => found.extend(differs(task, &replayed)),
    }
    found.extend(epochs(task.history()));
    found
}

/// What must hold between an older and a newer sight of one task: epochs and histories only grow
/// (promises 1, 4, 6), and `done` is final (promise 5).
#[must_use]
pub fn check_progress(before: &Task, after: &Task) -> Vec<Violation> {
    let mut found = Vec::new();
    if after.epoch() < before.epoch() {
        found.push(broken(1, format!("the epoch fell from {} to {}", before.epoch(), after.epoch())));
    }
    let lost: Vec<String> = super::merge::missing(after, before).map(|op| op.id.to_string()).collect();
    if !lost.is_empty() {
        found.push(broken(4, format!("operations vanished: {}", lost.join(", "))));
    }
    if before.status() == Status::Done && after.status() != Status::Done {
        found.push(broken(5, "a done task is not done any more"));
    }
    found
}

/// How the file's state differs from the replay of its history; heartbeats inside the lease aside.
fn differs(task: &Task, replayed: &Task) -> Option<Violation> {
    let field = if task.def != replayed.def {
        "the definition"
    } else if task.attempt != replayed.attempt {
        "`attempt`"
    } else if task.epoch != replayed.epoch {
        "`epoch`"
    } else if task.result != replayed.result {
        "`result`"
    } else if without_beats(&task.state) != without_beats(&replayed.state) {
        "`status` or `lease`"
    } else {
        return None;
    };
    Some(broken(6, format!("{field} differs from the replay of the history")))
}

fn without_beats(state: &State) -> State {
    match state {
        State::InProgress(lease) => State::InProgress(Lease {
            beat: 0,
            renewed_at: lease.acquired_at,
            expires_at: lease.acquired_at,
            progress: None,
            ..lease.clone()
        }),
        other => other.clone(),
    }
}

/// Promises 1 and 5 over a history: each epoch is claimed once and ended at most once.
fn epochs(history: &[Op]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut claimed: HashMap<u64, String> = HashMap::new();
    let mut ended: HashMap<u64, &'static str> = HashMap::new();
    let mut highest = 0;
    for op in history {
        match &op.action {
            Action::Claim { epoch, .. } => {
                if *epoch <= highest {
                    found.push(broken(1, format!("epoch {epoch} was claimed after epoch {highest}")));
                }
                highest = highest.max(*epoch);
                if let Some(other) = claimed.insert(*epoch, op.by.clone()) {
                    found.push(broken(1, format!("{other} and {} both hold epoch {epoch}", op.by)));
                }
            }
            Action::Done { epoch, .. } | Action::Fail { epoch, .. } | Action::Release { epoch, .. } => {
                if let Some(other) = ended.insert(*epoch, op.action.verb()) {
                    found.push(broken(
                        5,
                        format!("epoch {epoch} ended twice ({other}, {})", op.action.verb()),
                    ));
                }
            }
            _ => {}
        }
    }
    found
}
