//! Bringing what the remote has: list, fetch what moved, look at it, then let it change files.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::store::layout;
use crate::store::task_lock::Named;
use crate::world::{ObjectsError, Oid, Wanted};

use super::absorb;
use super::alarm;
use super::context::{Cx, SyncError};
use super::foreign;
use super::names::{INCOMING, INCOMING_BRANCH, INCOMING_LEASES, TRACKING_BRANCH, tracking_lease};
use super::shared::{known_leases, read_at};

/// Taking over a handful of small files takes others milliseconds.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// What a fetch brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Tasks whose shared version moved.
    pub changed: Vec<TaskId>,
    /// Files of tasks that were given another id because two machines had added the same one.
    pub renamed: Vec<(TaskId, TaskId)>,
    /// Problems with what the remote holds, or with local files.
    pub problems: Vec<String>,
}

impl Fetched {
    /// Adds what another fetch brought.
    pub fn join(&mut self, other: Fetched) {
        self.changed.extend(other.changed);
        self.renamed.extend(other.renamed);
        self.problems.extend(other.problems);
    }
}

/// Lists and fetches until this machine holds what the remote held at one moment.
///
/// # Errors
/// The remote cannot be reached, [`SyncError::Rewound`], or [`SyncError::NotAQueue`].
pub fn fetch(cx: &Cx<'_>) -> Result<Fetched, SyncError> {
    cx.again(|| fetch_once(cx))
}

fn fetch_once(cx: &Cx<'_>) -> Result<Fetched, SyncError> {
    // What is known is read before the listing: whatever another process of this machine learns meanwhile is
    // newer than our listing, and our compare-and-swaps then leave it alone.
    let known = cx.world.objects.get_ref(TRACKING_BRANCH)?;
    let known_leases: BTreeMap<TaskId, Oid> = known_leases(cx)?.into_iter().collect();
    let refs = bring(cx, &[&cx.names.branch, &cx.names.leases])?;
    let find = |name: &str| refs.iter().find(|(found, _)| found == name).map(|(_, oid)| *oid);
    let branch = find(&cx.names.branch);
    check_forward(cx, known, branch)?;
    if let (None, Some(first)) = (known, branch) {
        foreign::refuse(cx, first)?;
    }
    let mut fetched = Fetched::default();
    // The branch first: after a death in between a lease ref that was folded is void. The other way round it would
    // seem to have vanished, and its holder would set it up again and finish a task that had moved on.
    let interrupted = cx.store.unabsorbed()?.into_keys().collect();
    let mut changed = branch_moves(cx, branch, &mut fetched)?;
    changed.extend(moved_leases(cx, &known_leases, &refs, &interrupted)?);
    if cx.store.meta("fetched")?.is_none() {
        // The index is new, so files that this machine has not seen yet may never have been written.
        changed.extend(changed_tasks(cx, None, branch)?);
        changed.extend(refs.iter().filter_map(|(name, _)| cx.names.leased(name)));
    }
    cx.store.remember_unabsorbed(&changed)?;
    // Where a sync was interrupted its tasks are absorbed again; that changes nothing.
    let due = cx.store.unabsorbed()?;
    let ids: Vec<TaskId> = due.keys().cloned().collect();
    absorb::into_files(cx, &ids, &mut fetched)?;
    cx.store.forget_unabsorbed(&due)?;
    cx.store.note_fetch(cx.world)?;
    changed.extend(ids);
    fetched.changed = changed.into_iter().collect();
    Ok(fetched)
}

/// Takes over shared files and moves the memory of the branch, one process after the other: a process with an
/// older listing must not put older settings in the place of newer ones. Gives the tasks that changed; they are
/// taken into files by the next fetch at the latest.
pub(super) fn branch_moves(
    cx: &Cx<'_>,
    branch: Option<Oid>,
    fetched: &mut Fetched,
) -> Result<BTreeSet<TaskId>, SyncError> {
    if cx.world.objects.get_ref(TRACKING_BRANCH)? == branch {
        return Ok(BTreeSet::new());
    }
    let _guard = cx.store.lock_named(cx.world, Named::Fetch, LOCK_WAIT)?;
    let known = cx.world.objects.get_ref(TRACKING_BRANCH)?;
    if let (Some(known), Some(branch)) = (known, branch)
        && cx.world.objects.is_ancestor(branch, known)?
    {
        // Another process knows as much or more by now, and has remembered what changed.
        return Ok(BTreeSet::new());
    }
    let changed = super::files::absorb(cx, known, branch, &mut fetched.problems)?;
    cx.store.remember_unabsorbed(&changed)?;
    move_tracking(cx, known, branch)?;
    Ok(changed)
}

/// Lists refs of the remote and fetches their objects; lists again when a ref moved or went in between, so
/// that everything listed is here.
///
/// # Errors
/// The remote cannot be reached.
pub fn bring(cx: &Cx<'_>, prefixes: &[&str]) -> Result<Vec<(String, Oid)>, SyncError> {
    cx.again(|| {
        let refs = cx.remote()?.refs(prefixes, cx.left())?;
        ensure_here(cx, &refs)?;
        match refs.iter().find(|(name, oid)| landing(cx, name).is_some() && !cx.world.objects.has(*oid)) {
            Some((_, moved)) => Err(ObjectsError::Missing(*moved).into()),
            None => Ok(refs),
        }
    })
}

/// Fetches the objects of these refs that are not here yet.
fn ensure_here(cx: &Cx<'_>, refs: &[(String, Oid)]) -> Result<(), SyncError> {
    if wanted(cx, refs).is_empty() {
        return Ok(());
    }
    // Two fetches of one machine at once would fight for the local refs that they land in. Whoever waited
    // finds what the other one brought. A lock that cannot be had in time only costs a retry.
    let _guard = cx.store.lock_named(cx.world, Named::Fetch, cx.left())?;
    let wanted = wanted(cx, refs);
    if wanted.is_empty() {
        return Ok(());
    }
    match cx.remote()?.fetch(&wanted, cx.left()) {
        // A local ref that it may not move, not the remote: a fetch whose command was killed goes on by itself, or has
        // left its lock behind. Objects come before refs, so what is wanted is here by now.
        Err(error) if error.message.contains(INCOMING) => make_way(cx, refs),
        other => Ok(other?),
    }
}

/// After a fetch that brought objects and could not move the refs that they land in.
fn make_way(cx: &Cx<'_>, refs: &[(String, Oid)]) -> Result<(), SyncError> {
    for Wanted { local, .. } in wanted(cx, refs) {
        // Waits for whoever holds its lock, and removes one that nobody holds.
        let now = cx.world.objects.get_ref(&local)?;
        cx.world.objects.swap_ref(&local, now, None)?;
    }
    match wanted(cx, refs).into_iter().next() {
        None => Ok(()),
        Some(missing) => Err(ObjectsError::Changed(missing.name).into()),
    }
}

/// Refs whose object is not here, with the local ref that it lands in.
fn wanted(cx: &Cx<'_>, refs: &[(String, Oid)]) -> Vec<Wanted> {
    refs.iter()
        .filter(|(name, oid)| !is_here(cx, name, *oid))
        .filter_map(|(name, oid)| Some(Wanted { name: name.clone(), oid: *oid, local: landing(cx, name)? }))
        .collect()
}

/// Whether what a ref points to is here; for a lease ref that is news here, the file in it as well.
fn is_here(cx: &Cx<'_>, name: &str, oid: Oid) -> bool {
    if !cx.world.objects.has(oid) {
        return false;
    }
    let Some(id) = cx.names.leased(name) else { return true };
    if cx.world.objects.get_ref(&tracking_lease(&id)).ok().flatten() == Some(oid) {
        return true;
    }
    match cx.world.objects.entry(oid, &layout::tree_path(&id)) {
        Ok(entry) => entry.is_none_or(|entry| cx.world.objects.has(entry.oid)),
        Err(error) => !matches!(error, ObjectsError::Missing(_)),
    }
}

/// Where a remote ref lands. Names that no task can have are left where they are.
fn landing(cx: &Cx<'_>, name: &str) -> Option<String> {
    if name == cx.names.branch {
        return Some(INCOMING_BRANCH.to_owned());
    }
    cx.names.leased(name).map(|id| format!("{INCOMING_LEASES}{id}"))
}

/// The branch only ever moves forward; anything else is somebody's force-push, deletion or restore.
fn check_forward(cx: &Cx<'_>, known: Option<Oid>, now: Option<Oid>) -> Result<(), SyncError> {
    // An alarm without a memory: the local repository was made anew, and the files have to be published
    // before anything is taken from the branch.
    if let (None, Some(text)) = (known, alarm::standing(cx)) {
        return Err(SyncError::Rewound(text));
    }
    let forward = match (known, now) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(known), Some(now)) => known == now || cx.world.objects.is_ancestor(known, now)?,
    };
    if !forward {
        return Err(alarm::raise(cx, now));
    }
    if alarm::standing(cx).is_some() {
        alarm::lower(cx)?;
    }
    Ok(())
}

/// Brings the memory of lease refs up to date; gives the tasks whose ref moved, came or went. `interrupted` are those of which
/// more is remembered than their files have.
fn moved_leases(
    cx: &Cx<'_>,
    known: &BTreeMap<TaskId, Oid>,
    refs: &[(String, Oid)],
    interrupted: &BTreeSet<TaskId>,
) -> Result<BTreeSet<TaskId>, SyncError> {
    let mut changed = BTreeSet::new();
    let now: BTreeMap<TaskId, Oid> =
        refs.iter().filter_map(|(name, oid)| Some((cx.names.leased(name)?, *oid))).collect();
    for (id, oid) in &now {
        if known.get(id) != Some(oid) {
            changed.insert(id.clone());
        }
    }
    changed.extend(known.keys().filter(|id| !now.contains_key(*id)).cloned());
    cx.store.remember_unabsorbed(&changed)?;
    for id in &changed {
        if let (Some(gone), None, true) = (known.get(id), now.get(id), interrupted.contains(id)) {
            keep_epoch(cx, id, *gone)?;
        }
        let swapped =
            cx.world.objects.swap_ref(&tracking_lease(id), known.get(id).copied(), now.get(id).copied());
        match swapped {
            // Another process of this machine has pushed meanwhile and knows better.
            Ok(()) | Err(crate::world::ObjectsError::Changed(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if known.keys().any(|id| !now.contains_key(id)) {
        tidy_landings(cx, &now);
    }
    Ok(changed)
}

/// Of a lease that has gone before it reached its task's file: its epoch was seen, and is never handed out again.
fn keep_epoch(cx: &Cx<'_>, id: &TaskId, gone: Oid) -> Result<(), SyncError> {
    // What cannot be read was not seen either.
    match read_at(cx, None, Some(gone), id).ok().and_then(|shared| shared.tip) {
        Some(tip) => Ok(cx.store.raise_epoch_floor(cx.world, id, tip.task.epoch())?),
        None => Ok(()),
    }
}

/// Removes the refs in which leases landed that are gone from the remote. Kept, there would be one for each task that
/// was ever in flight, with its objects. A failure, or another process that is fetching, only puts it off.
fn tidy_landings(cx: &Cx<'_>, now: &BTreeMap<TaskId, Oid>) {
    let Ok(Some(_guard)) = cx.store.lock_named(cx.world, Named::Fetch, Duration::ZERO) else { return };
    for (name, oid) in cx.world.objects.refs(INCOMING_LEASES).unwrap_or_default() {
        let id = name.strip_prefix(INCOMING_LEASES).and_then(|id| TaskId::parse(id).ok());
        if id.is_none_or(|id| !now.contains_key(&id)) {
            drop(cx.world.objects.swap_ref(&name, Some(oid), None));
        }
    }
}

/// Moves the memory of the branch, and the local branch that people look at with `git log`.
pub(super) fn move_tracking(cx: &Cx<'_>, known: Option<Oid>, now: Option<Oid>) -> Result<(), SyncError> {
    if known == now {
        return Ok(());
    }
    match cx.world.objects.swap_ref(TRACKING_BRANCH, known, now) {
        Ok(()) => {}
        Err(crate::world::ObjectsError::Changed(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let local = cx.world.objects.get_ref(&cx.names.branch)?;
    match cx.world.objects.swap_ref(&cx.names.branch, local, now) {
        Ok(()) | Err(crate::world::ObjectsError::Changed(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Tasks whose file differs between two commits of the branch. Misnamed entries are reported by
/// [`super::files`].
///
/// # Errors
/// The local repository failed.
pub fn changed_tasks(cx: &Cx<'_>, old: Option<Oid>, new: Option<Oid>) -> Result<BTreeSet<TaskId>, SyncError> {
    let changes = cx.world.objects.diff(old, new)?;
    Ok(changes.iter().filter_map(|change| layout::parse_tree_path(&change.path)?.ok()).collect())
}
