//! A look at the files where nothing can be written: the disk is full, or the state directory is read-only.
//!
//! The index is in memory then and holds what the files say at this moment. Nothing is taken over, mended or
//! published; what would have to be is reported, and left to the first command that can write again.

use crate::protocol::id::TaskId;
use crate::store::bulk;
use crate::store::place::Place;
use crate::store::scan::{Scope, What};
use crate::store::tasks::{FileState, Problem, Publish};

use super::error::{Error, Result};
use super::notice;
use super::queue::Queue;

/// Files that are read and judged together: a few megabytes.
const CHUNK: usize = 1_024;

/// Fills an empty index with what the files say.
///
/// # Errors
/// A file cannot be read, or there is no memory.
pub(crate) fn fill(q: &mut Queue) -> Result<()> {
    let store = |e| Error::from_store(&e);
    let seen = q.store.scan(&q.world, Scope::Full).map_err(store)?;
    let mut new = Vec::new();
    for suspect in seen.suspects {
        match (&suspect.id, &suspect.what) {
            (Some(id), What::New) => new.push((id.clone(), suspect.place)),
            (_, What::Temporary) => {}
            _ => notice::stray(q, &suspect),
        }
    }
    for some in new.chunks(CHUNK) {
        let raw = some.iter().filter_map(|(id, place)| q.store.read_raw(&q.world, id, *place));
        let (fits, others) = bulk::judge(raw.map(|raw| (raw, Publish::Published)).collect());
        q.store.admit_new(&fits).map_err(store)?;
        for (id, place) in others {
            block(q, &id, place)?;
        }
    }
    for (_, problem) in q.store.problems().map_err(store)? {
        q.warn(problem);
    }
    Ok(())
}

/// A file that is not plainly in order blocks its task, as ever.
fn block(q: &Queue, id: &TaskId, place: Place) -> Result<()> {
    let store = |e| Error::from_store(&e);
    let problem = match q.store.read_at(&q.world, id, place).map_err(store)? {
        FileState::Absent => return Ok(()),
        FileState::Problem(problem) => problem,
        FileState::Edited { .. } => {
            Problem::plain("it was edited, which nobody can take over while nothing can be written")
        }
        FileState::Task { .. } => Problem::plain("its state is not what its history tells"),
    };
    q.store.quarantine_at(&q.world, id, place, &problem).map_err(store)
}
