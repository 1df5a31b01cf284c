//! The commands that are struck: what is there before, the command itself, and what is there exactly once afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use orch::protocol::id::TaskId;
use orch::protocol::task::{Definition, Reason, Status, Task};
use orch::usecase::claim::{self, Claimed, Terms};
use orch::usecase::error::{Kind, Result};
use orch::usecase::holder::{self, Checkpoint, Failure, Finish};
use orch::usecase::queue::Queue;
use orch::usecase::watch::{self, Rules};
use orch::usecase::{add, edit, gc, operator, sync};

use super::stage::{Stage, TTL, count};

/// Who runs the command, on the first machine.
pub const ACTOR: &str = "actor";
/// Somebody on the second one.
const OTHER: &str = "other";

/// What a command was told, as far as it must be kept.
pub enum Answer {
    /// A claim.
    Claimed(Box<Claimed>),
    /// A change, and whether others can see it.
    Changed(Box<Task>, bool),
    /// Nothing that anybody relies on.
    Nothing,
}

type Prepared = std::result::Result<(), String>;

/// One command.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// Whether there is a remote and a second machine.
    pub shared: bool,
    /// Makes what must be there before.
    pub prepare: fn(&mut Stage) -> Prepared,
    /// The command.
    pub act: fn(&mut Queue) -> Result<Answer>,
    /// What it may be told when it has happened already.
    pub refuses: &'static [Kind],
    /// What it needs may have to be watched anew, for longer than a lease.
    pub patient: bool,
    /// What must be there in the end, by id.
    pub after: fn(&BTreeMap<String, Task>) -> Prepared,
}

fn id(text: &str) -> TaskId {
    TaskId::parse(text).expect("a task id")
}

fn subject() -> TaskId {
    id("T-1")
}

fn changed(told: orch::usecase::change::Changed) -> Answer {
    Answer::Changed(Box::new(told.task), told.published)
}

fn new_task(title: &str) -> Definition {
    Definition { title: title.to_owned(), ..Definition::default() }
}

/// A task to act on and one beside it, which nobody may harm.
fn two_tasks(stage: &mut Stage) -> Prepared {
    for name in ["T-1", "T-2"] {
        stage.must(0, "setup", move |q| add::add(q, Some(id(name)), new_task(name)).map(drop))?;
    }
    Ok(())
}

fn both_know(stage: &mut Stage) -> Prepared {
    two_tasks(stage)?;
    stage.must(1, "setup", sync::sync).map(drop)
}

fn held(stage: &mut Stage) -> Prepared {
    two_tasks(stage)?;
    stage.claimed(0, ACTOR, &subject()).map(drop)
}

fn held_by_other(stage: &mut Stage) -> Prepared {
    both_know(stage)?;
    stage.claimed(1, OTHER, &subject()).map(drop)
}

/// The holder is gone for longer than its lease, by the clock of the one who watches.
fn stale(stage: &mut Stage) -> Prepared {
    held_by_other(stage)?;
    stage.must(0, "setup", |q| watch::round(q, Rules::default()).map(drop))?;
    stage.wait(TTL * 3);
    Ok(())
}

fn stale_here(stage: &mut Stage) -> Prepared {
    two_tasks(stage)?;
    stage.claimed(0, OTHER, &subject())?;
    stage.must(0, "setup", |q| watch::round(q, Rules::default()).map(drop))?;
    stage.wait(TTL * 3);
    Ok(())
}

fn cancelled(stage: &mut Stage) -> Prepared {
    two_tasks(stage)?;
    stage.must(0, "setup", |q| operator::cancel(q, &subject(), "not needed").map(drop))
}

/// The other machine has added, finished and edited; nothing of that is here, nor folded.
fn much_to_learn(stage: &mut Stage) -> Prepared {
    held_by_other(stage)?;
    stage.must(1, OTHER, |q| holder::done(q, &subject(), None, &finish()).map(drop))?;
    stage.must(1, OTHER, |q| add::add(q, Some(id("T-3")), new_task("late")).map(drop))?;
    stage.must(1, OTHER, |q| edit::note(q, &id("T-2"), "a word").map(drop))
}

/// A finish that was kept here while the remote was out of reach.
fn kept(stage: &mut Stage) -> Prepared {
    held(stage)?;
    stage.link(0, false);
    let told = stage.must(0, ACTOR, |q| holder::done(q, &subject(), None, &finish()))?;
    stage.link(0, true);
    if told.published { Err("the finish went out over a cut link".to_owned()) } else { Ok(()) }
}

fn ended_long_ago(stage: &mut Stage) -> Prepared {
    held(stage)?;
    stage.must(0, ACTOR, |q| holder::done(q, &subject(), None, &finish()).map(drop))?;
    for machine in [0, 1] {
        stage.must(machine, "setup", sync::sync)?;
    }
    stage.wait(Duration::from_secs(400 * 86_400));
    Ok(())
}

fn ended_long_ago_here(stage: &mut Stage) -> Prepared {
    held(stage)?;
    stage.must(0, ACTOR, |q| holder::done(q, &subject(), None, &finish()).map(drop))?;
    stage.wait(Duration::from_secs(400 * 86_400));
    Ok(())
}

fn finish() -> Finish {
    Finish { notes: "it works".to_owned(), ..Finish::default() }
}

fn failure() -> Failure {
    let (notes, reason) = ("it broke".to_owned(), Reason::Error);
    Failure { notes, reason, permanent: false, retry_after: None, bundle: None }
}

fn do_add(q: &mut Queue) -> Result<Answer> {
    let def = Definition { idempotency_key: Some("once".to_owned()), ..new_task("new") };
    let added = add::add(q, Some(id("T-3")), def)?;
    Ok(Answer::Changed(Box::new(added.task), added.published))
}

fn do_claim(q: &mut Queue) -> Result<Answer> {
    claim::claim(q, &subject(), &Terms::default()).map(|told| Answer::Claimed(Box::new(told)))
}

fn do_done(q: &mut Queue) -> Result<Answer> {
    holder::done(q, &subject(), None, &finish()).map(changed)
}

fn do_watch(q: &mut Queue) -> Result<Answer> {
    watch::round(q, Rules::default()).map(|_| Answer::Nothing)
}

fn do_gc(q: &mut Queue) -> Result<Answer> {
    gc::gc(q, false).map(|_| Answer::Nothing)
}

fn exactly(tasks: &BTreeMap<String, Task>, name: &str, verb: &str, status: Status) -> Prepared {
    let task = tasks.get(name).ok_or_else(|| format!("{name} is gone"))?;
    let times = count(task, verb);
    if times != 1 {
        return Err(format!("{name} holds {times} times {verb}"));
    }
    if task.status() != status {
        return Err(format!("{name} is {:?}", task.status()));
    }
    match tasks.get("T-2") {
        Some(beside) if beside.status() == Status::Pending => Ok(()),
        other => Err(format!("T-2 was harmed: {:?}", other.map(Task::status))),
    }
}

/// The same words twice are two operations, and whoever was not told says them again.
fn at_least_once(tasks: &BTreeMap<String, Task>, verb: &str, status: Status) -> Prepared {
    let task = tasks.get("T-1").ok_or("T-1 is gone")?;
    match (count(task, verb), task.status()) {
        (1.., now) if now == status => Ok(()),
        other => Err(format!("T-1: {other:?}")),
    }
}

fn added(tasks: &BTreeMap<String, Task>) -> Prepared {
    if tasks.len() != 3 {
        return Err(format!("there are {} tasks", tasks.len()));
    }
    exactly(tasks, "T-3", "add", Status::Pending)
}

fn learnt(tasks: &BTreeMap<String, Task>) -> Prepared {
    exactly(tasks, "T-1", "done", Status::Done)?;
    exactly(tasks, "T-2", "note", Status::Pending)?;
    exactly(tasks, "T-3", "add", Status::Pending)
}

macro_rules! after {
    ($verb:literal, $status:ident) => {
        |tasks| exactly(tasks, "T-1", $verb, Status::$status)
    };
}

/// Every command, with a remote and, where that makes a difference, without one.
pub const CASES: &[Case] = &[
    Case {
        name: "add",
        shared: true,
        prepare: two_tasks,
        act: do_add,
        refuses: &[],
        patient: false,
        after: added,
    },
    Case {
        name: "add-local",
        shared: false,
        prepare: two_tasks,
        act: do_add,
        refuses: &[],
        patient: false,
        after: added,
    },
    Case {
        name: "edit",
        shared: true,
        prepare: both_know,
        act: |q| {
            let patch = orch::protocol::op::Patch { title: Some("new".to_owned()), ..Default::default() };
            edit::edit(q, &subject(), &patch).map(changed)
        },
        refuses: &[],
        patient: false,
        after: |tasks| at_least_once(tasks, "edit", Status::Pending),
    },
    Case {
        name: "claim",
        shared: true,
        prepare: both_know,
        act: do_claim,
        refuses: &[],
        patient: false,
        after: after!("claim", InProgress),
    },
    Case {
        name: "claim-local",
        shared: false,
        prepare: two_tasks,
        act: do_claim,
        refuses: &[],
        patient: false,
        after: after!("claim", InProgress),
    },
    Case {
        name: "claim-over",
        shared: true,
        prepare: stale,
        act: do_claim,
        refuses: &[],
        patient: true,
        after: |tasks| {
            let task = tasks.get("T-1").ok_or("T-1 is gone")?;
            match (count(task, "claim"), task.status(), task.lease().map(|lease| lease.session.as_str())) {
                (2, Status::InProgress, Some(ACTOR)) => Ok(()),
                other => Err(format!("T-1: {other:?}")),
            }
        },
    },
    Case {
        name: "heartbeat",
        shared: true,
        prepare: held,
        act: |q| holder::heartbeat(q, &subject(), None, None).map(|_| Answer::Nothing),
        refuses: &[],
        patient: false,
        after: after!("claim", InProgress),
    },
    Case {
        name: "checkpoint",
        shared: true,
        prepare: held,
        act: |q| {
            let what = Checkpoint { note: "half way".to_owned(), percent: Some(50), file: None };
            holder::checkpoint(q, &subject(), None, &what).map(changed)
        },
        refuses: &[],
        patient: false,
        after: |tasks| at_least_once(tasks, "checkpoint", Status::InProgress),
    },
    Case {
        name: "done",
        shared: true,
        prepare: held,
        act: do_done,
        refuses: &[],
        patient: false,
        after: after!("done", Done),
    },
    Case {
        name: "done-local",
        shared: false,
        prepare: held,
        act: do_done,
        refuses: &[],
        patient: false,
        after: after!("done", Done),
    },
    Case {
        name: "fail",
        shared: true,
        prepare: held,
        act: |q| holder::fail(q, &subject(), None, &failure()).map(changed),
        refuses: &[Kind::Conflict],
        patient: false,
        after: after!("fail", Pending),
    },
    Case {
        name: "release",
        shared: true,
        prepare: held,
        act: |q| holder::release(q, &subject(), None, None, None).map(changed),
        refuses: &[Kind::Conflict],
        patient: false,
        after: after!("release", Pending),
    },
    Case {
        name: "cancel",
        shared: true,
        prepare: held_by_other,
        act: |q| operator::cancel(q, &subject(), "not needed").map(changed),
        refuses: &[Kind::Conflict],
        patient: false,
        after: after!("cancel", Cancelled),
    },
    Case {
        name: "retry",
        shared: true,
        prepare: cancelled,
        act: |q| operator::retry(q, &subject(), None).map(changed),
        refuses: &[Kind::Conflict],
        patient: false,
        after: after!("retry", Pending),
    },
    Case {
        name: "recover",
        shared: true,
        prepare: stale,
        act: do_watch,
        refuses: &[],
        patient: true,
        after: after!("recover", Pending),
    },
    Case {
        name: "recover-local",
        shared: false,
        prepare: stale_here,
        act: do_watch,
        refuses: &[],
        patient: true,
        after: after!("recover", Pending),
    },
    Case {
        name: "sync",
        shared: true,
        prepare: much_to_learn,
        act: |q| sync::sync(q).map(|_| Answer::Nothing),
        refuses: &[],
        patient: false,
        after: learnt,
    },
    Case {
        name: "sync-kept",
        shared: true,
        prepare: kept,
        act: |q| sync::sync(q).map(|_| Answer::Nothing),
        refuses: &[],
        patient: false,
        after: after!("done", Done),
    },
    Case {
        name: "gc",
        shared: true,
        prepare: ended_long_ago,
        act: do_gc,
        refuses: &[],
        patient: false,
        after: after!("done", Done),
    },
    Case {
        name: "gc-local",
        shared: false,
        prepare: ended_long_ago_here,
        act: do_gc,
        refuses: &[],
        patient: false,
        after: after!("done", Done),
    },
];
