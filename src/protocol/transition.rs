//! The one function that moves a task: SPEC's table of operations as one exhaustive match.
//!
//! Commands, merges, folds, recovery, verification and the harness all call [`next`]; nothing else
//! changes a status. It decides first and changes after, so a refused operation changes nothing.

use super::id::TaskId;
use super::op::{Action, Op, Patch, Verdict};
use super::task::{Lease, Outcome, Progress, Reason, Review, State, Status, Task};
use super::time::Timestamp;

/// Attempts of a task whose definition names none.
pub const DEFAULT_MAX_ATTEMPTS: u32 = 3;

/// Why an operation does not fit a task. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The table has no such row.
    #[error("`{verb}` does not fit a task that is {}", status_word(*.status))]
    Status {
        /// The operation.
        verb: &'static str,
        /// The task's status.
        status: Status,
    },
    /// The operation is based on another epoch than the task's.
    #[error("`{verb}` is based on epoch {named}, but the task is at epoch {actual}")]
    Epoch {
        /// The operation.
        verb: &'static str,
        /// Epoch that it names.
        named: u64,
        /// The task's epoch.
        actual: u64,
    },
    /// A claim must raise the epoch.
    #[error("a claim must raise the epoch above {base}, not set it to {epoch}")]
    EpochNotRaised {
        /// Epoch before.
        base: u64,
        /// Epoch that the claim wanted.
        epoch: u64,
    },
    /// Only the holder may do this.
    #[error("only the holder may `{verb}`; the lease belongs to {holder}")]
    Holder {
        /// The operation.
        verb: &'static str,
        /// Session of the holder.
        holder: String,
    },
    /// The lease was renewed after it was judged lapsed.
    #[error("the lease was renewed (heartbeat {actual}, seen was {seen})")]
    Renewed {
        /// Heartbeat that the operation names.
        seen: u64,
        /// The lease's heartbeat.
        actual: u64,
    },
    /// The lease is alive: a claim of a task in progress must name the lapsed lease.
    #[error("the task is held by {holder}")]
    Held {
        /// Session of the holder.
        holder: String,
    },
    /// A takeover would be one attempt too many; recovery ends the task instead.
    #[error("all {max} attempts are used up")]
    AttemptsUsedUp {
        /// Attempts allowed.
        max: u32,
    },
    /// The operation has to say why.
    #[error("`{verb}` needs notes that say why")]
    NotesRequired {
        /// The operation.
        verb: &'static str,
    },
    /// Two different tasks were added under one id.
    #[error("a task with this id exists already")]
    Exists,
    /// The history does not begin with `add`.
    #[error("there is no such task: a history begins with `add`")]
    Absent,
    /// A heartbeat stands in a history.
    #[error("heartbeats move the lease only and are no part of a history")]
    NotHistory,
    /// A fold refused it before, and applied what came after it.
    #[error("it was refused when the operations after it were applied")]
    RefusedBefore,
    /// The task's file would be beyond its bounds, and nobody could read it.
    #[error("its file would be larger than a task file may be")]
    TooLarge,
    /// A task cannot need or contain itself.
    #[error("a task cannot need itself")]
    NeedsItself,
}

/// The word for a status, as in files.
#[must_use]
pub fn status_word(status: Status) -> &'static str {
    match status {
        Status::Pending => "pending",
        Status::InProgress => "in_progress",
        Status::InReview => "in_review",
        Status::Done => "done",
        Status::Failed => "failed",
        Status::Blocked => "blocked",
        Status::Cancelled => "cancelled",
    }
}

/// The task after an operation. An operation that was applied before changes nothing and succeeds.
///
/// # Errors
/// [`Rejected`], naming the operation and what it met.
pub fn next(task: Option<&Task>, id: &TaskId, op: &Op) -> Result<Task, Rejected> {
    let Some(task) = task else { return create(id, op) };
    let mut after = task.clone();
    if !task.has_op(op) {
        step(&mut after, op)?;
    }
    Ok(after)
}

/// Replays a history from nothing.
///
/// # Errors
/// The position (0-based) of the first operation that does not fit, and why.
pub fn replay(id: &TaskId, history: &[Op]) -> Result<Task, (usize, Rejected)> {
    let first = history.first().ok_or((0, Rejected::Absent))?;
    let mut task = create(id, first).map_err(|why| (0, why))?;
    let mut seen = std::collections::HashSet::from([first.id]);
    for (at, op) in history.iter().enumerate().skip(1) {
        if !seen.insert(op.id) {
            return Err((at, Rejected::Exists));
        }
        if matches!(op.action, Action::Heartbeat { .. }) {
            return Err((at, Rejected::NotHistory));
        }
        step(&mut task, op).map_err(|why| (at, why))?;
    }
    Ok(task)
}

fn create(id: &TaskId, op: &Op) -> Result<Task, Rejected> {
    let Action::Add(def) = &op.action else { return Err(Rejected::Absent) };
    if def.needs.contains(id) || def.parent.as_ref() == Some(id) {
        return Err(Rejected::NeedsItself);
    }
    Ok(Task {
        id: id.clone(),
        def: (**def).clone(),
        state: State::Pending,
        attempt: 0,
        epoch: 0,
        result: None,
        history: vec![op.clone()],
    })
}

/// Applies one operation in place; changes nothing when it is refused.
pub(super) fn step(task: &mut Task, op: &Op) -> Result<(), Rejected> {
    let change = decide(task, op)?;
    if let Some(patch) = change.patch {
        patch.apply(&mut task.def);
    }
    if let Some(not_before) = change.not_before {
        task.def.not_before = not_before;
    }
    if let Some(result) = change.result {
        task.result = result;
    }
    if let Some(state) = change.state {
        task.state = state;
    }
    task.attempt = change.attempt.unwrap_or(task.attempt);
    task.epoch = change.epoch.unwrap_or(task.epoch);
    if !matches!(op.action, Action::Heartbeat { .. }) {
        task.history.push(op.clone());
    }
    Ok(())
}

/// What an operation does to a task; `None` leaves a part as it is.
#[derive(Default)]
struct Change {
    state: Option<State>,
    attempt: Option<u32>,
    epoch: Option<u64>,
    result: Option<Option<Outcome>>,
    not_before: Option<Option<Timestamp>>,
    patch: Option<Patch>,
}

impl Change {
    fn to(state: State) -> Self {
        Change { state: Some(state), ..Change::default() }
    }

    fn ended(state: State, outcome: Outcome) -> Self {
        Change { result: Some(Some(outcome)), ..Change::to(state) }
    }

    /// Back to pending for a fresh round: attempts, waiting time and the old result are forgotten.
    fn afresh() -> Self {
        Change { attempt: Some(0), not_before: Some(None), result: Some(None), ..Change::to(State::Pending) }
    }
}

/// The table of operations: what each does from each status, or why it is refused.
fn decide(task: &Task, op: &Op) -> Result<Change, Rejected> {
    use State::{Blocked, Cancelled, Done, Failed, InProgress, InReview, Pending};
    check_epoch(task, op)?;
    check_holder(task, op)?;
    check_notes(op)?;
    let refused = || Err(Rejected::Status { verb: op.action.verb(), status: task.status() });
    match (&task.state, &op.action) {
        (_, Action::Add(_)) => Err(Rejected::Exists),

        (Done | Failed | Cancelled, Action::Edit(_) | Action::Note { .. } | Action::Snooze { .. }) => {
            refused()
        }
        (_, Action::Edit(patch)) => edit(task, patch),
        (_, Action::Note { .. }) => Ok(Change::default()),
        (_, Action::Snooze { until }) => Ok(Change { not_before: Some(*until), ..Change::default() }),

        (Pending, Action::Claim { .. }) => Ok(claim(task, op)),
        (InProgress(lease), Action::Claim { over, .. }) => takeover(task, lease, *over, op),
        (_, Action::Claim { .. }) => refused(),

        (InProgress(lease), Action::Heartbeat { progress, .. }) => Ok(renew(lease, op, progress.clone())),
        (InProgress(lease), Action::Checkpoint { note, percent, .. }) => {
            Ok(renew(lease, op, Some(Progress { percent: *percent, note: Some(note.clone()) })))
        }
        (InProgress(_), Action::Done { .. }) => Ok(done(task, op)),
        (InProgress(_), Action::Fail { .. }) => Ok(fail(task, op)),
        (InProgress(_), Action::Release { .. }) => Ok(release(task, op)),
        (
            _,
            Action::Heartbeat { .. }
            | Action::Checkpoint { .. }
            | Action::Done { .. }
            | Action::Fail { .. }
            | Action::Release { .. },
        ) => refused(),

        (Pending | InProgress(_), Action::Block { notes, .. }) => {
            Ok(Change::ended(Blocked, outcome(op, Status::Blocked, Reason::Error, notes)))
        }
        (_, Action::Block { .. }) => refused(),
        (Blocked, Action::Unblock { .. }) => Ok(Change::to(Pending)),
        (_, Action::Unblock { .. }) => refused(),

        (Done | Failed | Cancelled, Action::Cancel { .. }) => refused(),
        (_, Action::Cancel { notes, .. }) => {
            Ok(Change::ended(Cancelled, outcome(op, Status::Cancelled, Reason::Cancelled, notes)))
        }
        (Failed | Blocked | Cancelled, Action::Retry { .. }) => Ok(Change::afresh()),
        (_, Action::Retry { .. }) => refused(),

        (Done, Action::Replan { .. }) => refused(),
        (_, Action::Replan { description, success_criteria, .. }) => Ok(Change {
            patch: Some(Patch {
                description: description.clone(),
                success_criteria: success_criteria.clone(),
                ..Patch::default()
            }),
            ..Change::afresh()
        }),

        (InReview | InProgress(_), Action::Review { verdict, notes, .. }) => Ok(review(*verdict, notes, op)),
        (_, Action::Review { .. }) => refused(),

        (InProgress(lease), Action::Recover { beat, retry_at, .. }) => {
            recover(task, lease, *beat, *retry_at, op)
        }
        (_, Action::Recover { .. }) => refused(),

        (Pending, Action::NeedFailed { need, .. }) => need_failed(task, need, op),
        (_, Action::NeedFailed { .. }) => refused(),
    }
}

fn check_epoch(task: &Task, op: &Op) -> Result<(), Rejected> {
    match op.action.based_on() {
        Some(named) if named != task.epoch => {
            Err(Rejected::Epoch { verb: op.action.verb(), named, actual: task.epoch })
        }
        _ => Ok(()),
    }?;
    match op.action {
        Action::Claim { base, epoch, .. } if epoch <= base => Err(Rejected::EpochNotRaised { base, epoch }),
        _ => Ok(()),
    }
}

fn check_holder(task: &Task, op: &Op) -> Result<(), Rejected> {
    match task.lease() {
        Some(lease) if op.action.is_holders() && (lease.session != op.by || lease.machine != op.machine) => {
            Err(Rejected::Holder { verb: op.action.verb(), holder: lease.session.clone() })
        }
        _ => Ok(()),
    }
}

fn check_notes(op: &Op) -> Result<(), Rejected> {
    match &op.action {
        Action::Done { notes, .. }
        | Action::Fail { notes, .. }
        | Action::Block { notes, .. }
        | Action::Cancel { notes, .. }
        | Action::Replan { notes, .. }
            if notes.trim().is_empty() =>
        {
            Err(Rejected::NotesRequired { verb: op.action.verb() })
        }
        _ => Ok(()),
    }
}

fn outcome(op: &Op, outcome: Status, reason: Reason, notes: &str) -> Outcome {
    Outcome { outcome, reason, notes: notes.to_owned(), bundle: None, artifacts: Vec::new(), at: op.at }
}

fn edit(task: &Task, patch: &Patch) -> Result<Change, Rejected> {
    let itself = patch.needs.as_ref().is_some_and(|needs| needs.contains(&task.id))
        || patch.parent.as_ref().is_some_and(|parent| parent.as_ref() == Some(&task.id));
    if itself {
        return Err(Rejected::NeedsItself);
    }
    Ok(Change { patch: Some(patch.clone()), ..Change::default() })
}

fn claim(task: &Task, op: &Op) -> Change {
    let Action::Claim { epoch, ttl, process, .. } = &op.action else { return Change::default() };
    let lease = Lease {
        session: op.by.clone(),
        machine: op.machine.clone(),
        epoch: *epoch,
        beat: 0,
        ttl: *ttl,
        acquired_at: op.at,
        renewed_at: op.at,
        expires_at: op.at.after(*ttl),
        process: process.clone(),
        progress: None,
    };
    Change {
        attempt: Some(task.attempt.saturating_add(1)),
        epoch: Some(*epoch),
        result: Some(None),
        ..Change::to(State::InProgress(lease))
    }
}

fn takeover(task: &Task, lease: &Lease, over: Option<u64>, op: &Op) -> Result<Change, Rejected> {
    let seen = over.ok_or_else(|| Rejected::Held { holder: lease.session.clone() })?;
    check_beat(lease, seen)?;
    let max = max_attempts(task);
    if task.attempt >= max {
        return Err(Rejected::AttemptsUsedUp { max });
    }
    Ok(claim(task, op))
}

/// Heartbeats only grow within an epoch and are not history. A replay therefore meets a lease that is
/// older than the one that was judged, never a newer one: a newer one is a heartbeat that won.
fn check_beat(lease: &Lease, seen: u64) -> Result<(), Rejected> {
    if lease.beat > seen {
        return Err(Rejected::Renewed { seen, actual: lease.beat });
    }
    Ok(())
}

fn renew(lease: &Lease, op: &Op, progress: Option<Progress>) -> Change {
    Change::to(State::InProgress(Lease {
        beat: lease.beat.saturating_add(1),
        renewed_at: op.at,
        expires_at: op.at.after(lease.ttl),
        progress: merge_progress(lease.progress.clone(), progress),
        ..lease.clone()
    }))
}

fn merge_progress(before: Option<Progress>, new: Option<Progress>) -> Option<Progress> {
    match (before, new) {
        (before, None) => before,
        (None, new) => new,
        (Some(before), Some(new)) => {
            Some(Progress { percent: new.percent.or(before.percent), note: new.note.or(before.note) })
        }
    }
}

fn done(task: &Task, op: &Op) -> Change {
    let Action::Done { notes, artifacts, bundle, .. } = &op.action else { return Change::default() };
    let (state, status) = match task.def.review {
        Review::Required => (State::InReview, Status::InReview),
        Review::None => (State::Done, Status::Done),
    };
    Change::ended(
        state,
        Outcome {
            bundle: bundle.clone(),
            artifacts: artifacts.clone(),
            ..outcome(op, status, Reason::Success, notes)
        },
    )
}

fn fail(task: &Task, op: &Op) -> Change {
    let Action::Fail { reason, notes, permanent, retry_at, bundle, .. } = &op.action else {
        return Change::default();
    };
    let free = reason.gives_attempt_back();
    let attempt = if free { task.attempt.saturating_sub(1) } else { task.attempt };
    let over = *permanent || *reason == Reason::PolicyBlocked || (!free && attempt >= max_attempts(task));
    let (state, status) =
        if over { (State::Failed, Status::Failed) } else { (State::Pending, Status::Pending) };
    Change {
        attempt: Some(attempt),
        not_before: if over { None } else { Some(*retry_at) },
        ..Change::ended(state, Outcome { bundle: bundle.clone(), ..outcome(op, status, *reason, notes) })
    }
}

fn release(task: &Task, op: &Op) -> Change {
    let Action::Release { reason, notes, .. } = &op.action else { return Change::default() };
    let notes = notes.as_deref().unwrap_or_default();
    Change {
        attempt: Some(task.attempt.saturating_sub(1)),
        result: Some(reason.map(|reason| outcome(op, Status::Pending, reason, notes))),
        ..Change::to(State::Pending)
    }
}

fn review(verdict: Verdict, notes: &str, op: &Op) -> Change {
    match verdict {
        Verdict::Pass => Change::ended(State::Done, outcome(op, Status::Done, Reason::Success, notes)),
        Verdict::Retry => Change::ended(State::Pending, outcome(op, Status::Pending, Reason::Error, notes)),
        Verdict::Block => {
            Change::ended(State::Blocked, outcome(op, Status::Blocked, Reason::ReviewBlocked, notes))
        }
    }
}

fn recover(
    task: &Task,
    lease: &Lease,
    seen: u64,
    retry_at: Option<Timestamp>,
    op: &Op,
) -> Result<Change, Rejected> {
    check_beat(lease, seen)?;
    let notes = format!("the lease of {} lapsed", lease.session);
    if task.attempt >= max_attempts(task) {
        return Ok(Change::ended(State::Failed, outcome(op, Status::Failed, Reason::LeaseLost, &notes)));
    }
    let result = outcome(op, Status::Pending, Reason::LeaseLost, &notes);
    Ok(Change { not_before: Some(retry_at), ..Change::ended(State::Pending, result) })
}

fn need_failed(task: &Task, need: &TaskId, op: &Op) -> Result<Change, Rejected> {
    use super::task::OnNeedFailed;
    let notes = format!("{need}, which this task needs, has failed or was cancelled");
    let end = |state, status| Ok(Change::ended(state, outcome(op, status, Reason::DepFailed, &notes)));
    match task.def.on_need_failed {
        OnNeedFailed::Block => end(State::Blocked, Status::Blocked),
        OnNeedFailed::Skip => end(State::Cancelled, Status::Cancelled),
        OnNeedFailed::Run => Err(Rejected::Status { verb: op.action.verb(), status: task.status() }),
    }
}

/// Attempts that a task has in all.
#[must_use]
pub fn max_attempts(task: &Task) -> u32 {
    task.def.retry.max_attempts.unwrap_or(DEFAULT_MAX_ATTEMPTS)
}
