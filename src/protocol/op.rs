//! Operations: what somebody did to a task, complete enough to be replayed anywhere.
//!
//! An operation holds every choice that was made when it was issued (ids, times, jittered delays), so
//! that [`super::transition::next`] needs no clock, no settings and no dice.

use std::time::Duration;

use super::id::{OpId, TaskId};
use super::task::{Definition, Limits, OnNeedFailed, Priority, Progress, Reason, RetryPolicy, Review, Run};
use super::time::Timestamp;
use super::value::Value;

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Op {
    /// Random identity; the same operation applied twice changes nothing.
    pub id: OpId,
    /// When, by the clock of the one who did it.
    pub at: Timestamp,
    /// Session or person.
    pub by: String,
    /// Machine of the session; with `by` it names a holder.
    pub machine: String,
    /// In which role.
    pub role: Role,
    /// What.
    pub action: Action,
}

/// The role in which somebody acts; also a trailer of the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Role {
    /// Writes work or tasks.
    #[default]
    Author,
    /// Judges work.
    Reviewer,
    /// A tool on behalf of an import, a watchdog or another system.
    Source,
}

/// The process that stands for a session; only a lease with one is recovered because it is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessRef {
    /// Process number.
    pub pid: u32,
    /// Start time in clock ticks since boot.
    pub start: u64,
    /// Boot identity.
    pub boot: String,
}

/// A reviewer's verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Done.
    Pass,
    /// Once more.
    Retry,
    /// A person has to look.
    Block,
}

/// Changes to a definition: `None` leaves a field as it is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Patch {
    /// New title.
    pub title: Option<String>,
    /// New description.
    pub description: Option<String>,
    /// New priority.
    pub priority: Option<Priority>,
    /// New criteria.
    pub success_criteria: Option<Vec<String>>,
    /// New needs.
    pub needs: Option<Vec<TaskId>>,
    /// New rule for failed needs.
    pub on_need_failed: Option<OnNeedFailed>,
    /// New parent; `Some(None)` removes it.
    pub parent: Option<Option<TaskId>>,
    /// New tags.
    pub tags: Option<Vec<String>>,
    /// New due date; `Some(None)` removes it.
    pub due_at: Option<Option<Timestamp>>,
    /// New start; `Some(None)` removes it.
    pub not_before: Option<Option<Timestamp>>,
    /// New key; `Some(None)` removes it.
    pub idempotency_key: Option<Option<String>>,
    /// New review rule.
    pub review: Option<Review>,
    /// New work; `Some(None)` removes it.
    pub run: Option<Option<Run>>,
    /// New retry policy, as a whole.
    pub retry: Option<RetryPolicy>,
    /// New limits, as a whole.
    pub limits: Option<Limits>,
    /// Unknown fields that were set (`Some`) or removed (`None`).
    pub extra: Vec<(String, Option<Value>)>,
}

impl Patch {
    /// The patch that turns `from` into `to`; `None` if they are equal.
    #[must_use]
    pub fn between(from: &Definition, to: &Definition) -> Option<Patch> {
        fn changed<T: Clone + PartialEq>(a: &T, b: &T) -> Option<T> {
            (a != b).then(|| b.clone())
        }
        let removed = from.extra.keys().filter(|k| !to.extra.contains_key(*k)).map(|k| (k.clone(), None));
        let set = to
            .extra
            .iter()
            .filter(|(k, v)| from.extra.get(*k) != Some(*v))
            .map(|(k, v)| (k.clone(), Some(v.clone())));
        let patch = Patch {
            title: changed(&from.title, &to.title),
            description: changed(&from.description, &to.description),
            priority: changed(&from.priority, &to.priority),
            success_criteria: changed(&from.success_criteria, &to.success_criteria),
            needs: changed(&from.needs, &to.needs),
            on_need_failed: changed(&from.on_need_failed, &to.on_need_failed),
            parent: changed(&from.parent, &to.parent),
            tags: changed(&from.tags, &to.tags),
            due_at: changed(&from.due_at, &to.due_at),
            not_before: changed(&from.not_before, &to.not_before),
            idempotency_key: changed(&from.idempotency_key, &to.idempotency_key),
            review: changed(&from.review, &to.review),
            run: changed(&from.run, &to.run),
            retry: changed(&from.retry, &to.retry),
            limits: changed(&from.limits, &to.limits),
            extra: removed.chain(set).collect(),
        };
        (patch != Patch::default()).then_some(patch)
    }

    /// Applies the patch.
    pub fn apply(&self, def: &mut Definition) {
        fn set<T: Clone>(slot: &mut T, new: &Option<T>) {
            if let Some(new) = new {
                *slot = new.clone();
            }
        }
        set(&mut def.title, &self.title);
        set(&mut def.description, &self.description);
        set(&mut def.priority, &self.priority);
        set(&mut def.success_criteria, &self.success_criteria);
        set(&mut def.needs, &self.needs);
        set(&mut def.on_need_failed, &self.on_need_failed);
        set(&mut def.parent, &self.parent);
        set(&mut def.tags, &self.tags);
        set(&mut def.due_at, &self.due_at);
        set(&mut def.not_before, &self.not_before);
        set(&mut def.idempotency_key, &self.idempotency_key);
        set(&mut def.review, &self.review);
        set(&mut def.run, &self.run);
        set(&mut def.retry, &self.retry);
        set(&mut def.limits, &self.limits);
        for (key, value) in &self.extra {
            match value {
                Some(value) => drop(def.extra.insert(key.clone(), value.clone())),
                None => drop(def.extra.remove(key)),
            }
        }
    }
}

/// What was done. Every action that decides a status names the epoch on which it is based.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The task comes into being with this definition.
    Add(Box<Definition>),
    /// The definition changes (also `reprioritise` and hand edits).
    Edit(Box<Patch>),
    /// Somebody said something.
    Note {
        /// What.
        text: String,
    },
    /// Not before this moment; `None` ends the snooze.
    Snooze {
        /// New value of `not_before`.
        until: Option<Timestamp>,
    },
    /// A session takes the task, or takes it over from a lapsed lease.
    Claim {
        /// Epoch that the task had.
        base: u64,
        /// Epoch that it gets: above `base` and above any that the machine has seen.
        epoch: u64,
        /// Time to live of the lease.
        ttl: Duration,
        /// The process that stands for the session, if one was named.
        process: Option<ProcessRef>,
        /// For a takeover: the newest heartbeat that was seen of the lapsed lease.
        over: Option<u64>,
    },
    /// The holder is alive. Moves only the lease and is not history.
    Heartbeat {
        /// Its epoch.
        epoch: u64,
        /// How far it is; `None` keeps what was said before.
        progress: Option<Progress>,
    },
    /// The holder leaves something for whoever comes after it; also renews the lease.
    Checkpoint {
        /// Its epoch.
        epoch: u64,
        /// What to know.
        note: String,
        /// How far it is.
        percent: Option<u8>,
        /// A file that belongs to it.
        file: Option<String>,
    },
    /// The holder is finished.
    Done {
        /// Its epoch.
        epoch: u64,
        /// What was done.
        notes: String,
        /// Files that it left.
        artifacts: Vec<String>,
        /// Digest of the bundle's manifest.
        bundle: Option<String>,
    },
    /// The holder failed.
    Fail {
        /// Its epoch.
        epoch: u64,
        /// Why.
        reason: Reason,
        /// What happened.
        notes: String,
        /// No further attempt.
        permanent: bool,
        /// When the next attempt may start, if there is one.
        retry_at: Option<Timestamp>,
        /// Digest of the bundle's manifest.
        bundle: Option<String>,
    },
    /// The holder gives the task back, with its attempt.
    Release {
        /// Its epoch.
        epoch: u64,
        /// Why; `Shutdown` when a worker was told to stop.
        reason: Option<Reason>,
        /// What to know.
        notes: Option<String>,
    },
    /// A person has to look.
    Block {
        /// The task's epoch.
        epoch: u64,
        /// Why.
        notes: String,
    },
    /// The person has looked.
    Unblock {
        /// The task's epoch.
        epoch: u64,
        /// What was found.
        notes: Option<String>,
    },
    /// An operator gives it up.
    Cancel {
        /// The task's epoch.
        epoch: u64,
        /// Why.
        notes: String,
    },
    /// An operator wants another round of attempts.
    Retry {
        /// The task's epoch.
        epoch: u64,
        /// Why.
        notes: Option<String>,
    },
    /// An operator rewrites what is to be done and starts again.
    Replan {
        /// The task's epoch.
        epoch: u64,
        /// Why.
        notes: String,
        /// New description.
        description: Option<String>,
        /// New criteria.
        success_criteria: Option<Vec<String>>,
    },
    /// A reviewer's verdict.
    Review {
        /// The task's epoch.
        epoch: u64,
        /// The verdict.
        verdict: Verdict,
        /// Why.
        notes: String,
    },
    /// A watchdog takes the task from a holder that has vanished.
    Recover {
        /// Epoch that it saw.
        epoch: u64,
        /// Newest heartbeat that it saw.
        beat: u64,
        /// When the next attempt may start, if there is one.
        retry_at: Option<Timestamp>,
    },
    /// A need has failed or was cancelled; `on_need_failed` decides what that means.
    NeedFailed {
        /// The task's epoch.
        epoch: u64,
        /// Which.
        need: TaskId,
    },
}

impl Action {
    /// The word under `do:` in a file and in messages.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Action::Add(_) => "add",
            Action::Edit(_) => "edit",
            Action::Note { .. } => "note",
            Action::Snooze { .. } => "snooze",
            Action::Claim { .. } => "claim",
            Action::Heartbeat { .. } => "heartbeat",
            Action::Checkpoint { .. } => "checkpoint",
            Action::Done { .. } => "done",
            Action::Fail { .. } => "fail",
            Action::Release { .. } => "release",
            Action::Block { .. } => "block",
            Action::Unblock { .. } => "unblock",
            Action::Cancel { .. } => "cancel",
            Action::Retry { .. } => "retry",
            Action::Replan { .. } => "replan",
            Action::Review { .. } => "review",
            Action::Recover { .. } => "recover",
            Action::NeedFailed { .. } => "need_failed",
        }
    }

    /// The epoch on which an action that decides a status is based; `None` for additions and edits, which
    /// go to the state branch instead of the task's register.
    #[must_use]
    pub fn based_on(&self) -> Option<u64> {
        match *self {
            Action::Add(_) | Action::Edit(_) | Action::Note { .. } | Action::Snooze { .. } => None,
            Action::Claim { base, .. } => Some(base),
            Action::Heartbeat { epoch, .. }
            | Action::Checkpoint { epoch, .. }
            | Action::Done { epoch, .. }
            | Action::Fail { epoch, .. }
            | Action::Release { epoch, .. }
            | Action::Block { epoch, .. }
            | Action::Unblock { epoch, .. }
            | Action::Cancel { epoch, .. }
            | Action::Retry { epoch, .. }
            | Action::Replan { epoch, .. }
            | Action::Review { epoch, .. }
            | Action::Recover { epoch, .. }
            | Action::NeedFailed { epoch, .. } => Some(epoch),
        }
    }

    /// Whether only the holder of the lease may do this.
    #[must_use]
    pub fn is_holders(&self) -> bool {
        matches!(
            self,
            Action::Heartbeat { .. }
                | Action::Checkpoint { .. }
                | Action::Done { .. }
                | Action::Fail { .. }
                | Action::Release { .. }
        )
    }
}
