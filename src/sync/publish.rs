//! Publishing: what waits on this machine goes to the remote in one push, and ended leases are folded.
//!
//! Additions and edits go to the branch, acts of holders to lease refs, folds to the branch. Every ref is
//! a compare-and-swap by itself; what was refused is fetched, replayed and tried again, or kept as
//! rejected. Lease refs are deleted only after the branch holds what they held.

use std::collections::BTreeMap;

use crate::protocol::id::TaskId;
use crate::protocol::merge::{missing, rebase_acts, same_task};
use crate::protocol::op::{Action, Op};
use crate::protocol::task::{Status, Task};
use crate::protocol::transition::next;
use crate::store::codec;
use crate::store::tasks::FileState;
use crate::world::remote::passing;
use crate::world::{NewCommit, Oid, PushOutcome, RefUpdate, RemoteError, RemoteFailure};

use super::absorb;
use super::archive;
use super::context::{Cx, SyncError};
use super::fetch::{self, Fetched};
use super::files::FileChange;
use super::group_push;
use super::message;
use super::names::TRACKING_BRANCH;
use super::register::{self, Proposal};
use super::sessions;
use super::shared::{self, Shared, known_leases};

/// Rounds of fetch and push before the rest is left for the next sync.
const ROUNDS: u32 = 12;

/// Pushes in a row that change nothing, although nobody forbids them, before that is reported.
const STUCK: u32 = 5;

/// What a round of publishing did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// Refs that were moved on the remote.
    pub pushed: usize,
    /// Leases that were folded.
    pub folded: usize,
    /// Tasks whose operations were replayed on a branch that had moved.
    pub replayed: usize,
    /// Pushes that had to be repeated.
    pub retries: u32,
    /// What the fetches in between brought to say.
    pub fetched: Fetched,
}

/// What shall be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything that waits here.
    Waiting,
    /// Also what ended and waits for its fold.
    WaitingAndFolds,
}

/// Publishes until nothing is left that can be published.
///
/// # Errors
/// The remote cannot be reached, or refuses the branch although nobody moved it.
pub fn publish(cx: &Cx<'_>, scope: Scope) -> Result<Published, SyncError> {
    let mut report = Published::default();
    let mut stuck = 0;
    let began = cx.world.clock.monotonic();
    for round in 0..ROUNDS {
        // On a slow link every race may be lost to neighbours on a fast one. What waits here is safe and is told as
        // unpublished; whoever waits for the answer has waited as long as for one step that hangs.
        if round > 0 && cx.world.clock.monotonic().saturating_sub(began) > cx.limit {
            return Ok(report);
        }
        if super::alarm::standing(cx).is_some() {
            return Ok(report);
        }
        let plan = cx.again(|| Plan::make(cx, scope, &mut report.fetched))?;
        if plan.is_empty() && plan.again {
            continue;
        }
        if plan.is_empty() {
            return Ok(report);
        }
        match push_plan(cx, &plan, &mut report) {
            Ok(Pushed::All) => {
                stuck = 0;
                continue;
            }
            Ok(Pushed::Overtaken) => stuck = 0,
            Ok(Pushed::Stuck(error)) => {
                stuck += 1;
                if stuck >= STUCK {
                    return Err(error.into());
                }
            }
            Err(error) if error.is_passing() => {}
            Err(error) => return Err(error),
        }
        report.retries += 1;
        report.replayed += plan.ids.len();
        cx.back_off(round + 1);
        report.fetched.join(fetch::fetch(cx)?);
    }
    Ok(report)
}

/// One push that is ready to go.
struct Plan {
    base: Option<Oid>,
    branch: Option<Oid>,
    leases: Vec<Proposal>,
    /// Lease refs that can be deleted once the branch has moved, by the object that was folded.
    folds: Vec<(TaskId, Oid)>,
    /// Lease refs that hold nothing that the branch lacks.
    void: Vec<(TaskId, Oid)>,
    ids: Vec<TaskId>,
    /// Whether another plan has to follow, whatever this one holds.
    again: bool,
    /// Files of sessions that are in the commit of the branch.
    sessions: Vec<(String, String)>,
}

impl Plan {
    fn is_empty(&self) -> bool {
        self.branch.is_none() && self.leases.is_empty() && self.void.is_empty()
    }

    fn make(cx: &Cx<'_>, scope: Scope, fetched: &mut Fetched) -> Result<Plan, SyncError> {
        let base = cx.world.objects.get_ref(TRACKING_BRANCH)?;
        let mut draft = Draft::default();
        for id in cx.store.unpublished()? {
            draft.waiting(cx, &id, fetched)?;
        }
        if scope == Scope::WaitingAndFolds {
            for (id, _) in known_leases(cx)? {
                draft.fold(cx, &id)?;
            }
        }
        let mut changes: Vec<FileChange> = Vec::new();
        for task in draft.files.values() {
            changes.extend(archive::changes(cx, base, task)?);
        }
        changes.extend(super::files::waiting(cx, base)?);
        // What sessions left waits for a commit that is made anyway.
        let mut marks = Vec::new();
        if !changes.is_empty() {
            let sessions = sessions::waiting(cx, base)?;
            changes.extend(sessions.changes);
            marks = sessions.marks;
        }
        let branch = (!changes.is_empty())
            .then(|| {
                cx.world.objects.commit(&NewCommit {
                    base,
                    changes: &changes,
                    parents: base.as_slice(),
                    author: &message::author(cx.by),
                    at_s: cx.world.clock.wall_ms() / 1000,
                    message: &message::for_branch(&draft.ops),
                })
            })
            .transpose()?;
        let ids = draft.files.keys().cloned().chain(draft.leases.iter().map(|p| p.id.clone())).collect();
        let Draft { leases, folds, void, again, .. } = draft;
        Ok(Plan { base, branch, leases, folds, void, ids, again, sessions: marks })
    }
}

#[derive(Default)]
struct Draft {
    /// Whether something that waits is left to another round.
    again: bool,
    files: BTreeMap<TaskId, Task>,
    ops: Vec<(String, Op)>,
    leases: Vec<Proposal>,
    folds: Vec<(TaskId, Oid)>,
    void: Vec<(TaskId, Oid)>,
}

impl Draft {
    /// What a file holds that nobody shares yet.
    fn waiting(&mut self, cx: &Cx<'_>, id: &TaskId, fetched: &mut Fetched) -> Result<(), SyncError> {
        let FileState::Task { task: local, .. } = cx.store.read(cx.world, id)? else { return Ok(()) };
        let shared = match shared::read(cx, id) {
            Err(SyncError::Quarantined { .. }) => return Ok(()),
            other => other?,
        };
        if shared.branch.as_ref().is_some_and(|branch| !same_task(branch, &local)) {
            // The id was taken by another machine; absorbing gives this task a new one.
            return absorb::absorb(cx, id, fetched);
        }
        if shared.view().is_some_and(|view| !absorb::overflow(&view.task, &local).is_empty()) {
            // Absorbing takes out what there is no room for; the rest is for the next round.
            self.again = true;
            return absorb::absorb(cx, id, fetched);
        }
        let before = (self.ops.len(), self.leases.len());
        self.branch_part(id, &shared, &local);
        self.register_part(cx, id, &shared, &local)?;
        if before == (self.ops.len(), self.leases.len()) {
            // Everything is out already, or refused by now: whoever pushed it died before noting so.
            return absorb::absorb(cx, id, fetched);
        }
        Ok(())
    }

    /// Additions and edits.
    fn branch_part(&mut self, id: &TaskId, shared: &Shared, local: &Task) {
        let known = shared.view().map(|merged| merged.task);
        let Some(known) = &known else { return self.whole(id, local) };
        for op in missing(known, local).filter(|op| op.action.based_on().is_none()) {
            let base = self.files.get(id).or(shared.branch.as_ref());
            let (after, first) = match next(base, id, op) {
                Ok(after) => (after, Vec::new()),
                // The branch has the task as ended, and the lease ref holds the retry and a claim after it.
                Err(_) => match reopened(id, shared, base)
                    .and_then(|(base, first)| Some((next(Some(&base), id, op).ok()?, first)))
                {
                    Some(found) => found,
                    None => continue,
                },
            };
            self.files.insert(id.clone(), after);
            self.ops.extend(first.into_iter().chain([op.clone()]).map(|op| (id.to_string(), op)));
        }
    }

    /// A task that nobody shares: one that is new, or one whose file somebody has deleted on the branch. It comes with
    /// its whole history up to a claim that its lease rests on, which belongs on a lease ref.
    fn whole(&mut self, id: &TaskId, local: &Task) {
        let history = local.history();
        let claim = history.iter().rposition(|op| matches!(op.action, Action::Claim { .. }));
        let end = claim.filter(|_| local.status() == Status::InProgress).unwrap_or(history.len());
        let told = history[..end]
            .iter()
            .try_fold(None, |task: Option<Task>, op| next(task.as_ref(), id, op).map(Some));
        if let Ok(Some(task)) = told {
            self.ops.extend(history[..end].iter().map(|op| (id.to_string(), op.clone())));
            self.files.insert(id.clone(), task);
        }
    }

    /// Acts of holders on this machine, heartbeats included.
    fn register_part(
        &mut self,
        cx: &Cx<'_>,
        id: &TaskId,
        shared: &Shared,
        local: &Task,
    ) -> Result<(), SyncError> {
        let Some(view) = shared.view().map(|merged| merged.task) else { return Ok(()) };
        if absorb::unconfirmed(cx, &view, local).is_some() {
            return Ok(());
        }
        let base = shared.live_tip().map_or(&view, |tip| &tip.task);
        // Edits go to the branch: on the ref they would stand between a claim and what followed it.
        let merged = rebase_acts(base, local, cx.machine);
        let status: Vec<&Op> =
            missing(base, &merged.task).filter(|op| op.action.based_on().is_some()).collect();
        let beats = merged.task.lease() != base.lease();
        let Some(op) =
            status.last().copied().or_else(|| beats.then(|| merged.task.history().last()).flatten())
        else {
            return Ok(());
        };
        let parents: Vec<Oid> = match shared.live_tip() {
            Some(tip) if status.is_empty() => cx.world.objects.commit_info(tip.oid)?.parents,
            Some(tip) => vec![tip.oid],
            None => Vec::new(),
        };
        let commit = register::write(cx, &merged.task, &parents, &message::for_lease(&merged.task, op), op)?;
        let expected = shared.tip.as_ref().map(|tip| tip.oid);
        self.leases.push(Proposal { id: id.clone(), expected, commit });
        Ok(())
    }

    /// A lease ref that has ended, or that the branch has overtaken.
    fn fold(&mut self, cx: &Cx<'_>, id: &TaskId) -> Result<(), SyncError> {
        if self.leases.iter().any(|proposal| proposal.id == *id) {
            return Ok(());
        }
        let shared = match shared::read(cx, id) {
            Err(SyncError::Quarantined { .. }) => return Ok(()),
            other => other?,
        };
        let (Some(tip), true) = (&shared.tip, shared.wants_fold()) else { return Ok(()) };
        let Some(live) = shared.live_tip() else {
            self.void.push((id.clone(), tip.oid));
            return Ok(());
        };
        let base = self.files.get(id).or(shared.branch.as_ref());
        let (folded, ops) = match base {
            None => (live.task.clone(), live.task.history().to_vec()),
            Some(base) => {
                let ops = missing(base, &live.task).cloned().collect();
                (crate::protocol::merge::overlay(base, &live.task).task, ops)
            }
        };
        if !codec::fits(&codec::encode(&folded)) {
            // Nobody could read it, and the lease ref that holds it is safe: one task must not hold up the others.
            return Ok(());
        }
        self.ops.extend(ops.into_iter().map(|op| (id.to_string(), op)));
        self.files.insert(id.clone(), folded);
        self.folds.push((id.clone(), tip.oid));
        Ok(())
    }
}

/// What the branch lacks of a task in flight up to the claim that its lease rests on, and the branch's file with
/// that. The claim itself stays on the lease ref: folded, it would make the ref void.
fn reopened(id: &TaskId, shared: &Shared, base: Option<&Task>) -> Option<(Task, Vec<Op>)> {
    let (tip, base) = (shared.live_tip()?, base?);
    let mut ops: Vec<Op> = missing(base, &tip.task).cloned().collect();
    if tip.task.status() == Status::InProgress {
        let claim = ops.iter().rposition(|op| matches!(op.action, Action::Claim { .. }))?;
        ops.truncate(claim);
    }
    let after = ops.iter().try_fold(base.clone(), |task, op| next(Some(&task), id, op).ok())?;
    Some((after, ops))
}

/// What became of a push.
enum Pushed {
    /// Everything was accepted.
    All,
    /// Somebody was faster: everything must be looked at again.
    Overtaken,
    /// Something was not accepted although nobody moved its ref or forbids it: a lock that was left behind on the
    /// remote, an answer that got lost.
    Stuck(RemoteError),
}

/// Pushes a plan.
fn push_plan(cx: &Cx<'_>, plan: &Plan, report: &mut Published) -> Result<Pushed, SyncError> {
    let mut updates: Vec<RefUpdate> = Vec::new();
    if let Some(commit) = plan.branch {
        updates.push(RefUpdate { name: cx.names.branch.clone(), expected: plan.base, new: Some(commit) });
    }
    updates.extend(plan.leases.iter().map(|proposal| proposal.update(cx)));
    updates.extend(plan.void.iter().map(|(id, oid)| deletion(cx, id, *oid)));
    let outcomes = group_push::push(cx, &updates)?;
    let Resolved { outcomes, declined, stuck } = resolve(cx, &updates, outcomes)?;
    report.pushed += outcomes.iter().filter(|o| **o == PushOutcome::Accepted).count();
    let mut outcome = outcomes.iter();
    let mut all = true;
    if let Some(commit) = plan.branch {
        match outcome.next() {
            Some(PushOutcome::Accepted) => branch_accepted(cx, plan, commit, report)?,
            _ => all = false,
        }
    }
    for proposal in &plan.leases {
        if outcome.next() == Some(&PushOutcome::Accepted) {
            register::remember(cx, &proposal.id, proposal.expected, Some(proposal.commit))?;
            absorb::absorb(cx, &proposal.id, &mut report.fetched)?;
            // A ref that had to be made anew stands under the rules of a claim: look at the branch again.
            all &= proposal.expected.is_some();
        } else {
            all = false;
        }
    }
    for (id, oid) in &plan.void {
        if outcome.next() == Some(&PushOutcome::Accepted) {
            register::remember(cx, id, Some(*oid), None)?;
            absorb::absorb(cx, id, &mut report.fetched)?;
        } else {
            all = false;
        }
    }
    match (declined, stuck) {
        (Some(error), _) => Err(error),
        (None, Some(error)) => Ok(Pushed::Stuck(error)),
        (None, None) if all => Ok(Pushed::All),
        (None, None) => Ok(Pushed::Overtaken),
    }
}

fn deletion(cx: &Cx<'_>, id: &TaskId, oid: Oid) -> RefUpdate {
    RefUpdate { name: cx.names.lease(id), expected: Some(oid), new: None }
}

/// The branch holds our commit: remember it, absorb it, and delete what was folded.
fn branch_accepted(cx: &Cx<'_>, plan: &Plan, commit: Oid, report: &mut Published) -> Result<(), SyncError> {
    cx.store.remember_unabsorbed(&plan.ids)?;
    fetch::move_tracking(cx, plan.base, Some(commit))?;
    super::files::published(cx, commit)?;
    cx.store.forget_sessions(&plan.sessions)?;
    absorb::absorb_all(cx, &plan.ids, &mut report.fetched)?;
    report.folded += plan.folds.len();
    let deletions: Vec<RefUpdate> = plan.folds.iter().map(|(id, oid)| deletion(cx, id, *oid)).collect();
    let outcomes = group_push::push(cx, &deletions)?;
    for ((id, oid), outcome) in plan.folds.iter().zip(outcomes) {
        if outcome == PushOutcome::Accepted {
            register::remember(cx, id, Some(*oid), None)?;
        }
    }
    Ok(())
}

/// The outcomes of a push, held against what the remote holds now.
struct Resolved {
    outcomes: Vec<PushOutcome>,
    /// Policy: ends the sync once the others were noted.
    declined: Option<SyncError>,
    /// Nobody moved the ref, nobody forbids it, and yet it was not accepted.
    stuck: Option<RemoteError>,
}

/// Replaces every outcome that is not plain by what the remote holds now; an unmoved ref that was refused
/// is policy, and ends the sync with its message once the others were noted.
fn resolve(cx: &Cx<'_>, updates: &[RefUpdate], outcomes: Vec<PushOutcome>) -> Result<Resolved, SyncError> {
    if outcomes.iter().all(|outcome| *outcome == PushOutcome::Accepted) {
        return Ok(Resolved { outcomes, declined: None, stuck: None });
    }
    let names: Vec<&str> = updates.iter().map(|update| update.name.as_str()).collect();
    let refs = cx.remote()?.refs(&names, cx.left())?;
    let now = |name: &str| refs.iter().find(|(found, _)| found == name).map(|(_, oid)| *oid);
    let mut resolved = Vec::new();
    let (mut declined, mut stuck) = (None, None);
    for (update, outcome) in updates.iter().zip(outcomes) {
        let actual = now(&update.name);
        resolved.push(match outcome {
            PushOutcome::Accepted => PushOutcome::Accepted,
            _ if actual == update.new => PushOutcome::Accepted,
            PushOutcome::Refused(message) if actual == update.expected => {
                match passing(&message) {
                    // A concurrent `git gc` over there; the next round writes everything anew.
                    Some(RemoteFailure::MissingObject) => {}
                    Some(kind) => stuck = Some(RemoteError { kind, message: message.clone() }),
                    None => {
                        let name = update.name.clone();
                        declined = Some(SyncError::Declined { name, message: message.clone() });
                    }
                }
                PushOutcome::Refused(message)
            }
            PushOutcome::Unknown(message) if actual == update.expected => {
                let kind = passing(&message).unwrap_or(RemoteFailure::Unreachable);
                stuck = Some(RemoteError { kind, message: message.clone() });
                PushOutcome::Unknown(message)
            }
            other => other,
        });
    }
    Ok(Resolved { outcomes: resolved, declined, stuck })
}
