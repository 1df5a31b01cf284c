//! Why a task is ready or not: every gate with its verdict, for `explain`, `claim` and `pick` alike.

use super::id::TaskId;
use super::task::{OnNeedFailed, Status, Task};
use super::time::Timestamp;
use super::transition::{max_attempts, status_word};

/// What the gates look at besides the task; gathered by the caller.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The reader's wall clock.
    pub now: Timestamp,
    /// Whether the queue is paused, and why.
    pub paused: Option<String>,
    /// Status of each need; `None` where no such task is known.
    pub needs: Vec<(TaskId, Option<Status>)>,
    /// A done task with the same idempotency key.
    pub done_twin: Option<TaskId>,
    /// A cycle of needs that the task is part of, as text.
    pub cycle: Option<String>,
    /// A limit of the queue that is reached, as text.
    pub over_limit: Option<String>,
    /// Whether the lease of a task in progress was judged stale.
    pub lapsed: bool,
    /// What is wrong with the task's file.
    pub problem: Option<String>,
}

/// One gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// Its name: `status`, `needs`, `not_before`, `queue`, `idempotency`, `cycle`, `limit`, `file`.
    pub name: &'static str,
    /// Whether it is open.
    pub open: bool,
    /// What it saw, in words.
    pub detail: String,
}

fn gate(name: &'static str, open: bool, detail: impl Into<String>) -> Gate {
    Gate { name, open, detail: detail.into() }
}

/// All gates of a task. It can be claimed if every one is open.
#[must_use]
pub fn gates(task: &Task, around: &Surroundings) -> Vec<Gate> {
    let mut all = vec![status_gate(task, around)];
    all.extend(around.needs.iter().map(|(need, status)| need_gate(task, need, *status)));
    all.push(not_before_gate(task, around.now));
    all.push(match &around.paused {
        Some(why) => gate("queue", false, why.clone()),
        None => gate("queue", true, "the queue is not paused"),
    });
    all.push(match &around.done_twin {
        Some(twin) => gate("idempotency", false, format!("{twin} is done and has the same idempotency key")),
        None => gate("idempotency", true, "no done task has the same key"),
    });
    all.extend(
        around.cycle.iter().map(|path| gate("cycle", false, format!("its needs form a cycle: {path}"))),
    );
    all.extend(around.over_limit.iter().map(|limit| gate("limit", false, limit.clone())));
    all.extend(around.problem.iter().map(|problem| gate("file", false, problem.clone())));
    all
}

/// Whether every gate is open.
#[must_use]
pub fn ready(gates: &[Gate]) -> bool {
    gates.iter().all(|gate| gate.open)
}

fn status_gate(task: &Task, around: &Surroundings) -> Gate {
    match task.lease() {
        Some(lease) if around.lapsed && task.attempt() >= max_attempts(task) => gate(
            "status",
            false,
            format!("the lease of {} lapsed and all attempts are used up: recovery ends it", lease.session),
        ),
        Some(lease) if around.lapsed => {
            gate("status", true, format!("the lease of {} (epoch {}) lapsed", lease.session, lease.epoch))
        }
        Some(lease) => gate("status", false, format!("held by {} (epoch {})", lease.session, lease.epoch)),
        None => {
            let status = task.status();
            gate("status", status == Status::Pending, format!("it is {}", status_word(status)))
        }
    }
}

/// Whether a need no longer holds its dependant back.
#[must_use]
pub fn need_met(status: Option<Status>, rule: OnNeedFailed) -> bool {
    match status {
        Some(Status::Done) => true,
        Some(Status::Failed | Status::Cancelled) => rule == OnNeedFailed::Run,
        _ => false,
    }
}

fn need_gate(task: &Task, need: &TaskId, status: Option<Status>) -> Gate {
    let open = need_met(status, task.def().on_need_failed);
    match status {
        Some(status) => gate("needs", open, format!("{need} is {}", status_word(status))),
        None => gate("needs", open, format!("{need} is not known here: add it, or edit the needs")),
    }
}

fn not_before_gate(task: &Task, now: Timestamp) -> Gate {
    match task.def().not_before {
        Some(start) if start > now => {
            let wait = std::time::Duration::from_secs(start.since(now).as_secs().max(1));
            gate("not_before", false, format!("it may start in {}", super::time::format_span(wait)))
        }
        _ => gate("not_before", true, "no waiting time"),
    }
}
