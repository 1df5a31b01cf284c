//! The register of a task in flight: one compare-and-swap of its lease ref, and the read that follows it.

use crate::protocol::id::TaskId;
use crate::protocol::op::Op;
use crate::protocol::task::Task;
use crate::protocol::transition::{Rejected, next};
use crate::store::codec;
use crate::store::layout;
use crate::world::{NewCommit, ObjectsError, Oid, PushOutcome, RefUpdate, RemoteFailure};

use super::context::{Cx, SyncError};
use super::fetch::{self, Fetched};
use super::group_push;
use super::message;
use super::names::tracking_lease;
use super::shared::{Shared, Tip, read_at};

/// Tries before a refusal that changed nothing, or an answer that never comes, is reported.
pub const TRIES: u32 = 4;

/// What became of a swap.
#[derive(Debug)]
pub enum Swapped {
    /// The remote holds our object.
    Accepted(Oid),
    /// The ref holds something else: somebody was faster.
    Lost,
    /// No answer came, and the ref holds what it held before. Perhaps the object was there in between, and somebody
    /// who saw it is about to fold or delete it: it must not be pushed again, but made anew.
    Unclear(SyncError),
}

/// A swap that is ready to be pushed.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// The task.
    pub id: TaskId,
    /// What its lease ref holds now.
    pub expected: Option<Oid>,
    /// The commit that it shall hold.
    pub commit: Oid,
}

impl Proposal {
    /// As one ref of a push.
    #[must_use]
    pub fn update(&self, cx: &Cx<'_>) -> RefUpdate {
        RefUpdate { name: cx.names.lease(&self.id), expected: self.expected, new: Some(self.commit) }
    }
}

/// Builds the commit that puts an operation on a task's lease ref.
///
/// The first commit has no parent; operations append; a heartbeat replaces the tip and keeps its parents,
/// so heartbeats add nothing to any lasting history. A void ref is replaced, not continued: by `anew`, which holds
/// what others know and this machine's acts, and no edit that nobody else has seen.
///
/// # Errors
/// The operation does not fit the newest file (inner), or the local repository failed.
pub fn propose(
    cx: &Cx<'_>,
    id: &TaskId,
    shared: &Shared,
    anew: &Task,
    op: &Op,
) -> Result<Result<Proposal, Rejected>, SyncError> {
    let live = shared.live_tip();
    let base = live.map_or(anew, |tip| &tip.task);
    let after = match next(Some(base), id, op) {
        Ok(after) => after,
        Err(why) => return Ok(Err(why)),
    };
    if !codec::has_room(Some(base), &after, op) {
        return Ok(Err(Rejected::TooLarge));
    }
    let heartbeat = matches!(op.action, crate::protocol::op::Action::Heartbeat { .. });
    let parents = match live {
        None => Vec::new(),
        Some(tip) if heartbeat => cx.world.objects.commit_info(tip.oid)?.parents,
        Some(tip) => vec![tip.oid],
    };
    let commit = write(cx, &after, &parents, &message::for_lease(&after, op), op)?;
    Ok(Ok(Proposal { id: id.clone(), expected: shared.tip.as_ref().map(|tip| tip.oid), commit }))
}

/// Writes a commit whose tree holds exactly one task file.
///
/// # Errors
/// The local repository failed.
pub fn write(cx: &Cx<'_>, task: &Task, parents: &[Oid], text: &str, op: &Op) -> Result<Oid, SyncError> {
    let changes = [(layout::tree_path(task.id()), Some(codec::encode(task)))];
    Ok(cx.world.objects.commit(&NewCommit {
        base: None,
        changes: &changes,
        parents,
        author: &message::author(&op.by),
        at_s: op.at.0 / 1000,
        message: text,
    })?)
}

/// Pushes a proposal and finds out what became of it, whatever the answer was.
///
/// # Errors
/// [`SyncError::Remote`] when the remote cannot be asked, [`SyncError::Declined`] when it says no although
/// nobody moved the ref.
pub fn swap(cx: &Cx<'_>, proposal: &Proposal, retries: &mut u32) -> Result<Swapped, SyncError> {
    let update = proposal.update(cx);
    let mut tries = 0;
    loop {
        let outcome = group_push::push(cx, std::slice::from_ref(&update))?.pop();
        if outcome == Some(PushOutcome::Accepted) {
            return accepted(cx, proposal);
        }
        let actual = ref_now(cx, &update.name)?;
        if actual == Some(proposal.commit) {
            return accepted(cx, proposal);
        }
        if actual != proposal.expected {
            return Ok(Swapped::Lost);
        }
        if !cx.world.objects.has(proposal.commit) {
            // A concurrent `git gc` took it before it was pushed; the caller writes it anew.
            return Err(ObjectsError::Missing(proposal.commit).into());
        }
        if matches!(outcome, Some(PushOutcome::Unknown(_))) {
            return Ok(Swapped::Unclear(unmoved(update.name, outcome)));
        }
        tries += 1;
        *retries += 1;
        if tries >= TRIES {
            return Err(unmoved(update.name, outcome));
        }
        cx.back_off(tries);
    }
}

/// A push that changed nothing: by policy if the remote said no, else for want of an answer.
fn unmoved(name: String, outcome: Option<PushOutcome>) -> SyncError {
    match outcome {
        Some(PushOutcome::Refused(message)) => match crate::world::remote::passing(&message) {
            Some(kind) => SyncError::Remote(crate::world::RemoteError { kind, message }),
            None => SyncError::Declined { name, message },
        },
        Some(PushOutcome::Unknown(message)) => SyncError::Remote(crate::world::RemoteError {
            kind: crate::world::remote::passing(&message).unwrap_or(RemoteFailure::Unreachable),
            message,
        }),
        _ => SyncError::Declined { name, message: "no reason given".to_owned() },
    }
}

fn accepted(cx: &Cx<'_>, proposal: &Proposal) -> Result<Swapped, SyncError> {
    remember(cx, &proposal.id, proposal.expected, Some(proposal.commit))?;
    Ok(Swapped::Accepted(proposal.commit))
}

/// Notes locally that a lease ref went from one value to another on the remote.
///
/// # Errors
/// The local repository failed.
pub fn remember(cx: &Cx<'_>, id: &TaskId, from: Option<Oid>, to: Option<Oid>) -> Result<(), SyncError> {
    if from == to {
        return Ok(());
    }
    // First, so that a death in between leaves the file to be brought up to date by the next fetch.
    cx.store.remember_unabsorbed([id])?;
    match cx.world.objects.swap_ref(&tracking_lease(id), from, to) {
        // Another process of this machine looked at the remote after us and knows better.
        Ok(()) | Err(crate::world::ObjectsError::Changed(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn ref_now(cx: &Cx<'_>, name: &str) -> Result<Option<Oid>, SyncError> {
    let refs = cx.remote()?.refs(&[name], cx.left())?;
    Ok(refs.into_iter().find(|(found, _)| found == name).map(|(_, oid)| oid))
}

/// Forgets what is known of a lease ref, so that the next fetch brings it as if for the first time: a
/// concurrent `git gc` may have taken parts of what it points to.
///
/// # Errors
/// The local repository failed.
pub fn forget(cx: &Cx<'_>, id: &TaskId) -> Result<(), SyncError> {
    let known = cx.world.objects.get_ref(&tracking_lease(id))?;
    remember(cx, id, known, None)
}

/// Reads the branch and the lease ref again after a swap was accepted, and says whether the operation
/// stands: a whole claim, finish, fold and deletion fits between our last look and our push.
///
/// It does not while the task has a lease ref where machines with the other setting of `sync.lease_refs` have
/// theirs: of two such machines that claim at once, at least one sees the other's ref, because both look after
/// they pushed.
///
/// # Errors
/// The remote cannot be asked, or [`SyncError::Elsewhere`]; nothing may be told to anybody then.
pub fn stands(cx: &Cx<'_>, id: &TaskId, op: &Op, fetched: &mut Fetched) -> Result<Option<Shared>, SyncError> {
    let lease_name = cx.names.lease(id);
    // Read before the listing: what another process learns meanwhile is newer, and no sign of a rewind.
    let known = cx.world.objects.get_ref(super::names::TRACKING_BRANCH)?;
    let known_lease = cx.world.objects.get_ref(&tracking_lease(id))?;
    let elsewhere = cx.names.lease_elsewhere(id);
    let refs = fetch::bring(cx, &[&cx.names.branch, &lease_name, &elsewhere])?;
    let find = |name: &str| refs.iter().find(|(found, _)| found == name).map(|(_, oid)| *oid);
    let (branch, lease) = (find(&cx.names.branch), find(&lease_name));
    if let Some(known) = known {
        // A repository that cannot answer is no sign of a rewind.
        let forward = branch.map(|now| cx.world.objects.is_ancestor(known, now)).transpose()?;
        if forward != Some(true) {
            return Err(super::alarm::raise(cx, branch));
        }
    }
    // Both memories move, the branch's first: a lease ref that was folded is gone only after the branch has what
    // it held, and without that this machine's own operations would seem not to fit.
    fetch::branch_moves(cx, branch, fetched)?;
    if find(&elsewhere).is_some() {
        return Err(SyncError::Elsewhere { id: id.clone(), name: elsewhere });
    }
    remember(cx, id, known_lease, lease)?;
    let shared = read_at(cx, branch, lease, id)?;
    let there = shared.view().is_some_and(|merged| holds(&merged.task, op));
    Ok(there.then_some(shared))
}

/// Whether a task shows an operation: in its history, or, for a heartbeat, by the lease that it renewed.
fn holds(task: &Task, op: &Op) -> bool {
    match op.action {
        crate::protocol::op::Action::Heartbeat { epoch, .. } => task.lease().is_some_and(|lease| {
            lease.epoch == epoch && lease.session == op.by && lease.machine == op.machine
        }),
        _ => task.has_op(op),
    }
}

/// Takes back an accepted swap that does not stand: the ref becomes what it was, or goes.
///
/// What it was is put back only if it still waits for its fold; otherwise the ref goes, because the branch
/// has everything. Both by compare-and-swap on our own object, so nobody else's work is touched.
///
/// # Errors
/// The remote cannot be asked. The ref is void then, and any machine will remove it.
pub fn withdraw(cx: &Cx<'_>, proposal: &Proposal, before: Option<&Tip>) -> Result<(), SyncError> {
    let branch = newest_branch(cx)?;
    let waiting = match before {
        Some(tip) => {
            let shared = read_at(cx, branch, Some(tip.oid), &proposal.id)?;
            shared.live_tip().map(|tip| tip.oid)
        }
        None => None,
    };
    let update =
        RefUpdate { name: cx.names.lease(&proposal.id), expected: Some(proposal.commit), new: waiting };
    if group_push::push(cx, &[update])?.pop() == Some(PushOutcome::Accepted) {
        remember(cx, &proposal.id, Some(proposal.commit), waiting)?;
    }
    Ok(())
}

/// The newest branch that is here: what was just brought lands apart, and only if it was not here before.
fn newest_branch(cx: &Cx<'_>) -> Result<Option<Oid>, SyncError> {
    let known = cx.world.objects.get_ref(super::names::TRACKING_BRANCH)?;
    let brought = cx.world.objects.get_ref(super::names::INCOMING_BRANCH)?;
    Ok(match (known, brought) {
        (Some(known), Some(brought)) if cx.world.objects.is_ancestor(known, brought)? => Some(brought),
        (known, brought) => known.or(brought),
    })
}
