//! The task: one unit of work, its state, and the log that the state is a fold of.

use std::collections::BTreeMap;
use std::time::Duration;

use super::id::TaskId;
use super::op::{Op, ProcessRef};
use super::time::Timestamp;
use super::value::Value;

/// How urgent a task is; `P0` comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Priority {
    /// Drop everything.
    P0,
    /// Before the ordinary.
    P1,
    /// The ordinary.
    #[default]
    P2,
    /// When nothing else waits.
    P3,
}

/// The seven statuses of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// Waits to be claimed.
    Pending,
    /// A session holds its lease.
    InProgress,
    /// Finished by its holder, waits for a reviewer.
    InReview,
    /// Finished. Final.
    Done,
    /// Attempts used up, or failed for good.
    Failed,
    /// Waits for a person.
    Blocked,
    /// Given up by an operator or because a need failed.
    Cancelled,
}

impl Status {
    /// Done, failed and cancelled tasks have ended.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Status::Done | Status::Failed | Status::Cancelled)
    }

    /// All statuses, in the order in which they are shown.
    pub const ALL: [Status; 7] = [
        Status::Pending,
        Status::InProgress,
        Status::InReview,
        Status::Done,
        Status::Failed,
        Status::Blocked,
        Status::Cancelled,
    ];
}

/// What happens to a task when one of its needs has failed or was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnNeedFailed {
    /// It is blocked.
    #[default]
    Block,
    /// It is cancelled.
    Skip,
    /// It runs regardless.
    Run,
}

/// Whether `done` is final or waits for a reviewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Review {
    /// `done` is final.
    #[default]
    None,
    /// `done` leads to `in_review`.
    Required,
}

/// One command of an exec block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecStep {
    /// Program and arguments; never empty.
    pub argv: Vec<String>,
    /// Name for logs; default is the step's number.
    pub name: Option<String>,
    /// Directory relative to the workspace.
    pub cwd: Option<String>,
    /// Additional environment.
    pub env: BTreeMap<String, String>,
    /// Wall-clock limit.
    pub timeout: Option<Duration>,
    /// Whether the next step runs although this one failed.
    pub continue_on_error: bool,
}

/// What a worker does with a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// Runs commands one after another.
    Exec(Vec<ExecStep>),
    /// Hands it to an agent of this type.
    Agent(String),
}

/// How often, and how soon, a failed task is tried again. `None` means: as the queue's settings say.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RetryPolicy {
    /// Attempts in all, at least 1.
    pub max_attempts: Option<u32>,
    /// Waiting time before attempt 2, 3, …; the last one repeats.
    pub backoff: Option<Vec<Duration>>,
    /// Fraction of the waiting time by which it is varied, 0 to 1.
    pub jitter: Option<f64>,
}

/// Limits of one attempt. `None` means: as the queue's settings say, or no limit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Limits {
    /// Lease time to live.
    pub lease: Option<Duration>,
    /// Longest run.
    pub runtime: Option<Duration>,
    /// Longest silence.
    pub stall: Option<Duration>,
    /// Tokens per attempt.
    pub tokens: Option<u64>,
    /// US dollars per attempt.
    pub cost_usd: Option<f64>,
}

/// Everything about a task that a person may edit by hand.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Definition {
    /// One line.
    pub title: String,
    /// Any text.
    pub description: String,
    /// Urgency.
    pub priority: Priority,
    /// When it counts as finished.
    pub success_criteria: Vec<String>,
    /// Tasks that must be done first: sorted, without duplicates.
    pub needs: Vec<TaskId>,
    /// What a failed need does.
    pub on_need_failed: OnNeedFailed,
    /// The task that this one is a part of.
    pub parent: Option<TaskId>,
    /// Labels: sorted, without duplicates.
    pub tags: Vec<String>,
    /// When it should be finished; orders the queue.
    pub due_at: Option<Timestamp>,
    /// Not to be claimed before this moment.
    pub not_before: Option<Timestamp>,
    /// At most one done task per key.
    pub idempotency_key: Option<String>,
    /// Whether a reviewer decides.
    pub review: Review,
    /// What a worker does with it.
    pub run: Option<Run>,
    /// Retries.
    pub retry: RetryPolicy,
    /// Limits.
    pub limits: Limits,
    /// Fields that this version does not know, kept as they are.
    pub extra: BTreeMap<String, Value>,
}

/// The right of one session on one machine to act on a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Lease {
    /// Who.
    pub session: String,
    /// On which machine: the same session name elsewhere is somebody else.
    pub machine: String,
    /// Fencing token: the task's epoch when the lease was taken.
    pub epoch: u64,
    /// Heartbeats received in this epoch; a new claim starts at 0.
    pub beat: u64,
    /// How long one renewal lasts.
    pub ttl: Duration,
    /// When it was taken, by the holder's clock.
    pub acquired_at: Timestamp,
    /// When it was last renewed, by the holder's clock.
    pub renewed_at: Timestamp,
    /// `renewed_at + ttl`, for people: nobody compares it with another clock.
    pub expires_at: Timestamp,
    /// The process that stands for the session, if one was named.
    pub process: Option<ProcessRef>,
    /// What the holder last said about how far it is.
    pub progress: Option<Progress>,
}

/// How far the holder is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// 0 to 100.
    pub percent: Option<u8>,
    /// One line.
    pub note: Option<String>,
}

/// How the last attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The status that it led to.
    pub outcome: Status,
    /// Why.
    pub reason: Reason,
    /// What the one who ended it said.
    pub notes: String,
    /// Digest of the evidence bundle's manifest.
    pub bundle: Option<String>,
    /// Files that it left, with or without digest.
    pub artifacts: Vec<String>,
    /// When, by the clock of the one who ended it.
    pub at: Timestamp,
}

/// Why an attempt or a task ended; distinct, because what follows differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It worked.
    Success,
    /// It did not.
    Error,
    /// It ran longer than its limit.
    Timeout,
    /// It was silent longer than its limit.
    Stalled,
    /// It used up its tokens or money.
    BudgetExceeded,
    /// A command that policy refuses.
    PolicyBlocked,
    /// The program could not be started. Gives the attempt back.
    SpawnFailed,
    /// The holder vanished.
    LeaseLost,
    /// An operator gave it up.
    Cancelled,
    /// A need failed.
    DepFailed,
    /// The reviewer blocked it.
    ReviewBlocked,
    /// The provider asked to wait. Gives the attempt back.
    RateLimited,
    /// The worker was told to stop. Gives the attempt back.
    Shutdown,
}

impl Reason {
    /// All reasons, in the order of the format's documentation.
    pub const ALL: [Reason; 13] = [
        Reason::Success,
        Reason::Error,
        Reason::Timeout,
        Reason::Stalled,
        Reason::BudgetExceeded,
        Reason::PolicyBlocked,
        Reason::SpawnFailed,
        Reason::LeaseLost,
        Reason::Cancelled,
        Reason::DepFailed,
        Reason::ReviewBlocked,
        Reason::RateLimited,
        Reason::Shutdown,
    ];

    /// Whether an attempt that ended so does not count against `max_attempts`.
    #[must_use]
    pub fn gives_attempt_back(self) -> bool {
        matches!(self, Reason::SpawnFailed | Reason::RateLimited | Reason::Shutdown)
    }
}

/// A task: definition, state and log.
///
/// The state fields are private to the protocol: only [`super::transition::next`] moves them.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its name; never changes.
    pub(super) id: TaskId,
    /// What people may edit.
    pub(super) def: Definition,
    /// Where it stands.
    pub(super) state: State,
    /// Attempts that count so far.
    pub(super) attempt: u32,
    /// Claims so far, or more: only grows.
    pub(super) epoch: u64,
    /// How the last attempt ended.
    pub(super) result: Option<Outcome>,
    /// Every operation that was applied, in order.
    pub(super) history: Vec<Op>,
}

/// Where a task stands. The lease lives here, so a task in progress without one cannot be written.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// See [`Status::Pending`].
    Pending,
    /// See [`Status::InProgress`].
    InProgress(Lease),
    /// See [`Status::InReview`].
    InReview,
    /// See [`Status::Done`].
    Done,
    /// See [`Status::Failed`].
    Failed,
    /// See [`Status::Blocked`].
    Blocked,
    /// See [`Status::Cancelled`].
    Cancelled,
}

impl Task {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    /// What people may edit.
    #[must_use]
    pub fn def(&self) -> &Definition {
        &self.def
    }

    /// Where it stands, with the lease.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Where it stands, as one word.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.state {
            State::Pending => Status::Pending,
            State::InProgress(_) => Status::InProgress,
            State::InReview => Status::InReview,
            State::Done => Status::Done,
            State::Failed => Status::Failed,
            State::Blocked => Status::Blocked,
            State::Cancelled => Status::Cancelled,
        }
    }

    /// The lease of a task in progress.
    #[must_use]
    pub fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::InProgress(lease) => Some(lease),
            _ => None,
        }
    }

    /// Attempts that count so far.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The fencing token.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How the last attempt ended.
    #[must_use]
    pub fn result(&self) -> Option<&Outcome> {
        self.result.as_ref()
    }

    /// Every operation, oldest first.
    #[must_use]
    pub fn history(&self) -> &[Op] {
        &self.history
    }

    /// When it was added (the first operation's time), or the epoch for an impossible empty history.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        self.history.first().map_or(Timestamp::default(), |op| op.at)
    }

    /// When it was last changed by an operation.
    #[must_use]
    pub fn updated_at(&self) -> Timestamp {
        self.history.last().map_or(Timestamp::default(), |op| op.at)
    }

    /// Whether the operation has been applied already.
    #[must_use]
    pub fn has_op(&self, op: &Op) -> bool {
        self.history.iter().any(|known| known.id == op.id)
    }
}

/// The parts of a task as a file claims them, before anybody has checked that they fit together.
///
/// The codec builds one from a file; [`super::replay::check`] compares it with the replay of its history.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    /// See [`Task::id`].
    pub id: TaskId,
    /// See [`Task::def`].
    pub def: Definition,
    /// See [`Task::state`].
    pub state: State,
    /// See [`Task::attempt`].
    pub attempt: u32,
    /// See [`Task::epoch`].
    pub epoch: u64,
    /// See [`Task::result`].
    pub result: Option<Outcome>,
    /// See [`Task::history`].
    pub history: Vec<Op>,
}

impl From<Parts> for Task {
    fn from(p: Parts) -> Self {
        Task {
            id: p.id,
            def: p.def,
            state: p.state,
            attempt: p.attempt,
            epoch: p.epoch,
            result: p.result,
            history: p.history,
        }
    }
}
