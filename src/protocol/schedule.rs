//! Which ready task comes first.

use std::time::Duration;

use super::id::TaskId;
use super::task::{Priority, Task};
use super::time::Timestamp;

/// Sort key of a ready task; the smallest is picked first.
///
/// Priority after ageing, then due date (none comes last), then age, then id.
#[must_use]
pub fn order(task: &Task, now: Timestamp, ageing: Duration) -> (u8, i64, i64, TaskId) {
    let created = task.created_at();
    let due = task.def().due_at.map_or(i64::MAX, |due| due.0);
    (level(task.def().priority, now.since(created), ageing), due, created.0, task.id().clone())
}

/// The level of a task that has waited: one higher for each `ageing` that passed, so nothing starves.
/// An `ageing` of zero switches it off.
#[must_use]
pub fn level(priority: Priority, waited: Duration, ageing: Duration) -> u8 {
    let risen = if ageing.is_zero() { 0 } else { waited.as_millis() / ageing.as_millis().max(1) };
    (priority as u8).saturating_sub(u8::try_from(risen).unwrap_or(u8::MAX))
}
