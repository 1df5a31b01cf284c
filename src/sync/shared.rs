//! What all machines share about a task, as of the last fetch: its file on the branch and its lease ref.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::protocol::id::TaskId;
use crate::protocol::invariant;
use crate::protocol::merge::{Merged, overlay};
use crate::protocol::task::{Status, Task};
use crate::store::codec;
use crate::store::layout;
use crate::store::place::Place;
use crate::store::seal::Seal;
use crate::world::{ObjectsError, Oid, TreeEntry};

use super::archive;
use super::context::{Cx, SyncError};
use super::names::{TRACKING_BRANCH, TRACKING_LEASES, tracking_lease};

/// A lease ref: the object and the task's newest file in it.
#[derive(Debug, Clone)]
pub struct Tip {
    /// Commit that the ref points to.
    pub oid: Oid,
    /// The task's newest file.
    pub task: Task,
}

/// Both shared versions of a task.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Its file on the state branch.
    pub branch: Option<Task>,
    /// Its lease ref.
    pub tip: Option<Tip>,
}

impl Shared {
    /// The task as all machines see it: the branch's file with what the lease ref adds.
    #[must_use]
    pub fn view(&self) -> Option<Merged> {
        match (&self.branch, &self.tip) {
            (Some(branch), Some(tip)) => Some(overlay(branch, &tip.task)),
            (None, Some(tip)) => Some(Merged { task: tip.task.clone(), refused: Vec::new() }),
            (Some(branch), None) => Some(Merged { task: branch.clone(), refused: Vec::new() }),
            (None, None) => None,
        }
    }

    /// The lease ref, unless the branch has overtaken it: a void ref is only there to be deleted.
    #[must_use]
    pub fn live_tip(&self) -> Option<&Tip> {
        let tip = self.tip.as_ref()?;
        match &self.branch {
            None => Some(tip),
            Some(branch) => {
                let merged = overlay(branch, &tip.task);
                let adds = merged.task.history().len() > branch.history().len();
                (merged.refused.is_empty() && adds).then_some(tip)
            }
        }
    }

    /// Whether the lease ref may go: it ended and waits for its fold, or is void.
    #[must_use]
    pub fn wants_fold(&self) -> bool {
        match (&self.tip, self.live_tip()) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(_), Some(live)) => live.task.status() != Status::InProgress,
        }
    }
}

/// The shared versions of a task at given commits.
///
/// # Errors
/// [`SyncError::Quarantined`] when what the remote holds is no valid task file.
pub fn read_at(
    cx: &Cx<'_>,
    branch: Option<Oid>,
    lease: Option<Oid>,
    id: &TaskId,
) -> Result<Shared, SyncError> {
    let branch = branch.map(|commit| on_branch(cx, commit, id)).transpose()?.flatten();
    let tip = match lease {
        None => None,
        Some(oid) => {
            let bad = |what: &str| SyncError::Quarantined {
                id: id.clone(),
                problem: format!("its lease ref ({oid}) {what}"),
            };
            let task = match task_in(cx, oid, id) {
                // The object is here, so what was missed is a commit in its place.
                Err(SyncError::Objects(ObjectsError::Missing(missing)))
                    if missing == oid && cx.world.objects.has(oid) =>
                {
                    return Err(bad("is no commit"));
                }
                other => other?.ok_or_else(|| bad("does not hold its file"))?,
            };
            Some(Tip { oid, task })
        }
    };
    Ok(Shared { branch, tip })
}

/// The shared versions of a task as of the last fetch.
///
/// # Errors
/// As [`read_at`].
pub fn read(cx: &Cx<'_>, id: &TaskId) -> Result<Shared, SyncError> {
    let branch = cx.world.objects.get_ref(TRACKING_BRANCH)?;
    let lease = cx.world.objects.get_ref(&tracking_lease(id))?;
    read_at(cx, branch, lease, id)
}

/// Every lease ref that is known here.
///
/// # Errors
/// The local repository cannot be read.
pub fn known_leases(cx: &Cx<'_>) -> Result<Vec<(TaskId, Oid)>, SyncError> {
    let refs = cx.world.objects.refs(TRACKING_LEASES)?;
    Ok(refs
        .into_iter()
        .filter_map(|(name, oid)| Some((TaskId::parse(name.strip_prefix(TRACKING_LEASES)?).ok()?, oid)))
        .collect())
}

/// The task in a commit of the branch, wherever its file lies there.
///
/// # Errors
/// As [`read_at`].
pub(super) fn on_branch(cx: &Cx<'_>, commit: Oid, id: &TaskId) -> Result<Option<Task>, SyncError> {
    let Some((place, entry)) = archive::find(cx, commit, id)? else { return Ok(None) };
    let task = task_at(cx, entry, id)?;
    if place != Place::Tasks && Place::in_archive(&task) != Some(place) {
        let problem =
            format!("on the state branch it lies at {}, where it does not belong", place.tree_path(id));
        return Err(SyncError::Quarantined { id: id.clone(), problem });
    }
    Ok(Some(task))
}

/// The bytes of a task's newest shared file, whatever they are; `None` where there is no file.
///
/// # Errors
/// The local repository cannot be read.
pub fn raw(cx: &Cx<'_>, id: &TaskId) -> Result<Option<Vec<u8>>, SyncError> {
    for name in [tracking_lease(id), TRACKING_BRANCH.to_owned()] {
        let Some(commit) = cx.world.objects.get_ref(&name)? else { continue };
        let found = archive::find(cx, commit, id)?;
        if let Some((_, entry)) = found.filter(|(_, entry)| entry.is_file) {
            return Ok(Some(cx.world.objects.blob(entry.oid)?));
        }
    }
    Ok(None)
}

fn task_in(cx: &Cx<'_>, commit: Oid, id: &TaskId) -> Result<Option<Task>, SyncError> {
    match cx.world.objects.entry(commit, &layout::tree_path(id))? {
        None => Ok(None),
        Some(entry) => task_at(cx, entry, id).map(Some),
    }
}

/// Decodes and validates a task that came from outside: it is data, never trusted.
///
/// # Errors
/// [`SyncError::Quarantined`] with what is wrong.
pub fn task_at(cx: &Cx<'_>, entry: TreeEntry, id: &TaskId) -> Result<Task, SyncError> {
    let bad = |problem: String| SyncError::Quarantined { id: id.clone(), problem };
    if !entry.is_file {
        return Err(bad("on the state branch it is a link, submodule or directory, not a file".to_owned()));
    }
    let bytes = cx.world.objects.blob(entry.oid)?;
    if let Some(task) = known(entry.oid).filter(|task| task.id() == id) {
        return Ok(task);
    }
    let decoded = codec::decode(&bytes).map_err(|problem| bad(format!("on the remote: {problem}")))?;
    if decoded.task.id() != id {
        return Err(bad(format!("on the remote its file names another task, {}", decoded.task.id())));
    }
    if decoded.seal != Seal::Valid {
        return Err(bad("on the remote its file does not match its seal".to_owned()));
    }
    match invariant::check(&decoded.task).first() {
        None => {
            remember(entry.oid, &decoded.task);
            Ok(decoded.task)
        }
        Some(violation) => Err(bad(format!("on the remote: {}", violation.what))),
    }
}

/// How many versions are kept: more than a machine looks at in one round.
const KNOWN_MAX: usize = 512;

thread_local! {
    /// Versions that were read and found in order. An object never changes, and one round of a watchdog or of a sync
    /// looks at the same ones several times.
    static KNOWN: RefCell<HashMap<Oid, Task>> = RefCell::default();
}

fn known(oid: Oid) -> Option<Task> {
    KNOWN.with_borrow(|known| known.get(&oid).cloned())
}

fn remember(oid: Oid, task: &Task) {
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(oid, task.clone());
    });
}
