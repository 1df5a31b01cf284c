//! What this machine holds, on its own clock: a holder stops itself at its deadline.

use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::protocol::lease::deadline;
use crate::protocol::op::{Action, Op};
use crate::protocol::task::{Lease, Status, Task};
use crate::protocol::time::Timestamp;
use crate::store::facts::Held;
use crate::sync::shared;

use super::error::{Error, Kind, Result};
use super::queue::Queue;

/// Remembers an accepted claim or renewal of this machine, counted from the moment before it was sent; and
/// forgets a lease that has ended.
pub(crate) fn renewed(q: &Queue, task: &Task, sent: Duration) -> Result<()> {
    let result = match task.lease() {
        Some(lease) if lease.machine == q.machine => q.store.remember_held(
            &q.world,
            task.id(),
            &Held {
                session: lease.session.clone(),
                epoch: lease.epoch,
                sent,
                ttl: lease.ttl,
                boot: q.world.clock.boot_id(),
            },
        ),
        _ => Ok(()),
    };
    result.map_err(|e| Error::from_store(&e))
}

/// Whether the lease of a task may be relied on: one that this machine has claimed only if it was confirmed.
///
/// A process may have died after its claim was pushed and before it had looked at the branch again.
pub(crate) fn is_confirmed(q: &Queue, task: &Task) -> bool {
    let Some(lease) = task.lease().filter(|lease| lease.machine == q.machine) else { return true };
    let told = q.store.held(&q.world, task.id());
    told.is_some_and(|held| held.epoch == lease.epoch && held.session == lease.session)
}

/// How much time the holder of a lease on this machine has left; zero when its deadline has passed.
///
/// Within one boot this is the suspend-counting clock. After a reboot only this machine's own wall clock
/// is left, and by it the expiry of the lease as the register has it: an act that was kept here extends the lease in
/// the file, and nobody else knows of it.
pub(crate) fn time_left(q: &Queue, task: &Task, lease: &Lease) -> Duration {
    match q.store.held(&q.world, task.id()) {
        Some(held)
            if held.epoch == lease.epoch
                && held.session == lease.session
                && held.boot == q.world.clock.boot_id() =>
        {
            deadline(held.sent, held.ttl).saturating_sub(q.world.clock.boottime())
        }
        _ => accepted_end(q, task.id(), lease).min(lease.expires_at).since(q.now()),
    }
}

/// When a lease runs out as far as the register is known here; its own word where that is not.
fn accepted_end(q: &Queue, id: &TaskId, lease: &Lease) -> Timestamp {
    let shared = if q.is_shared() { shared::read(&q.cx(), id).ok() } else { None };
    let known = shared.and_then(|shared| shared.view()).and_then(|merged| merged.task.lease().cloned());
    known.filter(|known| known.epoch == lease.epoch).map_or(lease.expires_at, |known| known.expires_at)
}

/// The epoch in which a session may act, or whose error it is that it may not: SPEC §15.
///
/// `None` means that the very same act was done before.
pub(crate) fn check(q: &Queue, task: &Task, named: Option<u64>, verb: &'static str) -> Result<Option<u64>> {
    let mine = |by: &str, machine: &str| by == q.session && machine == q.machine;
    let held = task.history().iter().rev().find_map(|op| match op.action {
        Action::Claim { epoch, .. } if mine(&op.by, &op.machine) => Some(epoch),
        _ => None,
    });
    let Some(held) = held else { return Err(dropped(q, task).unwrap_or_else(|| stranger(q, task, verb))) };
    match task.lease() {
        Some(lease) if mine(&lease.session, &lease.machine) => {
            if named.is_some_and(|epoch| epoch < lease.epoch) {
                return Err(fenced(task, "lease_lost", format!("epoch {} is over", named.unwrap_or(0))));
            }
            if time_left(q, task, lease).is_zero() {
                return Err(fenced(task, "expired", "the lease ran out before it was renewed".to_owned()));
            }
            if let Some(epoch) = named.filter(|epoch| *epoch > lease.epoch) {
                return Err(no_such_epoch(task, epoch));
            }
            Ok(Some(lease.epoch))
        }
        Some(lease) => Err(fenced(
            task,
            "fenced",
            format!("epoch {held} is over; {} holds epoch {}", lease.session, lease.epoch),
        )),
        None => ended(q, task, held, named, verb),
    }
}

/// The session's lease is gone. Whether that is its own doing decides between a conflict and a fence.
fn ended(q: &Queue, task: &Task, held: u64, named: Option<u64>, verb: &'static str) -> Result<Option<u64>> {
    let after_claim = task.history().iter().rev().take_while(
        |op| !matches!(op.action, Action::Claim { epoch, .. } if epoch == held && op.by == q.session),
    );
    // A checkpoint is an act within the epoch, not its end.
    let ends =
        |op: &&Op| op.action.based_on() == Some(held) && !matches!(op.action, Action::Checkpoint { .. });
    let end = after_claim.filter(ends).last();
    // A cancel or another plan is not an act of the holder, whoever gave it: an operator may go by the same name, and
    // the processes have to stop all the same. Nor does a watchdog of the same name act for the holder.
    let others =
        |op: &Op| matches!(op.action, Action::Cancel { .. } | Action::Replan { .. } | Action::Recover { .. });
    let own = end.is_some_and(|op| op.by == q.session && op.machine == q.machine && !others(op));
    let older = named.is_some_and(|epoch| epoch < held) || held < task.epoch();
    if let Some(epoch) = named.filter(|epoch| *epoch > task.epoch()) {
        return Err(no_such_epoch(task, epoch));
    }
    match end {
        Some(op) if own && !older && op.action.verb() == verb && verb == "done" => Ok(None),
        Some(_) if own && !older => Err(Error::new(
            Kind::Conflict,
            "conflict",
            format!("{}: `{verb}` does not fit a task that is {}", task.id(), word(task)),
        )),
        _ if task.status() == Status::Cancelled => {
            Err(fenced(task, "cancelled", "the task was cancelled".to_owned()))
        }
        Some(op) => {
            Err(fenced(task, "fenced", format!("{} ended epoch {held} (`{}`)", op.by, op.action.verb())))
        }
        None => Err(fenced(task, "fenced", format!("epoch {held} is over"))),
    }
}

/// A claim that this machine remembers although the task's history has no place for it any more: its lease
/// ref vanished and somebody else was faster.
fn dropped(q: &Queue, task: &Task) -> Option<Error> {
    let held = q.store.held(&q.world, task.id()).filter(|held| held.session == q.session)?;
    Some(fenced(
        task,
        "fenced",
        format!("epoch {} did not last; the task is at epoch {}", held.epoch, task.epoch()),
    ))
}

fn no_such_epoch(task: &Task, named: u64) -> Error {
    let message = format!("{}: epoch {named} does not exist; the task is at {}", task.id(), task.epoch());
    Error::new(Kind::Conflict, "conflict", message)
}

fn word(task: &Task) -> &'static str {
    crate::protocol::transition::status_word(task.status())
}

fn stranger(q: &Queue, task: &Task, verb: &'static str) -> Error {
    let message = match task.lease() {
        Some(lease) => format!(
            "{}: only the holder may `{verb}`; {} on {} holds it (epoch {})",
            task.id(),
            lease.session,
            lease.machine,
            lease.epoch
        ),
        None => format!("{}: {} has not claimed it; it is {}", task.id(), q.session, word(task)),
    };
    Error::new(Kind::Conflict, "not_holder", message)
        .hint("claim it first, or pass --session with the name that you claimed it under")
}

fn fenced(task: &Task, code: &'static str, why: String) -> Error {
    Error::new(Kind::Fenced, code, format!("{}: the lease is no longer yours: {why}", task.id())).hint(
        "stop working on it; `orch show` tells where it stands, `orch claim` takes it anew if it is free",
    )
}
