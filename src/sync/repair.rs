//! Publishing this machine's state again after somebody rewound, replaced or deleted the branch, or after the
//! local repository had to be made anew.
//!
//! The base is what the remote holds now. A branch that was only rewound or deleted gets back the very commits
//! that it had; on anything else the operations that it lacks are replayed. Every push names the object
//! that it expects, every step can be repeated, and the alarm falls last.

use std::collections::BTreeSet;

use crate::protocol::id::TaskId;
use crate::protocol::merge::{missing, overlay, same_task};
use crate::protocol::op::Op;
use crate::protocol::task::Task;
use crate::store::codec;
use crate::store::place::Place;
use crate::store::tasks::FileState;
use crate::world::{NewCommit, Oid, PushOutcome, RefUpdate};

use super::context::{Cx, SyncError};
use super::names::TRACKING_BRANCH;
use super::shared::{known_leases, read_at};
use super::{alarm, archive, chain, fetch, files, group_push, message, rejected};

/// Rounds against machines that push at the same time.
const ROUNDS: u32 = 8;
/// Where the branch as it was stays reachable when the remote went another way.
const KEPT: &str = "refs/orch/kept/";

/// What publishing again did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Republished {
    /// Whether the branch on the remote was moved.
    pub branch: bool,
    /// Tasks that the remote had lost, wholly or in part, and has again.
    pub tasks: usize,
    /// Lease refs that the remote had lost and has again.
    pub leases: usize,
    /// Operations that do not fit what the remote holds now: kept under `rejected/`.
    pub refused: usize,
    /// The local ref that keeps the branch as this machine knew it, where the remote goes on without it.
    pub kept: Option<String>,
    /// What a person should know about files that were taken over, or could not be.
    pub problems: Vec<String>,
}

/// Publishes this machine's state again and takes over what the remote holds besides.
///
/// # Errors
/// The remote cannot be reached, or refuses the branch although nobody moved it.
pub fn republish(cx: &Cx<'_>) -> Result<Republished, SyncError> {
    let mut leases = 0;
    for round in 0..ROUNDS {
        let known = cx.world.objects.get_ref(TRACKING_BRANCH)?;
        let refs = fetch::bring(cx, &[&cx.names.branch, &cx.names.leases])?;
        let now = find(&refs, &cx.names.branch);
        let plan = Plan::make(cx, known, now, &refs)?;
        // First, because once the branch has moved nothing shows any more that they were lost with it.
        leases += if plan.rewound { restore_leases(cx, &refs, plan.target)? } else { 0 };
        if plan.target != now && !move_branch(cx, now, plan.target)? {
            cx.back_off(round + 1);
            continue;
        }
        return finish(cx, known, now, plan, leases);
    }
    let message = "other machines moved the branch again and again; run `orch doctor --repair` once more";
    let kind = crate::world::RemoteFailure::Other;
    Err(SyncError::Remote(crate::world::RemoteError { kind, message: message.to_owned() }))
}

fn find(refs: &[(String, Oid)], name: &str) -> Option<Oid> {
    refs.iter().find(|(found, _)| found == name).map(|(_, oid)| *oid)
}

/// Where the branch shall go, and what does not fit there.
struct Plan {
    target: Option<Oid>,
    /// Whether the remote had lost something that was on the branch.
    rewound: bool,
    tasks: BTreeSet<TaskId>,
    refused: Vec<(TaskId, Op, String)>,
}

impl Plan {
    fn make(
        cx: &Cx<'_>,
        known: Option<Oid>,
        now: Option<Oid>,
        refs: &[(String, Oid)],
    ) -> Result<Plan, SyncError> {
        let mut plan = Plan { target: now, rewound: false, tasks: BTreeSet::new(), refused: Vec::new() };
        let Some(known) = known else {
            plan.replay_files(cx, now, refs)?;
            return Ok(plan);
        };
        let objects = &cx.world.objects;
        if let Some(now) = now
            && (now == known || objects.is_ancestor(known, now)?)
        {
            return Ok(plan);
        }
        plan.rewound = true;
        match now {
            Some(now) if !objects.is_ancestor(now, known)? => plan.replay_memory(cx, known, now)?,
            _ => {
                plan.tasks = fetch::changed_tasks(cx, now, Some(known))?;
                plan.target = Some(known);
            }
        }
        Ok(plan)
    }

    /// The remote went another way: replays on it what the branch was known to hold.
    fn replay_memory(&mut self, cx: &Cx<'_>, known: Oid, now: Oid) -> Result<(), SyncError> {
        let mut draft = Draft::default();
        for id in fetch::changed_tasks(cx, Some(now), Some(known))? {
            let ours = match read_at(cx, Some(known), None, &id) {
                Err(SyncError::Quarantined { .. }) => continue,
                other => other?.branch,
            };
            if let Some(ours) = ours {
                self.replay(cx, Some(now), &ours, &mut draft)?;
            }
        }
        draft.files.extend(lost_files(cx, known, now)?);
        self.commit(cx, Some(now), draft)
    }

    /// Nothing is remembered: the files are all that this machine has, and they hold every operation.
    fn replay_files(
        &mut self,
        cx: &Cx<'_>,
        now: Option<Oid>,
        refs: &[(String, Oid)],
    ) -> Result<(), SyncError> {
        let mut draft = Draft::default();
        for id in cx.store.ids()? {
            // A task in flight is decided by its lease ref; what this machine has to add waits as ever.
            if find(refs, &cx.names.lease(&id)).is_some() {
                continue;
            }
            if let FileState::Task { task, .. } = cx.store.read(cx.world, &id)? {
                self.replay(cx, now, &task, &mut draft)?;
            }
        }
        self.commit(cx, now, draft)
    }

    fn replay(
        &mut self,
        cx: &Cx<'_>,
        now: Option<Oid>,
        ours: &Task,
        draft: &mut Draft,
    ) -> Result<(), SyncError> {
        let id = ours.id();
        let theirs = match read_at(cx, now, None, id) {
            Err(SyncError::Quarantined { .. }) => return Ok(()),
            other => other?.branch,
        };
        let (after, added) = match &theirs {
            None => (ours.clone(), ours.history().to_vec()),
            // Two tasks under one id: absorbing gives the one of this machine another.
            Some(theirs) if !same_task(theirs, ours) => return Ok(()),
            Some(theirs) => {
                let merged = overlay(theirs, ours);
                let refused = merged.refused.into_iter().map(|(op, why)| (id.clone(), op, why.to_string()));
                self.refused.extend(refused);
                let added = missing(theirs, &merged.task).cloned().collect::<Vec<_>>();
                if added.is_empty() {
                    return Ok(());
                }
                (merged.task, added)
            }
        };
        draft.ops.extend(added.into_iter().map(|op| (id.to_string(), op)));
        draft.files.extend(archive::changes(cx, now, &after)?);
        self.tasks.insert(id.clone());
        Ok(())
    }

    fn commit(&mut self, cx: &Cx<'_>, now: Option<Oid>, draft: Draft) -> Result<(), SyncError> {
        if draft.files.is_empty() {
            return Ok(());
        }
        self.target = Some(cx.world.objects.commit(&NewCommit {
            base: now,
            changes: &draft.files,
            parents: now.as_slice(),
            author: &message::author(cx.by),
            at_s: cx.world.clock.wall_ms() / 1000,
            message: &message::for_branch(&draft.ops),
        })?);
        Ok(())
    }
}

/// Files by path, as a commit takes them.
type Changes = Vec<(String, Option<Vec<u8>>)>;

#[derive(Default)]
struct Draft {
    files: Changes,
    ops: Vec<(String, Op)>,
}

/// Shared files that changed on this side only since both sides parted.
fn lost_files(cx: &Cx<'_>, known: Oid, now: Oid) -> Result<Changes, SyncError> {
    let objects = &cx.world.objects;
    let common = chain::common(&**objects, known, now)?;
    let mut lost = Vec::new();
    for change in objects.diff(common, Some(known))?.iter().filter(|change| files::is_shared(&change.path)) {
        let Some(ours) = change.new.filter(|entry| entry.is_file) else { continue };
        let theirs = objects.entry(now, &change.path)?.map(|entry| entry.oid);
        if theirs == change.old.map(|entry| entry.oid) {
            lost.push((change.path.clone(), Some(objects.blob(ours.oid)?)));
        }
    }
    Ok(lost)
}

/// Swaps the branch; false when somebody else moved it.
fn move_branch(cx: &Cx<'_>, now: Option<Oid>, target: Option<Oid>) -> Result<bool, SyncError> {
    let name = cx.names.branch.clone();
    let update = RefUpdate { name: name.clone(), expected: now, new: target };
    let outcome = group_push::push(cx, &[update])?.pop();
    if outcome == Some(PushOutcome::Accepted) {
        return Ok(true);
    }
    let actual = find(&cx.remote()?.refs(&[&name], cx.limit)?, &name);
    match outcome {
        _ if actual == target => Ok(true),
        Some(PushOutcome::Refused(message))
            if actual == now && crate::world::remote::passing(&message).is_none() =>
        {
            Err(SyncError::Declined { name, message })
        }
        _ => Ok(false),
    }
}

/// Puts the last version that could be read in the place of what the branch holds of a task and nobody can read: a
/// link, a directory, a file without its seal. What it was stays in the history of the branch. Gives the tasks.
///
/// A file of a newer format is not touched: newer machines read it.
///
/// # Errors
/// The remote cannot be reached, or refuses the branch although nobody moved it.
pub fn replace_unreadable(cx: &Cx<'_>) -> Result<Vec<TaskId>, SyncError> {
    for round in 0..ROUNDS {
        let Some(now) = cx.world.objects.get_ref(TRACKING_BRANCH)? else { break };
        let mut draft = Draft::default();
        let mut ids = Vec::new();
        for (id, _) in cx.store.quarantined()? {
            let Some((place, task)) = last_readable(cx, now, &id)? else { continue };
            draft.files.push((place.tree_path(&id), Some(codec::encode(&task))));
            ids.push(id);
        }
        if ids.is_empty() {
            break;
        }
        let mut plan = Plan { target: None, rewound: false, tasks: BTreeSet::new(), refused: Vec::new() };
        plan.commit(cx, Some(now), draft)?;
        if move_branch(cx, Some(now), plan.target)? {
            cx.store.remember_unabsorbed(&ids)?;
            fetch::move_tracking(cx, Some(now), plan.target)?;
            fetch::fetch(cx)?;
            return Ok(ids);
        }
        cx.back_off(round + 1);
        fetch::fetch(cx)?;
    }
    Ok(Vec::new())
}

/// The newest readable version of a task in the history of the branch, if its tip holds one that is not.
/// With the place where the tip has it.
fn last_readable(cx: &Cx<'_>, tip: Oid, id: &TaskId) -> Result<Option<(Place, Task)>, SyncError> {
    let Some((place, entry)) = archive::find(cx, tip, id)? else { return Ok(None) };
    if entry.is_file
        && let Err(problem) = codec::decode(&cx.world.objects.blob(entry.oid)?)
        && problem.kind == codec::ProblemKind::NewerFormat
    {
        return Ok(None);
    }
    let mut at = Some(tip);
    while let Some(commit) = at {
        match read_at(cx, Some(commit), None, id) {
            Ok(found) if commit == tip || found.branch.is_none() => return Ok(None),
            Ok(found) => return Ok(found.branch.map(|task| (place, task))),
            Err(SyncError::Quarantined { .. }) => {}
            Err(error) => return Err(error),
        }
        at = cx.world.objects.commit_info(commit)?.parents.first().copied();
    }
    Ok(None)
}

/// The remote holds the target: this machine's memory and files follow.
fn finish(
    cx: &Cx<'_>,
    known: Option<Oid>,
    now: Option<Oid>,
    plan: Plan,
    leases: usize,
) -> Result<Republished, SyncError> {
    for (id, op, why) in &plan.refused {
        rejected::keep(cx, id, op, why)?;
    }
    let kept = keep_tip(cx, known, plan.target)?;
    // Both sides of a shared file that changed on both are kept; the report names the copies.
    let mut problems = Vec::new();
    let mut touched = files::absorb(cx, known, plan.target, &mut problems)?;
    touched.extend(plan.tasks.iter().cloned());
    cx.store.remember_unabsorbed(&touched)?;
    fetch::move_tracking(cx, known, plan.target)?;
    alarm::lower(cx)?;
    problems.extend(fetch::fetch(cx)?.problems);
    Ok(Republished {
        branch: plan.target != now,
        tasks: plan.tasks.len(),
        leases,
        refused: plan.refused.len(),
        kept,
        problems,
    })
}

/// Keeps the branch as it was known from being collected as garbage.
fn keep_tip(cx: &Cx<'_>, known: Option<Oid>, target: Option<Oid>) -> Result<Option<String>, SyncError> {
    let (Some(known), Some(target)) = (known, target) else { return Ok(None) };
    if cx.world.objects.is_ancestor(known, target)? {
        return Ok(None);
    }
    let name = format!("{KEPT}{known}");
    if cx.world.objects.get_ref(&name)?.is_none() {
        cx.world.objects.swap_ref(&name, None, Some(known))?;
    }
    Ok(Some(name))
}

/// Lease refs that vanished together with the branch's past, and that the branch has not overtaken, get back the
/// very object that they held: their holders go on as if nothing had happened.
fn restore_leases(cx: &Cx<'_>, refs: &[(String, Oid)], target: Option<Oid>) -> Result<usize, SyncError> {
    let mut updates = Vec::new();
    for (id, oid) in known_leases(cx)? {
        let name = cx.names.lease(&id);
        if find(refs, &name).is_some() || !cx.world.objects.has(oid) {
            continue;
        }
        let live = match read_at(cx, target, Some(oid), &id) {
            Err(SyncError::Quarantined { .. }) => false,
            other => other?.live_tip().is_some(),
        };
        if live {
            updates.push(RefUpdate { name, expected: None, new: Some(oid) });
        }
    }
    // One that was refused was made by somebody else meanwhile, who knows better.
    let outcomes = group_push::push(cx, &updates)?;
    Ok(outcomes.iter().filter(|outcome| **outcome == PushOutcome::Accepted).count())
}
