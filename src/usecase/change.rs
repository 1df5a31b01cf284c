//! The door for every change to a task: load, decide, commit, report.
//!
//! A change goes to the file when this machine is the register, or when it is an addition or an edit; and
//! to the lease ref when the task is shared and the change decides its status.

use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::protocol::merge::{last_claim, missing, rebase_acts};
use crate::protocol::op::{Action, Op};
use crate::protocol::task::Task;
use crate::protocol::transition::{Rejected, next};
use crate::store::tasks::{FileState, Publish};
use crate::sync::context::SyncError;
use crate::sync::fetch::{self, Fetched};
use crate::sync::register::{self, Swapped};
use crate::sync::shared::{self, Shared};
use crate::sync::{absorb, alarm, publish};
use crate::world::{Oid, RemoteError, RemoteFailure};

use super::error::{Error, Kind, Result};
use super::held;
use super::queue::Queue;

/// Lost races and passing failures before a change is given up.
const ROUNDS: u32 = 16;
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// What a use case wants to do, after looking at the task.
pub(crate) enum Decision {
    /// Issue this operation.
    Do(Action),
    /// It was done before: succeed without effect.
    Repeated,
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// The task after it.
    pub task: Task,
    /// Whether other machines can see it.
    pub published: bool,
    /// Whether it had been done before and nothing happened now.
    pub repeated: bool,
    /// Pushes that had to be repeated.
    pub retries: u32,
}

/// Who answers for a change when the remote cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Actor {
    /// A holder whose claim was confirmed: its acts are kept here and pushed later.
    Holder,
    /// A claimer, an operator, a watchdog: refused when the remote cannot be reached.
    Anyone,
}

type Decide<'d> = &'d mut dyn FnMut(&Queue, &Task) -> Result<Decision>;

/// Applies an addition's sibling: an edit, note or snooze, which goes to the branch.
pub(crate) fn edit(q: &mut Queue, id: &TaskId, decide: Decide<'_>) -> Result<Changed> {
    let (task, repeated) = in_file(q, id, decide, &[])?;
    let published = q.settle()?;
    // On the way the task may turn out to have ended; what was refused is kept under `rejected/`.
    if published && !repeated && q.is_shared() {
        let now = q.load(id)?;
        if task.history().last().is_some_and(|op| !now.has_op(op)) {
            let word = crate::protocol::transition::status_word(now.status());
            let message = format!("{id}: another machine was faster; the task is {word} by now");
            return Err(Error::new(Kind::Conflict, "conflict", message)
                .hint("`orch log` shows what happened, and the operation that was refused"));
        }
    }
    Ok(Changed { task, published, repeated, retries: 0 })
}

/// Applies a change of status through the task's register.
pub(crate) fn status(q: &mut Queue, id: &TaskId, actor: Actor, decide: Decide<'_>) -> Result<Changed> {
    if !q.is_shared() {
        let sent = q.world.clock.boottime();
        let (task, repeated) = in_file(q, id, decide, &[])?;
        if !repeated {
            held::renewed(q, &task, sent)?;
        }
        q.settle()?;
        return Ok(Changed { task, published: true, repeated, retries: 0 });
    }
    if q.no_sync {
        return offline(q, id, actor, decide, &[], no_sync_refused(id));
    }
    let before = q.start_budget();
    let (mut tries, mut sent) = (0, Vec::new());
    let outcome = loop {
        match in_register(q, id, actor, decide, &mut sent) {
            Err(Attempt::Again(_)) if tries < 5 => {
                tries += 1;
                q.cx().back_off(tries);
                // What was known of the lease ref may be what vanished: look at the remote anew.
                if let Err(error) =
                    register::forget(&q.cx(), id).and_then(|()| fetch::fetch(&q.cx()).map(drop))
                {
                    break Err(Attempt::from(error));
                }
            }
            other => break other,
        }
    };
    q.deadline = before;
    match outcome {
        Err(Attempt::Again(error)) if error.is_unreachable() => {
            offline(q, id, actor, decide, &sent, Error::from_sync(&error))
        }
        Err(Attempt::Again(error)) => Err(Error::from_sync(&error)),
        Err(Attempt::Unreachable(error)) => offline(q, id, actor, decide, &sent, Error::from_sync(&error)),
        Err(Attempt::Failed(error)) => Err(error),
        Ok(changed) => {
            if changed.task.lease().is_none() && !changed.repeated {
                q.fold_if_due();
            }
            Ok(changed)
        }
    }
}

fn no_sync_refused(id: &TaskId) -> Error {
    Error::new(
        Kind::Refused,
        "no_sync",
        format!("{id}: this queue is shared, so only the remote can decide; --no-sync forbids asking it"),
    )
    .hint("run the command without --no-sync")
}

/// Without the remote a holder's act is kept and pushed later; everybody else is refused.
///
/// What was sent last is kept as the same operation: perhaps it was accepted, and only the answer was lost.
fn offline(
    q: &mut Queue,
    id: &TaskId,
    actor: Actor,
    decide: Decide<'_>,
    sent: &[Sent],
    why: Error,
) -> Result<Changed> {
    if actor != Actor::Holder {
        return Err(why);
    }
    let (task, known) = match in_file(q, id, decide, sent) {
        // It is too late to send it, or its file is gone; but it was sent before, and nobody here knows whether that was
        // accepted.
        Err(error) if !sent.is_empty() => {
            let mut message = format!("{}; what was sent before may have been accepted", why.message);
            if !matches!(error.kind, Kind::Fenced | Kind::Conflict) {
                message = format!("{message}, and it cannot be kept here: {}", error.message);
            }
            let hint = "try again: once the remote answers, the answer is that of the act itself";
            return Err(Error { message, ..why }.hint(hint));
        }
        other => other?,
    };
    // While this process waited for an answer, another one of this machine may have fetched what was accepted.
    let accepted = known && sent.iter().any(|(op, _)| task.has_op(op));
    if !accepted {
        q.warn(format!("kept here, not published yet: {why}"));
    }
    Ok(Changed { task, published: accepted, repeated: known && !accepted, retries: 0 })
}

/// Changes the file under its lock. Says whether nothing was left to do; `sent` was on its way to the register already.
fn in_file(q: &mut Queue, id: &TaskId, decide: Decide<'_>, sent: &[Sent]) -> Result<(Task, bool)> {
    let guard = q.store.lock_task(&q.world, id, LOCK_WAIT).map_err(|e| Error::from_store(&e))?;
    let task = q.load(id)?;
    if sent.iter().any(|(op, _)| task.has_op(op)) {
        return Ok((task, true));
    }
    let Decision::Do(action) = decide(q, &task)? else { return Ok((task, true)) };
    let heartbeat = matches!(action, Action::Heartbeat { .. });
    if heartbeat && q.is_shared() {
        // A renewal that nobody else sees extends nothing: the lease stays as it was last accepted.
        return Ok((task, true));
    }
    let same = |op: &&Op| (op.action.verb(), op.action.based_on()) == (action.verb(), action.based_on());
    let op = match sent.last().map(|(op, _)| op).filter(same) {
        Some(sent) => sent.clone(),
        None => q.op(action),
    };
    check_bounds(&op)?;
    let after = next(Some(&task), id, &op).map_err(|why| Error::rejected(id, &why))?;
    check_size(Some(&task), &after, &op)?;
    let publish = if heartbeat { Publish::AsBefore } else { Publish::Waiting };
    q.store.write(&q.world, &guard, &after, publish).map_err(|e| Error::from_store(&e))?;
    Ok((after, false))
}

/// What a file cannot hold is refused before it is written.
pub(crate) fn check_bounds(op: &Op) -> Result<()> {
    crate::store::tasks::check_bounds(op).map_err(|why| Error::new(Kind::Refused, "invalid", why))
}

/// An operation after which nobody could read the file is refused before anything is written or pushed.
pub(crate) fn check_size(before: Option<&Task>, after: &Task, op: &Op) -> Result<()> {
    if crate::store::codec::has_room(before, after, op) {
        return Ok(());
    }
    Err(Error::rejected(after.id(), &Rejected::TooLarge))
}

/// An operation that was sent towards the register, and when (time of [`crate::world::Clock::boottime`]).
type Sent = (Op, Duration);

enum Attempt {
    /// An object vanished or a ref moved under us: from the start again.
    Again(SyncError),
    /// The network; a holder's act is kept.
    Unreachable(SyncError),
    /// Anything else.
    Failed(Error),
}

impl From<SyncError> for Attempt {
    fn from(error: SyncError) -> Self {
        if error.is_passing() {
            Attempt::Again(error)
        } else if error.is_unreachable() {
            Attempt::Unreachable(error)
        } else {
            Attempt::Failed(Error::from_sync(&error))
        }
    }
}

impl From<Error> for Attempt {
    fn from(error: Error) -> Self {
        Attempt::Failed(error)
    }
}

/// What was found out and done on the way to a swap.
#[derive(Default)]
struct Way {
    retries: u32,
    /// Pushes to which no answer came.
    silent: u32,
    /// The remote was looked at.
    looked: bool,
    /// What this machine had kept was published.
    flushed: bool,
    /// The lease ref that was here before a look that was to confirm it.
    doubted: Option<Option<Oid>>,
}

impl Way {
    fn look(&mut self, q: &mut Queue) -> std::result::Result<(), Attempt> {
        self.looked = true;
        fetch_now(q)?;
        Ok(())
    }

    fn lost(&mut self, q: &mut Queue) -> std::result::Result<(), Attempt> {
        self.retries += 1;
        self.look(q)
    }

    fn not_accepted(&mut self, q: &mut Queue, swapped: Swapped) -> std::result::Result<(), Attempt> {
        if let Swapped::Unclear(error) = swapped {
            self.silent += 1;
            if self.silent >= register::TRIES {
                return Err(error.into());
            }
            q.cx().back_off(self.silent);
        }
        self.lost(q)
    }
}

/// Swaps the lease ref until the operation stands or does not fit any more.
fn in_register(
    q: &mut Queue,
    id: &TaskId,
    actor: Actor,
    decide: Decide<'_>,
    sent: &mut Vec<Sent>,
) -> std::result::Result<Changed, Attempt> {
    let mut way = Way::default();
    if actor == Actor::Anyone && alarm::standing(&q.cx()).is_some() {
        // Before anything is pushed: it would have to be taken back.
        way.look(q)?;
    }
    for round in 0..ROUNDS {
        let Some(known) = known(q, id)? else {
            introduce(q, id, &mut way)?;
            continue;
        };
        if let Some(accepted) = accepted_before(q, id, actor, &known, sent, &way)? {
            return Ok(accepted);
        }
        if !is_ready(q, id, actor, &known, &mut way)? {
            continue;
        }
        let Known { shared, view, acts, kept, .. } = known;
        let action = match decide(q, &view) {
            Ok(Decision::Do(action)) => action,
            // Its lease ref may be gone, or void.
            Ok(Decision::Repeated) if actor == Actor::Anyone && !still_stands(q, id, &view)? => {
                way.lost(q)?;
                continue;
            }
            Ok(Decision::Repeated) => return told_again(q, id, view, kept, way.retries),
            // What this machine knows may be old: look once before refusing.
            Err(_) if !way.looked => {
                way.look(q)?;
                continue;
            }
            Err(error) => return Err(Attempt::Failed(error)),
        };
        let op = q.op(action);
        check_bounds(&op)?;
        let sent_at = q.world.clock.boottime();
        let proposal = match register::propose(&q.cx(), id, &shared, &acts, &op)? {
            Ok(proposal) => proposal,
            Err(_) if !way.looked => {
                way.look(q)?;
                continue;
            }
            Err(why) => return Err(Attempt::Failed(Error::rejected(id, &why))),
        };
        sent.push((op.clone(), sent_at));
        let swapped = register::swap(&q.cx(), &proposal, &mut way.retries)?;
        if !matches!(swapped, Swapped::Accepted(_)) {
            way.not_accepted(q, swapped)?;
            continue;
        }
        if let Some(task) = settle_swap(q, id, actor, &proposal, &shared, &op)? {
            held::renewed(q, &task, sent_at)?;
            return Ok(Changed { task, published: true, repeated: false, retries: way.retries });
        }
        q.cx().back_off(round);
        way.lost(q)?;
    }
    let message = format!("{id}: {ROUNDS} attempts lost against other machines");
    Err(Attempt::Failed(Error::new(Kind::Conflict, "contention", message).hint("try again")))
}

/// Nothing is left to do. Whoever did it may have died before it was in the file, and somebody may force away the ref that
/// shows it.
fn told_again(
    q: &Queue,
    id: &TaskId,
    task: Task,
    kept: bool,
    retries: u32,
) -> std::result::Result<Changed, Attempt> {
    absorb::absorb(&q.cx(), id, &mut Fetched::default())?;
    Ok(Changed { task, published: !kept, repeated: true, retries })
}

/// Only this machine knows the task: other machines must see it before anybody can claim it.
fn introduce(q: &mut Queue, id: &TaskId, way: &mut Way) -> std::result::Result<(), Attempt> {
    if way.looked {
        // What others lack because its file here is damaged is no task that is not there.
        let error = q.load(id).err().unwrap_or_else(|| Error::no_task(id));
        return Err(Attempt::Failed(error));
    }
    let published = publish::publish(&q.cx(), publish::Scope::Waiting)?;
    q.say(&published.fetched);
    way.look(q)
}

/// An operation that was accepted after all: its answer was lost, and somebody went on from there before the
/// ref was read again. A holder's may also arrive late, after another one was sent for the same act.
fn accepted_before(
    q: &Queue,
    id: &TaskId,
    actor: Actor,
    known: &Known,
    sent: &[Sent],
    way: &Way,
) -> std::result::Result<Option<Changed>, Attempt> {
    let Some(merged) = known.shared.view().filter(|_| way.looked && !sent.is_empty()) else {
        return Ok(None);
    };
    let from = if actor == Actor::Holder { 0 } else { sent.len() - 1 };
    let Some((_, sent_at)) = sent[from..].iter().rfind(|(op, _)| merged.task.has_op(op)) else {
        return Ok(None);
    };
    absorb::absorb(&q.cx(), id, &mut Fetched::default())?;
    held::renewed(q, &merged.task, *sent_at)?;
    // As after any accepted swap, without what waits here: it is told as published.
    let task = merged.task.clone();
    Ok(Some(Changed { task, published: true, repeated: false, retries: way.retries }))
}

/// Whether what is known may be built upon; if not, something was done about it and it must be read again.
fn is_ready(
    q: &mut Queue,
    id: &TaskId,
    actor: Actor,
    known: &Known,
    way: &mut Way,
) -> std::result::Result<bool, Attempt> {
    // What this machine has kept comes first: the register would refuse its acts after what is to follow, and a note
    // from before would stand as the last word. An edit that does not get through holds up nobody, and a holder's
    // renewal does not wait for one.
    if !way.flushed && (known.kept || known.edited && actor == Actor::Anyone) {
        way.flushed = true;
        let published = publish::publish(&q.cx(), publish::Scope::Waiting)?;
        q.say(&published.fetched);
        return Ok(false);
    }
    if known.kept {
        return Err(Attempt::Unreachable(SyncError::Remote(RemoteError {
            kind: RemoteFailure::Timeout,
            message: format!("what this machine has kept of {id} could not be published in time"),
        })));
    }
    if held::is_confirmed(q, &known.view) {
        return Ok(true);
    }
    let tip = known.shared.tip.as_ref().map(|tip| tip.oid);
    if way.doubted != Some(tip) {
        // A claim of this machine was pushed, but its process died before it had looked at the branch again.
        way.doubted = Some(tip);
        way.look(q)?;
        return Ok(false);
    }
    renew_found(q, id, known, way)
}

/// A claim of this session stands of which nobody was told. Whoever made it may have died while it was taking it back,
/// and that deletion may still be on its way: it names the very object that the ref holds. So the claim is renewed
/// first, which puts another object there; then it may be relied on. As [`is_ready`].
fn renew_found(
    q: &mut Queue,
    id: &TaskId,
    known: &Known,
    way: &mut Way,
) -> std::result::Result<bool, Attempt> {
    let Some(lease) = known.view.lease().filter(|lease| q.holds(lease)) else {
        // Whatever somebody else does to it puts another object there as well.
        return Ok(true);
    };
    if held::time_left(q, &known.view, lease).is_zero() {
        return Ok(true);
    }
    let op = q.op(Action::Heartbeat { epoch: lease.epoch, progress: None });
    let sent = q.world.clock.boottime();
    let Ok(proposal) = register::propose(&q.cx(), id, &known.shared, &known.acts, &op)? else {
        return Ok(true);
    };
    let swapped = register::swap(&q.cx(), &proposal, &mut way.retries)?;
    if !matches!(swapped, Swapped::Accepted(_)) {
        way.not_accepted(q, swapped)?;
    } else if still_stands(q, id, &known.view)? {
        held::renewed(q, &q.load(id)?, sent)?;
    } else {
        way.lost(q)?;
    }
    Ok(false)
}

/// After an accepted swap: an acknowledgement to anybody but a confirmed holder needs another look at the
/// branch first. `None` = it does not stand and was withdrawn.
fn settle_swap(
    q: &mut Queue,
    id: &TaskId,
    actor: Actor,
    proposal: &register::Proposal,
    before: &Shared,
    op: &Op,
) -> std::result::Result<Option<Task>, Attempt> {
    // A holder whose lease ref had vanished sets it up again under the rules of a claim.
    if actor == Actor::Holder && before.live_tip().is_some() {
        absorb::absorb(&q.cx(), id, &mut Fetched::default())?;
        return Ok(Some(q.load(id)?));
    }
    let mut fetched = Fetched::default();
    let stands = register::stands(&q.cx(), id, op, &mut fetched);
    q.say(&fetched);
    let shared = match stands {
        Ok(Some(shared)) => shared,
        Ok(None) => {
            register::withdraw(&q.cx(), proposal, before.tip.as_ref())?;
            absorb::absorb(&q.cx(), id, &mut Fetched::default())?;
            return Ok(None);
        }
        // Nobody is told of it, so it must not stay if that can be helped. What has ended stays, whatever went wrong here:
        // another machine may be about to fold it, and its push of the branch would bring back what was taken back
        // here, after somebody else had claimed the task, or its holder had gone on. Unless the look has shown that the task
        // is in flight under the other name, where nobody would hear of it.
        Err(error) if ends(op) && !matches!(error, SyncError::Elsewhere { .. }) => {
            return Err(unconfirmed(id, error));
        }
        Err(error) => {
            let _ = register::withdraw(&q.cx(), proposal, before.tip.as_ref());
            return Err(error.into());
        }
    };
    absorb::absorb(&q.cx(), id, &mut Fetched::default())?;
    match shared.view() {
        Some(merged) => Ok(Some(merged.task)),
        None => Ok(Some(q.load(id)?)),
    }
}

/// What was accepted stands, but this machine could not look whether it counts.
fn unconfirmed(id: &TaskId, error: SyncError) -> Attempt {
    match Attempt::from(error) {
        Attempt::Failed(why) => {
            let message = format!("{}; what was sent before may have been accepted", why.message);
            let hint = format!(
                "once that is mended, `orch sync` and `orch show {id}` tell; trying again does no harm"
            );
            Attempt::Failed(Error { message, ..why }.hint(hint))
        }
        other => other,
    }
}

/// Whether a task is not in progress after an operation, so that it waits for its fold.
fn ends(op: &Op) -> bool {
    !matches!(op.action, Action::Claim { .. } | Action::Heartbeat { .. } | Action::Checkpoint { .. })
}

/// Whether the claim that a task in progress rests on stands on the remote as well.
fn still_stands(q: &mut Queue, id: &TaskId, view: &Task) -> std::result::Result<bool, Attempt> {
    let claim = view.history().iter().rev().find(|op| matches!(op.action, Action::Claim { .. }));
    match claim {
        Some(claim) => {
            let mut fetched = Fetched::default();
            let stands = register::stands(&q.cx(), id, claim, &mut fetched);
            q.say(&fetched);
            // It may stand in the history and be over by now.
            let held = |task: &Task| task.lease().is_some() && last_claim(task) == Some(claim.id);
            if !stands?.and_then(|shared| shared.view()).is_some_and(|merged| held(&merged.task)) {
                return Ok(false);
            }
            // The process that made it may have died before it wrote the file.
            absorb::absorb(&q.cx(), id, &mut Fetched::default())?;
            Ok(true)
        }
        None => Ok(true),
    }
}

/// A task that others know too.
struct Known {
    /// What all machines share.
    shared: Shared,
    /// The task as this machine sees it.
    view: Task,
    /// The same without edits of this machine that nobody else has seen: what a lease ref may hold. One that went out
    /// with a claim would count as published, and be gone from the remote again when the claim is withdrawn.
    acts: Task,
    /// Whether this machine has kept acts on it that nobody else has seen.
    kept: bool,
    /// The same of edits.
    edited: bool,
}

/// What is known of a task; `None` if nobody else knows it.
fn known(q: &Queue, id: &TaskId) -> std::result::Result<Option<Known>, Attempt> {
    let shared = shared::read(&q.cx(), id)?;
    let Some(merged) = shared.view() else { return Ok(None) };
    let file = q.store.read(&q.world, id).map_err(|e| Error::from_store(&e))?;
    let view = match file {
        FileState::Task { task, .. } => absorb::replayed(&q.cx(), &merged.task, &task).task,
        FileState::Absent => merged.task.clone(),
        FileState::Edited { .. } | FileState::Problem(_) => {
            return Err(q
                .load(id)
                .err()
                .map_or_else(|| Attempt::Failed(Error::no_task(id)), Attempt::Failed));
        }
    };
    let lacks = |act: bool| missing(&merged.task, &view).any(|op| op.action.based_on().is_some() == act);
    let (kept, edited) = (lacks(true), lacks(false));
    let acts = rebase_acts(&merged.task, &view, &q.machine).task;
    Ok(Some(Known { shared, view, acts, kept, edited }))
}

/// Fetches now, and passes on what it found to say.
pub(crate) fn fetch_now(q: &mut Queue) -> std::result::Result<Fetched, SyncError> {
    let fetched = fetch::fetch(&q.cx())?;
    q.say(&fetched);
    Ok(fetched)
}
