//! Watching leases: who has vanished, by this machine's own clock, and taking tasks back from them.

use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::protocol::lease::{Judgement, judge};
use crate::protocol::op::{Action, Role};
use crate::protocol::task::{Lease, Status, Task};
use crate::sync::shared;

use super::change::{self, Actor, Decision};
use super::error::{Error, Kind, Result};
use super::needs;
use super::queue::Queue;

/// A task that was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The task.
    pub id: TaskId,
    /// Who had it.
    pub session: String,
    /// In which epoch.
    pub epoch: u64,
    /// Where it went: pending, or failed when its attempts were used up.
    pub to: Status,
}

/// A lease that is being watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watching {
    /// The task.
    pub id: TaskId,
    /// Who holds it.
    pub session: String,
    /// In which epoch.
    pub epoch: u64,
    /// How long the lease has stood still on this machine's clock.
    pub still: Duration,
    /// How long it must stand still to be stale.
    pub needed: Duration,
}

/// What a round of the watchdog did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    /// Tasks that were taken back.
    pub recovered: Vec<Recovered>,
    /// Leases that are alive, or not stale yet.
    pub watching: Vec<Watching>,
    /// Ended leases that were folded into the branch.
    pub folded: usize,
}

/// How to judge leases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// Also call a lease stale whose own timestamp says that it ran out this long ago.
    pub trust_clocks: Option<Duration>,
}

/// One round: fetch, take back what is stale, apply failed needs, fold, publish.
///
/// # Errors
/// Unreachable (75) when the remote cannot be asked: leases are not judged from old knowledge.
pub fn round(q: &mut Queue, rules: Rules) -> Result<Watched> {
    if q.is_shared() && !q.no_sync {
        change::fetch_now(q).map_err(|e| Error::from_sync(&e))?;
    }
    let mut report = Watched::default();
    let role = q.role;
    q.role = Role::Source;
    let result = sweep(q, rules, &mut report);
    q.role = role;
    result?;
    needs::propagate(q)?;
    if q.is_shared() && !q.no_sync {
        // Folds can wait: what was taken back stands on its lease ref.
        report.folded = q.publish_if_room()?.map_or(0, |published| published.folded);
    } else {
        q.settle()?;
    }
    Ok(report)
}

fn sweep(q: &mut Queue, rules: Rules, report: &mut Watched) -> Result<()> {
    for task in q.store.in_progress().map_err(|e| Error::from_store(&e))? {
        let Some(lease) = task.lease().cloned() else { continue };
        match judgement(q, &task, &lease, rules)? {
            Judgement::Stale => {
                if let Some(recovered) = recover(q, &task, &lease, rules)? {
                    report.recovered.push(recovered);
                }
            }
            Judgement::Fresh(_) => report.watching.push(watching(q, &task, &lease, Duration::ZERO)),
            Judgement::Waiting { still, .. } => report.watching.push(watching(q, &task, &lease, still)),
        }
    }
    Ok(())
}

fn watching(q: &Queue, task: &Task, lease: &Lease, still: Duration) -> Watching {
    Watching {
        id: task.id().clone(),
        session: lease.session.clone(),
        epoch: lease.epoch,
        still,
        needed: q.patience().before_stale(lease.ttl),
    }
}

/// Takes a stale task back, unless a heartbeat arrives in between.
fn recover(q: &mut Queue, task: &Task, lease: &Lease, rules: Rules) -> Result<Option<Recovered>> {
    let id = task.id().clone();
    let retry_at = Some(q.retry_at(task));
    let epoch = lease.epoch;
    let outcome = change::status(q, &id, Actor::Anyone, &mut |q, now| {
        // The heartbeat that is named is the one that was judged: the file may be behind the lease ref.
        match now.lease() {
            Some(lease) if lease.epoch == epoch && judgement(q, now, lease, rules)? == Judgement::Stale => {
                Ok(Decision::Do(Action::Recover { epoch, beat: lease.beat, retry_at }))
            }
            _ => {
                let message = format!("{id}: the lease moved while it was being recovered");
                Err(Error::new(Kind::Conflict, "moved", message))
            }
        }
    });
    match outcome {
        Ok(changed) => {
            Ok(Some(Recovered { id, session: lease.session.clone(), epoch, to: changed.task.status() }))
        }
        Err(error) if error.kind == Kind::Conflict => Ok(None),
        Err(error) => Err(error),
    }
}

/// Looks at a lease once, so that its time runs from now on if it was not seen before.
pub(crate) fn observe(q: &Queue, id: &TaskId) -> Result<()> {
    let Ok(task) = q.load(id) else { return Ok(()) };
    match task.lease() {
        Some(lease) => judgement(q, &task, lease, Rules::default()).map(drop),
        None => Ok(()),
    }
}

/// Whether a lease may be taken over.
pub(crate) fn is_stale(q: &Queue, task: &Task, lease: &Lease) -> Result<bool> {
    Ok(judgement(q, task, lease, Rules::default())? == Judgement::Stale)
}

/// Tasks whose lease may be taken over, as far as this machine has watched them.
pub(crate) fn stale(q: &Queue) -> Result<Vec<TaskId>> {
    let mut found = Vec::new();
    for task in q.store.in_progress().map_err(|e| Error::from_store(&e))? {
        if let Some(lease) = task.lease()
            && is_stale(q, &task, lease)?
        {
            found.push(task.id().clone());
        }
    }
    Ok(found)
}

fn judgement(q: &Queue, task: &Task, lease: &Lease, rules: Rules) -> Result<Judgement> {
    if process_is_gone(q, lease) {
        return Ok(Judgement::Stale);
    }
    if let Some(skew) = rules.trust_clocks
        && q.now().since(lease.expires_at) > skew.saturating_add(q.settings.lease.grace)
    {
        return Ok(Judgement::Stale);
    }
    let token = token(q, task, lease)?;
    let known = q.store.sighting(&q.world, task.id());
    let now = q.world.clock.monotonic();
    let boot = q.world.clock.boot_id();
    let verdict = judge(known.as_ref(), &token, now, &boot, lease, q.patience());
    if let Judgement::Fresh(sighting) = &verdict
        && !q.read_only
    {
        q.store.remember_sighting(&q.world, task.id(), sighting).map_err(|e| Error::from_store(&e))?;
    }
    Ok(verdict)
}

/// What moves with every renewal: the object of the lease ref, or epoch and beat without a remote.
fn token(q: &Queue, task: &Task, lease: &Lease) -> Result<String> {
    if q.is_shared() {
        let shared = shared::read(&q.cx(), task.id()).map_err(|e| Error::from_sync(&e))?;
        if let Some(tip) = shared.tip {
            return Ok(tip.oid.to_string());
        }
    }
    Ok(format!("{}/{}", lease.epoch, lease.beat))
}

/// A lease of this machine that names a process which no longer runs.
fn process_is_gone(q: &Queue, lease: &Lease) -> bool {
    lease.machine == q.machine
        && lease.process.as_ref().is_some_and(|process| {
            let who = crate::world::ProcessId {
                pid: process.pid,
                start: process.start,
                boot: process.boot.clone(),
            };
            !q.world.process.alive(&who)
        })
}
