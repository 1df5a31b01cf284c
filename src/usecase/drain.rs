//! Asking the workers of this machine to drain: a file that they look at. It holds a random word, so that a
//! worker which starts later knows that it was not meant.

use std::path::PathBuf;

use super::error::{Error, Result};
use super::queue::Queue;
use crate::protocol::id::TaskId;

const LIMIT: u64 = 256;

/// A request to drain; two requests differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request(String);

/// A task that a worker of this machine holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The task.
    pub task: TaskId,
    /// Fencing token.
    pub epoch: u64,
    /// Number of the attempt.
    pub attempt: u32,
    /// Who holds it.
    pub session: String,
}

fn path(q: &Queue) -> PathBuf {
    q.store.layout.own().join("drain")
}

/// Asks every worker of this machine that runs now to claim nothing more and to end.
///
/// # Errors
/// The disk says no.
pub fn ask(q: &Queue) -> Result<()> {
    let mut dice = [0u8; 8];
    q.world.random.fill(&mut dice);
    let word: String = dice.iter().map(|byte| format!("{byte:02x}")).collect();
    q.store.write_local(&q.world, &path(q), word.as_bytes()).map_err(|e| Error::from_store(&e))
}

/// Takes the request back: workers that have not ended go on.
///
/// # Errors
/// The disk says no.
pub fn cancel(q: &Queue) -> Result<()> {
    q.store.remove_local(&q.world, &path(q)).map_err(|e| Error::from_store(&e))
}

/// The request that stands, if any.
#[must_use]
pub fn asked(q: &Queue) -> Option<Request> {
    let bytes = q.world.disk.read(&path(q), LIMIT).ok()?;
    Some(Request(String::from_utf8_lossy(&bytes).into_owned()))
}

/// What the workers of this machine are doing.
///
/// # Errors
/// The index cannot be read.
pub fn running(q: &Queue) -> Result<Vec<Running>> {
    let tasks = q.store.in_progress().map_err(|e| Error::from_store(&e))?;
    let ours = tasks.iter().filter_map(|task| {
        let lease = task.lease().filter(|lease| lease.machine == q.machine && lease.process.is_some())?;
        Some(Running {
            task: task.id().clone(),
            epoch: lease.epoch,
            attempt: task.attempt(),
            session: lease.session.clone(),
        })
    });
    Ok(ours.collect())
}
