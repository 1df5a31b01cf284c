//! Files that turn up in the archive of which the index knows nothing: after a lost index or a restored copy, and
//! where a death left a file in both places.

use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::protocol::invariant;
use crate::protocol::merge::{missing, same_task};
use crate::store::place::Place;
use crate::store::scan::{Suspect, What};
use crate::store::tasks::{FileState, Problem, Publish};
use crate::sync::archive;

use super::error::{Error, Result};
use super::notice;
use super::queue::Queue;

const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Takes over a new file of the archive; says whether it holds something new to publish.
pub(super) fn arrived(q: &mut Queue, id: &TaskId, place: Place) -> Result<bool> {
    let store = |e| Error::from_store(&e);
    let guard = q.store.lock_task(&q.world, id, LOCK_WAIT).map_err(store)?;
    let path = q.store.layout.file(id, place);
    let taken = q.store.taken(&q.world, id).map_err(store)?;
    let other_file = !matches!(q.store.read(&q.world, id).map_err(store)?, FileState::Absent);
    if q.store.place(id).map_err(store)? == place && taken.as_ref() == Some(id) {
        // Another process has taken it over since the scan.
        return Ok(false);
    }
    let state = q.store.read_at(&q.world, id, place).map_err(store)?;
    if other_file || taken.as_ref().is_some_and(|taken| taken != id) {
        if let (FileState::Task { task: old, .. }, Ok(FileState::Task { task, .. })) =
            (&state, q.store.read(&q.world, id))
            && same_task(old, &task)
            && missing(&task, old).next().is_none()
        {
            // Somebody died between the two steps of moving it.
            q.store.remove_local(&q.world, &path).map_err(store)?;
            return Ok(false);
        }
        let what = What::Misnamed("there is another file of this task, which counts".to_owned());
        notice::stray(q, &Suspect { path, id: Some(id.clone()), place, what });
        return Ok(false);
    }
    let known = notice::known(q, id)?;
    match state {
        FileState::Absent => Ok(false),
        FileState::Task { task, .. } => {
            if known.as_ref() == Some(&*task)
                && archive::place_of(&q.cx(), &task).map_err(|e| Error::from_sync(&e))? == place
            {
                q.store.admit_at(&q.world, &task, place, Publish::Published).map_err(store)?;
                return Ok(false);
            }
            if let Some(violation) = invariant::check(&task).first() {
                let problem = Problem::plain(violation.what.clone());
                q.store.quarantine_at(&q.world, id, place, &problem).map_err(store)?;
                return Ok(false);
            }
            // Nobody knows it to be archived: it lies among the tasks, and is taken over as every file there.
            q.store.admit_at(&q.world, &task, place, Publish::Waiting).map_err(store)?;
            q.store.write(&q.world, &guard, &task, Publish::Waiting).map_err(store)?;
            drop(guard);
            notice::adopt_one(q, id)
        }
        FileState::Edited { .. } => {
            let problem =
                Problem::plain("a task in the archive cannot be edited; `orch retry` brings it back");
            q.store.quarantine_at(&q.world, id, place, &problem).map_err(store)?;
            Ok(false)
        }
        FileState::Problem(problem) => {
            q.store.quarantine_at(&q.world, id, place, &problem).map_err(store)?;
            Ok(false)
        }
    }
}
