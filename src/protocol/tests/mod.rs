//! Tests of the rules as a whole: the table of operations, every guard, merging, and random histories.
//!
//! A small cast is shared by all of them: the task `T`, two sessions on two machines, and builders that
//! bring a task into each status by the operations that a user would issue.

mod gating;
mod graph;
mod guards;
mod leases;
mod merging;
mod random;
mod table;

use std::time::Duration;

use super::id::{OpId, TaskId};
use super::op::{Action, Op, Patch, Role, Verdict};
use super::task::{Definition, Reason, RetryPolicy, Review, Status, Task};
use super::time::Timestamp;
use super::transition::{Rejected, next};

/// Time to live of every lease in these tests.
const TTL: Duration = Duration::from_secs(900);

/// Who acts: session and machine.
type Who = (&'static str, &'static str);
const ANN: Who = ("ann", "m-1");
const BOB: Who = ("bob", "m-2");
/// The same session name on another machine is somebody else.
const ANN_ELSEWHERE: Who = ("ann", "m-2");

fn id(text: &str) -> TaskId {
    TaskId::parse(text).expect("test ids are valid")
}

/// An operation whose id is `n`; its time grows with `n`.
fn op(n: u64, who: Who, action: Action) -> Op {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&n.to_be_bytes());
    let at = i64::try_from(n).expect("small numbers") * 1_000;
    Op {
        id: OpId::new(at, random),
        at: Timestamp(at),
        by: who.0.to_owned(),
        machine: who.1.to_owned(),
        role: Role::Author,
        action,
    }
}

fn definition() -> Definition {
    Definition { title: "Sweep the yard".to_owned(), ..Definition::default() }
}

fn add(def: Definition) -> Action {
    Action::Add(Box::new(def))
}

fn claim(base: u64) -> Action {
    Action::Claim { base, epoch: base + 1, ttl: TTL, process: None, over: None }
}

fn takeover(base: u64, seen: u64) -> Action {
    Action::Claim { base, epoch: base + 1, ttl: TTL, process: None, over: Some(seen) }
}

fn heartbeat(epoch: u64) -> Action {
    Action::Heartbeat { epoch, progress: None }
}

fn checkpoint(epoch: u64) -> Action {
    Action::Checkpoint { epoch, note: "half of it".to_owned(), percent: Some(50), file: None }
}

fn done(epoch: u64) -> Action {
    Action::Done { epoch, notes: "clean".to_owned(), artifacts: vec!["yard.jpg".to_owned()], bundle: None }
}

fn fail(epoch: u64, reason: Reason, permanent: bool) -> Action {
    let retry_at = Some(Timestamp(77_000));
    Action::Fail { epoch, reason, notes: "no broom".to_owned(), permanent, retry_at, bundle: None }
}

fn release(epoch: u64) -> Action {
    Action::Release { epoch, reason: None, notes: None }
}

fn block(epoch: u64) -> Action {
    Action::Block { epoch, notes: "ask the owner".to_owned() }
}

fn unblock(epoch: u64) -> Action {
    Action::Unblock { epoch, notes: None }
}

fn cancel(epoch: u64) -> Action {
    Action::Cancel { epoch, notes: "no longer wanted".to_owned() }
}

fn retry(epoch: u64) -> Action {
    Action::Retry { epoch, notes: None }
}

fn replan(epoch: u64) -> Action {
    let description = Some("Sweep only the front".to_owned());
    Action::Replan { epoch, notes: "too much".to_owned(), description, success_criteria: None }
}

fn review(epoch: u64, verdict: Verdict) -> Action {
    Action::Review { epoch, verdict, notes: "seen".to_owned() }
}

fn recover(epoch: u64, beat: u64) -> Action {
    Action::Recover { epoch, beat, retry_at: Some(Timestamp(99_000)) }
}

fn need_failed(epoch: u64) -> Action {
    Action::NeedFailed { epoch, need: id("N") }
}

fn retitle(title: &str) -> Action {
    Action::Edit(Box::new(Patch { title: Some(title.to_owned()), ..Patch::default() }))
}

fn note(text: &str) -> Action {
    Action::Note { text: text.to_owned() }
}

fn snooze(until: i64) -> Action {
    Action::Snooze { until: Some(Timestamp(until)) }
}

/// The task `T` after these operations, numbered from 1.
fn told(def: Definition, acts: Vec<(Who, Action)>) -> Task {
    let first = next(None, &id("T"), &op(1, ANN, add(def))).expect("an addition fits nothing");
    acts.into_iter().zip(2..).fold(first, |task, ((who, action), n)| {
        apply(&task, n, who, action).expect("the story of a test fits")
    })
}

/// One more operation with number `n`.
fn apply(task: &Task, n: u64, who: Who, action: Action) -> Result<Task, Rejected> {
    next(Some(task), task.id(), &op(n, who, action))
}

fn with_max_attempts(max: u32) -> Definition {
    Definition { retry: RetryPolicy { max_attempts: Some(max), ..RetryPolicy::default() }, ..definition() }
}

fn reviewed() -> Definition {
    Definition { review: Review::Required, ..definition() }
}

/// A task at epoch 1 in any status; ann held it.
fn task_in(status: Status) -> Task {
    let held = (ANN, claim(0));
    match status {
        Status::Pending => told(definition(), vec![held, (ANN, release(1))]),
        Status::InProgress => told(definition(), vec![held]),
        Status::InReview => told(reviewed(), vec![held, (ANN, done(1))]),
        Status::Done => told(definition(), vec![held, (ANN, done(1))]),
        Status::Failed => told(definition(), vec![held, (ANN, fail(1, Reason::Error, true))]),
        Status::Blocked => told(definition(), vec![held, (ANN, block(1))]),
        Status::Cancelled => told(definition(), vec![held, (BOB, cancel(1))]),
    }
}
