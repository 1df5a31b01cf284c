//! Gathering what the gates of a task look at.

use std::collections::BTreeSet;

use crate::protocol::dag::{Edges, cycle_through, show_cycle};
use crate::protocol::gates::{Gate, Surroundings, gates};
use crate::protocol::id::TaskId;
use crate::protocol::task::{Run, Status, Task};

use super::error::{Error, Result};
use super::queue::Queue;

/// The gates of a task with their verdicts.
pub(crate) fn look(q: &Queue, task: &Task, lapsed: bool) -> Result<Vec<Gate>> {
    Ok(gates(task, &gather(q, task, lapsed)?))
}

fn gather(q: &Queue, task: &Task, lapsed: bool) -> Result<Surroundings> {
    let err = |e| Error::from_store(&e);
    let needs = task
        .def()
        .needs
        .iter()
        .map(|need| Ok((need.clone(), q.store.status_of(need).map_err(err)?)))
        .collect::<Result<Vec<_>>>()?;
    let done_twin = match &task.def().idempotency_key {
        Some(key) => q.store.done_with_key(key).map_err(err)?.filter(|twin| twin != task.id()),
        None => None,
    };
    Ok(Surroundings {
        now: q.now(),
        paused: paused(q)?,
        needs,
        done_twin,
        cycle: cycle(q, task.id(), &task.def().needs)?,
        over_limit: over_limit(q, task)?,
        lapsed,
        problem: None,
    })
}

/// Why nothing may be claimed at all, if so.
pub(crate) fn paused(q: &Queue) -> Result<Option<String>> {
    if q.settings.queue.paused {
        return Ok(Some("the queue is paused (`queue.paused` in orch.yaml)".to_owned()));
    }
    if q.settings.queue.stop_on_failure {
        let failed = q.store.first_with_status(Status::Failed).map_err(|e| Error::from_store(&e))?;
        return Ok(failed.map(|id| format!("{id} has failed and `queue.stop_on_failure` is set")));
    }
    Ok(None)
}

/// The cycle of needs that runs through a task, as text.
pub(crate) fn cycle(q: &Queue, id: &TaskId, needs: &[TaskId]) -> Result<Option<String>> {
    if needs.is_empty() {
        return Ok(None);
    }
    let mut edges = Edges::new();
    let mut seen = BTreeSet::new();
    let mut open: Vec<TaskId> = needs.to_vec();
    while let Some(next) = open.pop() {
        if !seen.insert(next.clone()) {
            continue;
        }
        let further = q.store.needs_of(&next).map_err(|e| Error::from_store(&e))?;
        open.extend(further.iter().cloned());
        edges.insert(next, further);
    }
    Ok(cycle_through(id, needs, &edges).map(|path| show_cycle(&path)))
}

/// A limit of the queue that the task would exceed, as text.
fn over_limit(q: &Queue, task: &Task) -> Result<Option<String>> {
    let settings = &q.settings.queue;
    if settings.max_concurrent == 0 && settings.limits.is_empty() {
        return Ok(None);
    }
    let running = q.store.in_progress().map_err(|e| Error::from_store(&e))?;
    let others: Vec<&Task> = running.iter().filter(|other| other.id() != task.id()).collect();
    let max = settings.max_concurrent as usize;
    if max > 0 && others.len() >= max {
        return Ok(Some(format!(
            "{} tasks are in progress and `queue.max_concurrent` is {max}",
            others.len()
        )));
    }
    for key in keys(task) {
        let Some(limit) = settings.limits.get(&key).map(|limit| *limit as usize) else { continue };
        let count = others.iter().filter(|other| keys(other).contains(&key)).count();
        if count >= limit {
            return Ok(Some(format!("{count} tasks of `{key}` are in progress and its limit is {limit}")));
        }
    }
    Ok(None)
}

/// What limits count by: the agent type and every tag.
fn keys(task: &Task) -> BTreeSet<String> {
    let agent = match &task.def().run {
        Some(Run::Agent(name)) => Some(name.clone()),
        _ => None,
    };
    task.def().tags.iter().cloned().chain(agent).collect()
}
