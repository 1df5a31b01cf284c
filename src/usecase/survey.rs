//! Reading every task file in turn, with a word about how far it is.

use crate::protocol::id::TaskId;
use crate::store::tasks::FileState;

use super::error::{Error, Result};
use super::queue::Queue;

/// Hears how many tasks of how many have been read.
pub type Progress<'p> = &'p mut dyn FnMut(usize, usize);

/// Tasks between two words about the progress.
const STEP: usize = 256;

/// Reads every known task's file, in the order of ids.
pub(crate) fn each(
    q: &Queue,
    progress: Progress<'_>,
    body: &mut dyn FnMut(&TaskId, FileState) -> Result<()>,
) -> Result<usize> {
    let ids = q.store.ids().map_err(|e| Error::from_store(&e))?;
    for (at, id) in ids.iter().enumerate() {
        if at % STEP == 0 {
            progress(at, ids.len());
        }
        body(id, q.store.read(&q.world, id).map_err(|e| Error::from_store(&e))?)?;
    }
    progress(ids.len(), ids.len());
    Ok(ids.len())
}
