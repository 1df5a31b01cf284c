//! What the index tells about the queue as a whole, for reports.

use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::protocol::time::Timestamp;

use super::error::StoreError;
use super::index::{Candidate, Pick, Problem};
use super::tasks::Store;

pub use super::index::Brief;

impl Store {
    /// Every task in one line, the one with the newest operation first.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn briefs(&self) -> Result<Vec<Brief>, StoreError> {
        self.with(|index| index.briefs())
    }

    /// How many tasks hold something that is not committed or published yet.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn count_unpublished(&self) -> Result<u64, StoreError> {
        self.with(|index| index.count_uncommitted())
    }

    /// Every ready task in the order of the queue, with what that order is made of.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn candidates(&self, now: Timestamp, ageing: Duration) -> Result<Vec<Candidate>, StoreError> {
        self.with(|index| index.pick(&Pick { now, ageing, limit: usize::MAX, skip: &[] }))
    }

    /// Every quarantined file with what is wrong and where.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn quarantined(&self) -> Result<Vec<(TaskId, Problem)>, StoreError> {
        let rows = self.with(|index| index.problems())?;
        Ok(rows.into_iter().filter_map(|row| row.problem.map(|problem| (row.id, problem))).collect())
    }
}
