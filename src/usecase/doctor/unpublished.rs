//! What this machine has and others have not: waiting operations, and those that were refused.

use crate::store::tasks::{FileState, Publish};
use crate::sync::{archive, files, rejected};
use crate::usecase::error::{Error, Result};
use crate::usecase::queue::Queue;
use crate::usecase::sync;

use super::{Check, Visit};

pub(super) fn check(q: &mut Queue, visit: &mut Visit) -> Result<()> {
    if q.is_shared() {
        waiting(q, visit)?;
        refused(q, visit)
    } else {
        uncommitted(q, visit)
    }
}

fn waiting(q: &mut Queue, visit: &mut Visit) -> Result<()> {
    const NAME: &str = "unpublished";
    let count = |q: &Queue| Ok(q.store.unpublished().map_err(|e| Error::from_store(&e))?.len());
    let mut left = count(q)?;
    if left > 0 && visit.request.repair && !q.no_sync {
        // Why it failed, if it did, the checks of the remote and the branch have said.
        let _ = sync::sync(q);
        let before = left;
        left = count(q)?;
        if left < before {
            visit.repaired(format!("{} tasks with waiting operations were published", before - left));
        }
    }
    visit.add(if left == 0 {
        Check::fine(NAME, "nothing waits to be published")
    } else {
        Check::fine(NAME, format!("{left} tasks hold operations that other machines cannot see yet"))
            .hint("`orch sync` publishes them")
    });
    Ok(())
}

fn refused(q: &mut Queue, visit: &mut Visit) -> Result<()> {
    const NAME: &str = "rejected";
    let all = rejected::all(&q.cx()).map_err(|e| Error::from_sync(&e))?;
    visit.add(match all.last() {
        None => Check::fine(NAME, "no operation was refused after the fact"),
        Some(last) => Check::fine(
            NAME,
            format!(
                "{} operations were refused after the fact, one of them {}: {}",
                all.len(),
                last.what(),
                last.reason
            ),
        )
        .hint("they are kept under .git/orch/rejected/ in the state directory; do again what still matters"),
    });
    Ok(())
}

/// Without a remote the local branch follows the files.
fn uncommitted(q: &mut Queue, visit: &mut Visit) -> Result<()> {
    const NAME: &str = "committed";
    let missing = not_on_branch(q)?;
    if !visit.request.repair || missing.is_empty() {
        let problems = missing.iter().map(|id| format!("{id} is not on the local branch")).collect();
        let check = Check::list(NAME, "the local branch holds every task", problems);
        visit.add(check.hint_if_wrong("`orch doctor --repair` commits them again from their files"));
        return Ok(());
    }
    for id in &missing {
        if let FileState::Task { task, .. } = q.store.read(&q.world, id).map_err(|e| Error::from_store(&e))? {
            q.store.mark(&q.world, &task, Publish::Waiting).map_err(|e| Error::from_store(&e))?;
        }
    }
    for path in files::SHARED {
        q.store.settle(path, "").map_err(|e| Error::from_store(&e))?;
    }
    q.settle_now()?;
    let left = not_on_branch(q)?;
    visit.repaired(format!("{} tasks were committed again from their files", missing.len() - left.len()));
    let problems = left.iter().map(|id| format!("{id} is not on the local branch")).collect();
    visit.add(Check::list(NAME, "the local branch holds every task", problems));
    Ok(())
}

/// Tasks with a valid file that are neither on the local branch nor waiting to be committed.
fn not_on_branch(q: &Queue) -> Result<Vec<crate::protocol::id::TaskId>> {
    let objects = |e: crate::world::ObjectsError| Error::from_sync(&e.into());
    let waiting = q.store.unpublished().map_err(|e| Error::from_store(&e))?;
    let waiting: std::collections::HashSet<_> = waiting.into_iter().collect();
    let head = q.world.objects.get_ref(&q.names.branch).map_err(objects)?;
    let mut missing = Vec::new();
    for id in q.store.ids().map_err(|e| Error::from_store(&e))? {
        if waiting.contains(&id) || q.store.problem_of(&id).map_err(|e| Error::from_store(&e))?.is_some() {
            continue;
        }
        let there = match head {
            Some(head) => archive::find(&q.cx(), head, &id).map_err(|e| Error::from_sync(&e))?.is_some(),
            None => false,
        };
        if !there {
            missing.push(id);
        }
    }
    Ok(missing)
}
