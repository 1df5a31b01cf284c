//! Claiming: one task by name, or the first that is ready.

use std::time::Duration;

use crate::protocol::gates::ready;
use crate::protocol::id::TaskId;
use crate::protocol::op::{Action, ProcessRef};
use crate::protocol::task::Task;
use crate::protocol::time::Timestamp;
use crate::sync::shared;

use super::change::{self, Actor, Changed, Decision};
use super::error::{Error, Kind, Result};
use super::queue::Queue;
use super::run::Choice;
use super::{around, held, watch};

/// Knowledge of the remote that is younger than this is good enough to choose from: the push decides.
const FRESH: Duration = Duration::from_secs(2);
/// Candidates among which a session that has lost a race spreads its next try.
const SPREAD: usize = 8;

/// How a claim is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Time to live of the lease instead of the task's or the queue's.
    pub lease: Option<Duration>,
    /// The process that stands for the session.
    pub pid: Option<u32>,
    /// Which tasks `pick` may choose.
    pub choice: Choice,
}

/// A confirmed claim.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// The task, in progress.
    pub task: Task,
    /// Fencing token: name it in every further act.
    pub epoch: u64,
    /// Who holds it.
    pub session: String,
    /// When the lease runs out if it is not renewed, by this machine's clock.
    pub expires_at: Timestamp,
    /// Always true: an unconfirmed claim is told to nobody.
    pub confirmed: bool,
    /// Whether the session held it already.
    pub repeated: bool,
    /// Races lost and pushes repeated on the way.
    pub retries: u32,
}

/// Claims a task by name.
///
/// # Errors
/// Conflict (4) with the gate that is closed, unreachable (75), not found (3).
pub fn claim(q: &mut Queue, id: &TaskId, terms: &Terms) -> Result<Claimed> {
    super::notice::look(q, std::slice::from_ref(id))?;
    watch::observe(q, id)?;
    let process = process_of(q, terms.pid)?;
    let changed =
        change::status(q, id, Actor::Anyone, &mut |q, task| decide(q, task, terms, process.clone()))?;
    if !changed.task.lease().is_some_and(|lease| q.holds(lease)) {
        // It stood, and was over or somebody else's before this session heard of it.
        let message = format!("{id} was taken back while it was being claimed");
        return Err(Error::new(Kind::Conflict, "moved", message).hint("`orch log` shows what happened"));
    }
    if let Some(lease) = changed.task.lease()
        && held::time_left(q, &changed.task, lease).is_zero()
    {
        // Others are free to take it over by now, so this is no claim that anybody may work under.
        let message = format!("{id}: claiming it took longer than its lease lasts");
        return Err(Error::new(Kind::Timeout, "timeout", message)
            .hint("use a longer lease; the task is free again when this one was seen to lapse"));
    }
    claimed(changed)
}

/// Claims the first ready task, passing over those that others take first.
///
/// # Errors
/// Nothing (6) when no task is ready, unreachable (75).
pub fn pick(q: &mut Queue, terms: &Terms) -> Result<Claimed> {
    let before = q.start_budget();
    let result = pick_within(q, terms);
    q.deadline = before;
    result
}

fn pick_within(q: &mut Queue, terms: &Terms) -> Result<Claimed> {
    let mut looked = !q.is_shared() || (q.no_sync);
    if !looked && q.knowledge_age().is_none_or(|age| age > FRESH) {
        change::fetch_now(q).map_err(|e| Error::from_sync(&e))?;
        looked = true;
    }
    let mut lost: Vec<TaskId> = Vec::new();
    let mut retries = 0;
    loop {
        let Some(id) = choose(q, &terms.choice, &lost)? else {
            if std::mem::take(&mut q.relied) {
                super::notice::look(q, &[])?;
                continue;
            }
            if looked {
                return lapsed(q, terms, &lost).map(|c| Claimed { retries: c.retries + retries, ..c });
            }
            change::fetch_now(q).map_err(|e| Error::from_sync(&e))?;
            looked = true;
            continue;
        };
        match claim(q, &id, terms) {
            Ok(claimed) => return Ok(Claimed { retries: claimed.retries + retries, ..claimed }),
            Err(error) if passes_over(&error) => {
                // Somebody was faster, or a limit was reached meanwhile; a lost race also means that what we
                // know is fresh now.
                looked = true;
                retries += 1;
                lost.push(id);
                if error.kind == Kind::NotFound {
                    // It could not be published in time, and neither could the others that only this machine knows.
                    lost.extend(not_shared(q)?);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Tasks that only this machine knows.
fn not_shared(q: &Queue) -> Result<Vec<TaskId>> {
    let mut waiting = q.store.unpublished().map_err(|e| Error::from_store(&e))?;
    waiting.retain(|id| shared::read(&q.cx(), id).is_ok_and(|shared| shared.view().is_none()));
    Ok(waiting)
}

/// What concerns one task only.
fn passes_over(error: &Error) -> bool {
    matches!(error.kind, Kind::Conflict | Kind::Damaged | Kind::NotFound) && error.code != "rewound"
}

/// The first ready task by the queue's order; after a lost race one of the first few, so that sessions
/// that raced for one task do not race for the next one too.
fn choose(q: &Queue, choice: &Choice, lost: &[TaskId]) -> Result<Option<TaskId>> {
    if around::paused(q)?.is_some() {
        return Ok(None);
    }
    let mut skip = lost.to_vec();
    loop {
        let limit = if lost.is_empty() { 1 } else { SPREAD };
        let found = q
            .store
            .ready(q.now(), q.settings.queue.ageing, limit, &skip)
            .map_err(|e| Error::from_store(&e))?;
        if found.is_empty() {
            return Ok(None);
        }
        let at = if lost.is_empty() { 0 } else { (q.world.random.unit() * found.len() as f64) as usize };
        let id = found[at.min(found.len() - 1)].clone();
        // The index knows everything but limits and cycles; a task that those hold back holds up nobody.
        let task = q.load(&id);
        if let Ok(task) = task
            && choice.admits(&task)
            && ready(&around::look(q, &task, false)?)
        {
            return Ok(Some(id));
        }
        skip.push(id);
    }
}

/// Nothing is ready: a lease that has lapsed may be taken over.
fn lapsed(q: &mut Queue, terms: &Terms, lost: &[TaskId]) -> Result<Claimed> {
    let paused = around::paused(q)?;
    if paused.is_none() {
        for id in watch::stale(q)? {
            if lost.contains(&id) || !q.load(&id).is_ok_and(|task| terms.choice.admits(&task)) {
                continue;
            }
            match claim(q, &id, terms) {
                Err(error) if passes_over(&error) => {}
                other => return other,
            }
        }
    }
    let hint = match paused {
        Some(why) => why,
        None => "`orch list` shows what there is, `orch explain ID` why a task is not ready".to_owned(),
    };
    Err(Error::new(Kind::Nothing, "nothing_ready", "no task is ready").hint(hint))
}

fn process_of(q: &Queue, pid: Option<u32>) -> Result<Option<ProcessRef>> {
    let Some(pid) = pid else { return Ok(None) };
    let found = q.world.process.identify(pid).ok_or_else(|| {
        Error::new(Kind::Usage, "usage", format!("there is no process {pid}")).hint("name a running process")
    })?;
    Ok(Some(ProcessRef { pid: found.pid, start: found.start, boot: found.boot }))
}

fn decide(q: &Queue, task: &Task, terms: &Terms, process: Option<ProcessRef>) -> Result<Decision> {
    let base = task.epoch();
    let highest = q.store.highest_epoch(&q.world, task.id()).map_err(|e| Error::from_store(&e))?;
    let claim = |over| {
        Ok(Decision::Do(Action::Claim {
            base,
            epoch: base.max(highest) + 1,
            ttl: terms.lease.or(task.def().limits.lease).unwrap_or(q.settings.lease.ttl),
            process,
            over,
        }))
    };
    if let Some(lease) = task.lease() {
        let mine = q.holds(lease);
        // A session whose process has died holds nothing that a new process of that name could go on with.
        if mine && !held::time_left(q, task, lease).is_zero() && !watch::is_stale(q, task, lease)? {
            return Ok(Decision::Repeated);
        }
        let lapsed = mine || watch::is_stale(q, task, lease)?;
        if lapsed && ready(&around::look(q, task, true)?) {
            return claim(Some(lease.beat));
        }
    } else if ready(&around::look(q, task, false)?) {
        return claim(None);
    }
    Err(not_ready(q, task)?)
}

fn not_ready(q: &Queue, task: &Task) -> Result<Error> {
    let gates = around::look(q, task, false)?;
    let closed: Vec<&str> = gates.iter().filter(|g| !g.open).map(|g| g.detail.as_str()).collect();
    let message = format!("{} cannot be claimed: {}", task.id(), closed.join("; "));
    Ok(match task.lease() {
        Some(_) => Error::new(Kind::Conflict, "held", message).hint(
            "take another task with `orch pick`; a holder that has died is recovered by `orch watchdog`",
        ),
        None => Error::new(Kind::Conflict, "not_ready", message)
            .hint(format!("`orch explain {}` lists every gate", task.id())),
    })
}

fn claimed(changed: Changed) -> Result<Claimed> {
    let Some(lease) = changed.task.lease().cloned() else {
        let message = format!("{} was taken back while it was being claimed", changed.task.id());
        return Err(Error::new(Kind::Conflict, "moved", message).hint("`orch log` shows what happened"));
    };
    Ok(Claimed {
        epoch: lease.epoch,
        session: lease.session,
        expires_at: lease.expires_at,
        confirmed: true,
        repeated: changed.repeated,
        retries: changed.retries,
        task: changed.task,
    })
}
