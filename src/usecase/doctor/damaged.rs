//! Damaged task files: told apart from a person's edit, and restored from the newest version that git knows.
//!
//! An edit that is not valid is never overwritten. The bytes of a damaged file are kept before it is replaced.

use std::time::Duration;

use crate::protocol::edit::{ForbiddenEdit, interpret};
use crate::protocol::id::TaskId;
use crate::protocol::invariant;
use crate::protocol::task::Task;
use crate::store::codec::{self, ProblemKind};
use crate::store::seal::Seal;
use crate::store::tasks::Publish;
use crate::sync::context::SyncError;
use crate::sync::{alarm, archive, history, repair, shared};
use crate::usecase::error::{Error, Result};
use crate::usecase::notice;
use crate::usecase::queue::Queue;

use super::Visit;

const LOCK_WAIT: Duration = Duration::from_secs(10);

/// What is wrong with a task's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Diagnosis {
    /// Its bytes are not what anybody wrote: to be restored.
    Damaged(String),
    /// The file is fine, and what all machines share of the task cannot be read.
    Unreadable(String),
    /// Somebody's edit that does not fit, or a file that this version does not read: theirs to correct.
    Invalid(String),
}

impl Diagnosis {
    pub(super) fn text(&self) -> &str {
        match self {
            Diagnosis::Damaged(text) | Diagnosis::Unreadable(text) | Diagnosis::Invalid(text) => text,
        }
    }
}

/// Reads a file anew, whatever the index says of it. `None` is a file in which nothing is wrong, or no file.
pub(super) fn diagnose(q: &Queue, id: &TaskId) -> Result<Option<Diagnosis>> {
    let file = q.store.file(&q.world, id).map_err(|e| Error::from_store(&e))?;
    let path = file.strip_prefix(q.store.layout.state()).unwrap_or(&file).display().to_string();
    let bytes = match q.world.disk.read(&file, codec::FILE_MAX as u64) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Ok(Some(Diagnosis::Invalid(error.to_string()))),
    };
    let damaged = |why: String| Ok(Some(Diagnosis::Damaged(format!("{path}: {why}"))));
    let decoded = match codec::decode(&bytes) {
        Ok(decoded) => decoded,
        Err(problem) => {
            let text = format!("{path}:{problem}");
            return Ok(Some(match problem.kind {
                ProblemKind::Damaged => Diagnosis::Damaged(text),
                ProblemKind::Invalid | ProblemKind::NewerFormat => Diagnosis::Invalid(text),
            }));
        }
    };
    let task = decoded.task;
    if task.id() != id {
        return damaged(format!("the file is named {id} but holds {}", task.id()));
    }
    if decoded.seal == Seal::Valid {
        return match invariant::check(&task).first() {
            Some(violation) => damaged(format!("its seal is valid, but {}", violation.what)),
            None => Ok(known_problem(q, id)?.map(Diagnosis::Unreadable)),
        };
    }
    match interpret(&task, newest(q, id)?.as_ref().map(|(known, _)| known)) {
        Err(why @ (ForbiddenEdit::Tampered { .. } | ForbiddenEdit::History { .. })) => {
            damaged(why.to_string())
        }
        Err(why) => {
            let text = format!("{path}: {why}");
            Ok(Some(Diagnosis::Invalid(known_problem(q, id)?.unwrap_or(text))))
        }
        Ok(_) => match known_problem(q, id)? {
            Some(text) => Ok(Some(Diagnosis::Invalid(text))),
            // Every edit that moved the times of the file was taken over by the scan before.
            None => damaged("its bytes changed while its times did not, so the disk did it".to_owned()),
        },
    }
}

fn known_problem(q: &Queue, id: &TaskId) -> Result<Option<String>> {
    q.store.problem_of(id).map_err(|e| Error::from_store(&e))
}

/// The newest version that git knows: shared, else on the local branch, which others may lack.
fn newest(q: &Queue, id: &TaskId) -> Result<Option<(Task, Publish)>> {
    let known = match history::newest(&q.cx(), id) {
        Err(SyncError::Quarantined { .. }) => None,
        other => other.map_err(|e| Error::from_sync(&e))?,
    };
    if let Some(known) = known {
        return Ok(Some((known, Publish::Published)));
    }
    let head = q.world.objects.get_ref(&q.names.branch).map_err(|e| Error::from_sync(&e.into()))?;
    match shared::read_at(&q.cx(), head, None, id) {
        Err(SyncError::Quarantined { .. }) => Ok(None),
        other => Ok(other.map_err(|e| Error::from_sync(&e))?.branch.map(|task| (task, Publish::Waiting))),
    }
}

/// Restores what is damaged, if that was asked for.
pub(super) fn mend(q: &mut Queue, visit: &mut Visit) -> Result<()> {
    if !visit.request.repair {
        return Ok(());
    }
    mend_shared(q, visit)?;
    notice::look_at_all(q)?;
    for id in q.store.ids().map_err(|e| Error::from_store(&e))? {
        if let Some(Diagnosis::Damaged(_)) = diagnose(q, &id)?
            && let Some(text) = restore(q, &id)?
        {
            visit.repaired(text);
        }
    }
    Ok(())
}

/// Replaces what the branch holds and nobody can read.
fn mend_shared(q: &mut Queue, visit: &mut Visit) -> Result<()> {
    if !q.is_shared() || q.no_sync || alarm::standing(&q.cx()).is_some() {
        return Ok(());
    }
    match repair::replace_unreadable(&q.cx()) {
        Ok(ids) => {
            for id in ids {
                let path = crate::store::layout::tree_path(&id);
                visit.repaired(format!(
                    "{path}: its last readable version was published again; `git log -p -- {path}` in the state \
                     directory shows what stood in its place"
                ));
            }
            Ok(())
        }
        // The check of the remote has said so.
        Err(error) if error.is_unreachable() => Ok(()),
        Err(error) => Err(Error::from_sync(&error)),
    }
}

/// Under the lock of the task it is looked at again, its bytes are kept, and the known version is written.
fn restore(q: &mut Queue, id: &TaskId) -> Result<Option<String>> {
    let store = |e| Error::from_store(&e);
    let guard = q.store.lock_task(&q.world, id, LOCK_WAIT).map_err(store)?;
    let (Some(Diagnosis::Damaged(why)), Some((task, publish))) = (diagnose(q, id)?, newest(q, id)?) else {
        return Ok(None);
    };
    let path = q.store.file(&q.world, id).map_err(store)?;
    let bytes = q.world.disk.read(&path, codec::FILE_MAX as u64);
    let bytes = bytes.map_err(|e| Error::failure(e.to_string()))?;
    let name = format!("damaged-{id}-{}", q.now().0);
    let kept = q.store.layout.rejected().join(&name);
    q.store.write_durable(&q.world, &kept, &bytes).map_err(store)?;
    archive::put(&q.cx(), &guard, &task, publish).map_err(|e| Error::from_sync(&e))?;
    let version = task.history().last().map(|op| op.id.to_string()).unwrap_or_default();
    Ok(Some(format!(
        "{why}; restored from git as of operation {version}, the damaged bytes are kept as .git/orch/rejected/{name}"
    )))
}
