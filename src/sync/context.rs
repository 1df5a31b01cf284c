//! What every step of the sync needs, and what can go wrong in it.

use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::store::error::StoreError;
use crate::store::tasks::Store;
use crate::world::{ObjectsError, Remote, RemoteError, RemoteFailure, World};

use super::names::Names;

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
}

impl Cx<'_> {
    /// The remote, if the queue has one.
    ///
    /// # Errors
    /// [`SyncError::NoRemote`].
    pub fn remote(&self) -> Result<&dyn Remote, SyncError> {
        self.world.remote.as_deref().ok_or(SyncError::NoRemote)
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
    /// Whether the failure is one of the network that passes, so that work can be kept and pushed later.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, SyncError::Remote(error) if error.kind != RemoteFailure::Tool)
    }
}
