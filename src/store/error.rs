//! What can go wrong with the files of the state directory; each names the file.

use std::io;
use std::path::PathBuf;

use super::atomic::WriteError;
use super::index::IndexError;
use super::task_lock::LockError;

/// A failure of local files, locks or the index.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file could not be replaced.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A lock could not be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The index did not answer.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A file could not be read or removed.
    #[error("cannot {step} {}: {source}", path.display())]
    Io {
        /// What was being done.
        step: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A task has grown beyond what a file may hold.
    #[error("the file of {id} would be larger than {limit} bytes; shorten its description or notes")]
    TooLarge {
        /// The task.
        id: String,
        /// Bytes allowed.
        limit: u64,
    },
}

impl StoreError {
    /// Whether the cause is that nothing can be written there, whatever is tried: no space, no permission, a file
    /// system that is read-only.
    #[must_use]
    pub fn is_unwritable(&self) -> bool {
        match self {
            StoreError::Write(WriteError { source, .. })
            | StoreError::Lock(LockError::Io { source, .. })
            | StoreError::Io { source, .. } => is_unwritable(source),
            StoreError::Index(error) => matches!(error, IndexError::Failed { .. }),
            StoreError::Lock(LockError::Timeout { .. }) | StoreError::TooLarge { .. } => false,
        }
    }
}

fn is_unwritable(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::StorageFull | K::QuotaExceeded | K::ReadOnlyFilesystem | K::PermissionDenied)
}
