//! What every step of the sync needs, and what can go wrong in it.

use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::store::error::StoreError;
use crate::store::tasks::Store;
use crate::world::{ObjectsError, Remote, RemoteError, RemoteFailure, World};

use super::names::Names;

/// Tries from the start when objects vanish or refs move under a step.
const AGAIN: u32 = 6;

/// The machine, the files and the names that a step works with.
pub struct Cx<'a> {
    /// Everything outside.
    pub world: &'a World,
    /// Files and index.
    pub store: &'a Store,
    /// Ref names.
    pub names: &'a Names,
    /// This machine's id; its own operations are the ones that it publishes.
    pub machine: &'a str,
    /// Who writes commits.
    pub by: &'a str,
    /// Longest time for one network step.
    pub limit: Duration,
    /// How long a push waits for others of this machine to come along; zero for what is urgent.
    pub company: Duration,
    /// When, on the monotonic clock, all steps of one change must have ended.
    pub deadline: Option<Duration>,
}

impl Cx<'_> {
    /// The remote, if the queue has one.
    ///
    /// # Errors
    /// [`SyncError::NoRemote`].
    pub fn remote(&self) -> Result<&dyn Remote, SyncError> {
        self.world.remote.as_deref().ok_or(SyncError::NoRemote)
    }

    /// How long the next network step may take.
    #[must_use]
    pub fn left(&self) -> Duration {
        let until = |deadline: Duration| deadline.saturating_sub(self.world.clock.monotonic());
        self.deadline.map_or(self.limit, |deadline| until(deadline).min(self.limit))
    }

    /// Does something from the start again, a few times, while it fails for a cause that passes at once.
    ///
    /// # Errors
    /// Those of the last try.
    pub fn again<T>(&self, mut body: impl FnMut() -> Result<T, SyncError>) -> Result<T, SyncError> {
        for tries in 1..AGAIN {
            match body() {
                Err(error) if error.is_passing() => self.back_off(tries),
                other => return other,
            }
        }
        body()
    }

    /// Waits a jittered moment that grows with the number of tries, from 5 ms to at most 640 ms.
    pub fn back_off(&self, tries: u32) {
        let ceiling = 5.0 * f64::from(1u32 << tries.min(7));
        let millis = ceiling * (0.5 + 0.5 * self.world.random.unit());
        self.world.clock.sleep(Duration::from_secs_f64(millis / 1000.0));
    }
}

/// Why a step of the sync failed.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// No remote is configured.
    #[error("this queue has no remote")]
    NoRemote,
    /// The remote could not be read or written.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The local object store failed.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// Files or index failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The remote refused a ref although nobody moved it.
    #[error("the remote refuses {name}: {message}")]
    Declined {
        /// The ref.
        name: String,
        /// What the remote said.
        message: String,
    },
    /// The state branch on the remote no longer contains what this machine has seen of it.
    #[error("{0}")]
    Rewound(String),
    /// The branch on the remote is somebody's, and no queue's.
    #[error("{name} on {url} is no queue: it holds {holds}")]
    NotAQueue {
        /// The branch.
        name: String,
        /// The remote.
        url: String,
        /// What is on it.
        holds: String,
    },
    /// The task is in flight on machines that have the other setting of `sync.lease_refs`.
    #[error("{id}: its lease is at {name}, where this machine's `sync.lease_refs` does not look")]
    Elsewhere {
        /// Which.
        id: TaskId,
        /// Its lease ref there.
        name: String,
    },
    /// A task on the remote cannot be read.
    #[error("{id}: {problem}")]
    Quarantined {
        /// Which.
        id: TaskId,
        /// What is wrong.
        problem: String,
    },
}

impl SyncError {
    /// Whether the remote could not be asked, so that work is kept and pushed later.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, SyncError::Remote(_))
    }

    /// Whether another try from the start may succeed at once: a concurrent `git gc` took an object that
    /// nothing referenced yet, or another process moved a local ref.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            SyncError::Objects(ObjectsError::Missing(_) | ObjectsError::Changed(_)) => true,
            // A directory of loose objects that `git gc` emptied and removed under a write, or a blob that it
            // took before the tree which names it was written.
            SyncError::Objects(ObjectsError::Other(text)) => {
                text.contains("No such file or directory") || text.contains("invalid object specified")
            }
            SyncError::Remote(error) => error.kind == RemoteFailure::MissingObject,
            _ => false,
        }
    }
}
