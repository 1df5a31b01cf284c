//! The index: what this machine knows about every task, in one SQLite file that may be deleted at any time.
//!
//! Everything in it is derived from the task files, the local commit and the observations; it makes
//! commands fast and decides nothing. It is valid for one boot, so it never has to be synced to disk.
//! SQLite does its own file access here, beside the `Disk` of the world: nothing of value can be lost. A
//! machine whose disk is not the real one keeps it in memory ([`MemoryIndex`]).

mod edges;
mod list;
mod open;
mod parts;
mod pick;
mod put;
mod query;
mod row;
mod stamps;
mod survey;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};

use rusqlite::{Connection, ErrorCode};

pub use list::{Entry, Filter};
pub use open::MemoryIndex;
pub use parts::{BeforeUse, Part, Use};
pub use pick::{Candidate, Pick};
pub use query::Counts;
pub use row::{Facts, Holder, Problem, Row};
pub use stamps::{Dir, DirStamp, Known};
pub use survey::Brief;

/// An open index. One process has one; threads open their own.
pub struct Index {
    conn: open::Shared,
    path: PathBuf,
    before_use: Option<BeforeUse>,
}

/// Why the index did not answer. None of these endangers a task.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The file is damaged: [`Index::rebuild`] makes a new one.
    #[error("the index {} is damaged ({message}); it is derived and will be built anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// In the words of SQLite.
        message: String,
    },
    /// Other processes wrote to it for longer than we wait.
    #[error("the index {} is busy; try again", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// Anything else: no space, no permission.
    #[error("cannot use the index {}: {message}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// In the words of SQLite.
        message: String,
    },
}

impl IndexError {
    /// Whether building the index anew is the remedy.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        matches!(self, IndexError::Damaged { .. })
    }

    fn from_sql(path: &Path, error: &rusqlite::Error) -> Self {
        let path = path.to_owned();
        let message = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => IndexError::Busy { path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::SchemaChanged) => {
                IndexError::Damaged { path, message }
            }
            // A table or a value that is not as this version writes it.
            Some(ErrorCode::Unknown | ErrorCode::TypeMismatch | ErrorCode::ConstraintViolation) | None => {
                IndexError::Damaged { path, message }
            }
            _ => IndexError::Failed { path, message },
        }
    }
}

impl Index {
    /// A query of these parts.
    fn reads(&self, parts: impl FnOnce() -> Vec<Part>) -> Reading<'_> {
        self.announce(false, parts);
        Reading(self)
    }

    /// A transaction that may change these parts.
    fn writes(&mut self, parts: impl FnOnce() -> Vec<Part>) -> Writing<'_> {
        self.announce(true, parts);
        Writing(self)
    }

    fn announce(&self, writes: bool, parts: impl FnOnce() -> Vec<Part>) {
        if let Some(before) = self.before_use {
            before(&Use { writes, parts: parts() });
        }
    }

    /// Runs a body of SQL of which nobody hears, and gives its errors the name of the file.
    fn unseen<T>(&self, body: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, IndexError> {
        body(&self.hold()).map_err(|e| IndexError::from_sql(&self.path, &e))
    }

    /// The connection; others of this process wait until it is let go. Whoever panicked with it left nothing half done:
    /// its transaction went with it.
    fn hold(&self) -> MutexGuard<'_, Connection> {
        self.conn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A query that was announced.
struct Reading<'i>(&'i Index);

impl Reading<'_> {
    fn run<T>(self, body: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, IndexError> {
        self.0.unseen(body)
    }
}

/// A transaction that was announced.
struct Writing<'i>(&'i mut Index);

impl Writing<'_> {
    /// All or nothing.
    fn run<T>(self, body: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, IndexError> {
        self.0.unseen(|c| {
            let tx = Transaction::begin(c)?;
            let value = body(c)?;
            tx.commit().map(|()| value)
        })
    }
}

/// A write transaction. In contrast to that of `rusqlite`, its own statements are prepared only once as well.
struct Transaction<'c>(&'c Connection);

impl<'c> Transaction<'c> {
    fn begin(conn: &'c Connection) -> rusqlite::Result<Self> {
        conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Transaction(conn))
    }

    fn commit(self) -> rusqlite::Result<()> {
        self.0.prepare_cached("COMMIT")?.execute([]).map(drop)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.0.is_autocommit() {
            // If even that fails, the next write says so.
            let _ = self.0.execute_batch("ROLLBACK");
        }
    }
}
