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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::task::Definition;
    use crate::usecase::claim::{self, Terms};
    use crate::usecase::error::Kind;
    use crate::usecase::holder;
    use crate::usecase::testing::{Yard, claim, id};

    fn add(q: &mut Queue, name: &str, tag: &str, run: Option<Run>) {
        let def =
            Definition { title: name.to_owned(), tags: vec![tag.to_owned()], run, ..Default::default() };
        crate::usecase::add::add(q, Some(id(name)), def).unwrap();
    }

    fn held_back(q: &mut Queue, name: &str, why: &str) {
        let told = claim::claim(q, &id(name), &Terms::default()).unwrap_err();
        assert_eq!((told.kind, told.code), (Kind::Conflict, "not_ready"), "{told}");
        assert!(told.message.contains(why), "{told}");
    }

    fn pick(q: &mut Queue) -> Option<String> {
        match claim::pick(q, &Terms::default()) {
            Ok(claimed) => Some(claimed.task.id().to_string()),
            Err(error) => {
                assert_eq!((error.kind, error.code), (Kind::Nothing, "nothing_ready"), "{error}");
                None
            }
        }
    }

    /// The queue of a machine that bears two tasks at once.
    #[test]
    fn no_more_tasks_are_in_progress_than_the_queue_allows() {
        let yard = Yard::local();
        let mut q = yard.queue("a");
        for name in ["A", "B", "C"] {
            add(&mut q, name, "x", None);
        }
        q.settings.queue.max_concurrent = 2;
        claim(&mut q, "A");
        claim(&mut q, "B");
        held_back(&mut q, "C", "queue.max_concurrent");
        assert_eq!(pick(&mut q), None);
        holder::release(&mut q, &id("A"), None, None, None).unwrap();
        claim(&mut q, "C");
        held_back(&mut q, "A", "queue.max_concurrent");
    }

    /// A limit per tag or agent type: of what it counts no more than that, and of everything else as much as there is.
    #[test]
    fn a_limit_of_a_tag_or_an_agent_type_holds_back_its_own_tasks_only() {
        let yard = Yard::local();
        let mut q = yard.queue("a");
        for (name, tag) in [("A", "x"), ("B", "x"), ("D", "y"), ("E", "y")] {
            add(&mut q, name, tag, None);
        }
        add(&mut q, "C", "z", Some(Run::Agent("x".to_owned())));
        q.settings.queue.limits = [("x".to_owned(), 1), ("y".to_owned(), 9)].into();
        claim(&mut q, "A");
        held_back(&mut q, "B", "`x`");
        held_back(&mut q, "C", "`x`");
        let mut picked = [pick(&mut q), pick(&mut q)];
        picked.sort();
        assert_eq!(picked, [Some("D".to_owned()), Some("E".to_owned())]);
        assert_eq!(pick(&mut q), None);
        holder::release(&mut q, &id("A"), None, None, None).unwrap();
        claim(&mut q, "C");
        held_back(&mut q, "A", "`x`");
    }
}
