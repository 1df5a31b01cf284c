//! Who uses the queue: agents, operators, watchdogs and exchanges with the remote, each a fiber that runs commands.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use orch::protocol::id::TaskId;
use orch::protocol::op::Patch;
use orch::protocol::task::{Definition, ExecStep, Priority, Reason, Run, Status, Task};
use orch::protocol::time::Timestamp;
use orch::store::settings::Settings;
use orch::usecase::change::Changed;
use orch::usecase::claim::{self, Claimed, Terms};
use orch::usecase::error::{Error, Kind, Result};
use orch::usecase::holder::{self, Checkpoint, Failure, Finish};
use orch::usecase::operator::{self, Replan};
use orch::usecase::queue::Queue;
use orch::usecase::watch::{self, Rules};
use orch::usecase::{add, doctor, edit, sync};

use super::calls::Calls;
use super::dice::Dice;
use super::fiber::Fiber;
use super::kernel::{LONGEST, MINUTE, Micros, SECOND, Shared};
use super::machine::{self, Ended};
use super::oracle::{Act, Oracle};
use super::plan::Plan;
use super::ports::Port;
use super::tree;
use crate::history::{Verb, chain};

/// What all fibers of a run share.
pub struct Yard {
    /// The world.
    pub kernel: Shared,
    /// The judge.
    pub oracle: RefCell<Oracle>,
    /// What sessions were told of claims and their ends.
    pub calls: RefCell<Calls>,
    /// The run as data.
    pub plan: Plan,
    /// Settings of all machines.
    pub settings: Settings,
    /// No faults any more: agents do not vanish, operators do not act.
    pub calm: Cell<bool>,
    /// Everybody goes home.
    pub ending: Cell<bool>,
    /// Threads that a process has started and that nobody runs yet.
    pub births: RefCell<Vec<Birth>>,
}

/// A thread that is about to start, on a machine, now.
pub struct Birth {
    /// For people.
    pub name: String,
    /// Where.
    pub machine: usize,
    /// What it does.
    pub body: Box<dyn FnOnce(Rc<Fiber>)>,
}

/// One command, judged: the trace, the probes and the oracle learn of it.
fn run<T>(
    yard: &Yard,
    fiber: &Rc<Fiber>,
    session: &str,
    verb: &str,
    act: impl FnOnce(&mut Queue) -> Result<T>,
) -> (std::result::Result<T, Option<Error>>, Micros) {
    while !yard.kernel.borrow().machines[fiber.machine].up && !yard.ending.get() {
        pause(yard, fiber, 5 * SECOND);
    }
    let (ended, begun) = machine::command(&yard.kernel, fiber, &yard.settings, session, act);
    in_time(yard, fiber, &format!("{session}: {verb}"), begun);
    let mut kernel = yard.kernel.borrow_mut();
    let now = kernel.now;
    let (answer, told) = match ended {
        Ended::Told(told) => (Ok(told), "ok".to_owned()),
        Ended::Failed(error) => {
            if error.kind == Kind::Unreachable {
                kernel.probes.hit("a command met a remote out of reach");
            }
            if error.code == "damaged" {
                kernel.probes.hit("a damaged file was reported");
            }
            let text = format!("{}: {}", error.code, error.message);
            (Err(Some(error)), text)
        }
        Ended::Killed => (Err(None), "killed".to_owned()),
        Ended::Panicked(text) => {
            yard.oracle.borrow_mut().broken(9, now, format!("{session}: {verb} panicked: {text}"));
            (Err(None), "panicked".to_owned())
        }
    };
    kernel.trace.note(now, fiber.machine, &format!("{session} {verb}: {told}"));
    yard.oracle.borrow_mut().look(&mut kernel);
    (answer, begun)
}

/// The judge learns of an act that its session was told to have happened.
pub(super) fn told(yard: &Yard, fiber: &Fiber, session: &str, begun: Micros, changed: &Changed) {
    let act = Act {
        begun,
        task: &changed.task,
        session,
        machine: fiber.machine,
        published: changed.published,
        repeated: changed.repeated,
    };
    yard.oracle.borrow_mut().acted(&yard.kernel.borrow(), &act);
    let ends = chain(&changed.task).into_iter().rfind(|link| link.by == session);
    if let Some(link) = ends.filter(|link| is_end(link.verb)) {
        let returned = changed.published.then(|| now(yard));
        // What had happened before was called before.
        let begun = if changed.repeated { 0 } else { begun };
        yard.calls.borrow_mut().told(changed.task.id(), session, &link, begun, returned);
    }
}

/// Whether a holder ends its claim with it.
fn is_end(verb: Verb) -> bool {
    matches!(verb, Verb::Done | Verb::Fail | Verb::Release)
}

/// A claim was told to a session, which began to ask for it then.
pub(super) fn told_claim(yard: &Yard, fiber: &Fiber, session: &str, begun: Micros, claimed: &Claimed) {
    hit(yard, if claimed.repeated { "a claim was repeated" } else { "a claim was told" });
    let (at, task, epoch) = (now(yard), &claimed.task, claimed.epoch);
    yard.oracle.borrow_mut().claimed(at, task, epoch, session, fiber.machine, claimed.repeated);
    let claim = chain(task).into_iter().find(|link| link.verb == Verb::Claim && link.epoch == epoch);
    if let Some(link) = claim {
        // What had happened before was called before.
        let begun = if claimed.repeated { 0 } else { begun };
        yard.calls.borrow_mut().told(task.id(), session, &link, begun, Some(at));
    }
}

/// Whether an answer says for certain that nothing was done. A claim that was taken back while it was made was made.
pub(super) fn is_certain(error: &Error) -> bool {
    matches!(error.kind, Kind::Conflict | Kind::Nothing | Kind::Fenced | Kind::NotFound)
        && error.code != "moved"
}

/// No command takes long, whatever the remote does; a process that was stopped meanwhile has an excuse.
fn in_time(yard: &Yard, fiber: &Fiber, what: &str, begun: Micros) {
    let now = now(yard);
    if now > begun + LONGEST && fiber.stopped_until() < begun && !yard.ending.get() {
        let text = format!("{what} took {} s", (now - begun) / SECOND);
        yard.oracle.borrow_mut().broken(0, now, text);
    }
}

pub(super) fn pause(yard: &Yard, fiber: &Fiber, span: Micros) {
    let at = yard.kernel.borrow().now + span;
    fiber.wait_until(at);
    // A sentence that arrives between two commands meets nobody.
    fiber.reprieve();
}

pub(super) fn hit(yard: &Yard, probe: &'static str) {
    yard.kernel.borrow_mut().probes.hit(probe);
}

pub(super) fn now(yard: &Yard) -> Micros {
    yard.kernel.borrow().now
}

/// An agent: takes a task, works on it with heartbeats, finishes it in one way or another, or vanishes.
pub fn agent(yard: &Rc<Yard>, fiber: &Rc<Fiber>, name: &str, mut dice: Dice) {
    while !yard.ending.get() {
        let idle = dice.exponential(60.0 * SECOND as f64) as Micros;
        pause(yard, fiber, if yard.plan.herd { until_the_next_half_minute(yard, fiber, idle) } else { idle });
        if yard.ending.get() {
            return;
        }
        // A worker stands for its session with its own process; a person at the command line does not.
        let worker = dice.chance(0.3).then(|| Port::new(&yard.kernel, fiber));
        if let Some(claimed) = take(yard, fiber, name, &mut dice, worker.as_ref()) {
            work(yard, fiber, name, &mut dice, &claimed);
        } else {
            pause(yard, fiber, MINUTE);
        }
        if let Some(worker) = &worker {
            worker.end();
            yard.oracle.borrow_mut().process_ended(fiber.machine, worker.pid(), worker.start());
        }
    }
}

/// A pause of about this length that ends when a timer would.
fn until_the_next_half_minute(yard: &Yard, fiber: &Fiber, about: Micros) -> Micros {
    let kernel = yard.kernel.borrow();
    let end = kernel.machines[fiber.machine].clocks.wall_ms(kernel.now + about);
    about + (30_000 - end.rem_euclid(30_000)) as Micros * 1000
}

fn take(
    yard: &Yard,
    fiber: &Rc<Fiber>,
    name: &str,
    dice: &mut Dice,
    worker: Option<&Port>,
) -> Option<Claimed> {
    let terms = Terms { pid: worker.map(Port::pid), ..Terms::default() };
    let wanted = dice.chance(0.3).then(|| some_task(yard, dice)).flatten();
    let picked = wanted.is_none();
    let id = wanted.clone();
    let (answer, begun) = match wanted {
        Some(id) => run(yard, fiber, name, &format!("claim {id}"), |q| claim::claim(q, &id, &terms)),
        None => run(yard, fiber, name, "pick", |q| claim::pick(q, &terms)),
    };
    // A pick that goes on to another task may have made claims on its way that were taken back.
    if picked || matches!(&answer, Err(error) if !error.as_ref().is_some_and(is_certain)) {
        yard.calls.borrow_mut().unknown(id.as_ref(), name, Verb::Claim, None, begun);
    }
    match answer {
        Ok(claimed) => {
            if picked {
                hit(yard, "a task was picked");
            }
            if claimed.retries > 0 {
                hit(yard, "a claim lost its race");
            }
            told_claim(yard, fiber, name, begun, &claimed);
            Some(claimed)
        }
        Err(Some(error)) if error.kind == Kind::Conflict => {
            hit(yard, "a claim of a task that is not ready was refused");
            None
        }
        Err(Some(error)) if error.kind == Kind::Nothing => {
            hit(yard, "nothing was ready");
            None
        }
        Err(_) => None,
    }
}

fn some_task(yard: &Yard, dice: &mut Dice) -> Option<TaskId> {
    let oracle = yard.oracle.borrow();
    let ids: Vec<&TaskId> = oracle.tasks().keys().collect();
    if ids.is_empty() { None } else { Some((*dice.pick(&ids)).clone()) }
}

/// Until the task is over for this agent.
fn work(yard: &Yard, fiber: &Rc<Fiber>, name: &str, dice: &mut Dice, claimed: &Claimed) {
    let (id, epoch) = (claimed.task.id().clone(), claimed.epoch);
    let long = dice.exponential(yard.plan.work as f64) as Micros;
    // Once faults have stopped nobody dawdles: what is left has to end within a bound.
    let end = now(yard) + if yard.calm.get() { long.min(MINUTE) } else { long };
    let vanishes = !yard.calm.get() && dice.chance(yard.plan.vanish);
    while now(yard) < end {
        let left = (end - now(yard)).min(yard.plan.ttl / 3);
        pause(yard, fiber, left);
        if yard.calm.get() && now(yard) < end && end - now(yard) > MINUTE {
            break;
        }
        if yard.ending.get() || (vanishes && dice.chance(0.5)) {
            return;
        }
        if now(yard) >= end {
            break;
        }
        if dice.chance(0.2) {
            let what = Checkpoint { note: format!("step by {name}"), percent: Some(50), file: None };
            let (answer, begun) = run(yard, fiber, name, &format!("checkpoint {id}"), |q| {
                holder::checkpoint(q, &id, Some(epoch), &what)
            });
            match answer {
                Ok(changed) => {
                    told(yard, fiber, name, begun, &changed);
                }
                Err(Some(error)) if stops(yard, &error) => return,
                Err(_) => {}
            }
            continue;
        }
        let (answer, begun) = run(yard, fiber, name, &format!("heartbeat {id}"), |q| {
            holder::heartbeat(q, &id, Some(epoch), None)
        });
        match answer {
            Ok(beat) => {
                let what = format!("heartbeat by {name}");
                let mut oracle = yard.oracle.borrow_mut();
                oracle.held_still(&yard.kernel.borrow(), &id, epoch, begun, fiber.machine, &what);
                let probe =
                    if beat.published { "a heartbeat was accepted" } else { "a heartbeat stayed here" };
                hit(yard, probe);
            }
            Err(Some(error)) if stops(yard, &error) => return,
            Err(_) => {}
        }
    }
    finish(yard, fiber, name, dice, &id, epoch);
}

/// Whether an answer means that the task is no longer this session's.
fn stops(yard: &Yard, error: &Error) -> bool {
    let over = matches!(error.kind, Kind::Fenced | Kind::Conflict | Kind::NotFound);
    if error.kind == Kind::Fenced {
        hit(yard, "a holder was fenced");
    }
    over
}

fn finish(yard: &Yard, fiber: &Rc<Fiber>, name: &str, dice: &mut Dice, id: &TaskId, epoch: u64) {
    let way = dice.below(10);
    for _ in 0..5 {
        let verb = match way {
            0 => Verb::Release,
            1 | 2 if !yard.calm.get() => Verb::Fail,
            _ => Verb::Done,
        };
        let act = |q: &mut Queue| match verb {
            Verb::Release => holder::release(q, id, Some(epoch), None, None),
            Verb::Fail => {
                let how = Failure {
                    notes: "it broke".to_owned(),
                    reason: Reason::Error,
                    permanent: false,
                    retry_after: None,
                    bundle: None,
                };
                holder::fail(q, id, Some(epoch), &how)
            }
            _ => holder::done(
                q,
                id,
                Some(epoch),
                &Finish { notes: "it works".to_owned(), ..Finish::default() },
            ),
        };
        let word = ["release", "fail", "fail"].get(way as usize).unwrap_or(&"done");
        let (answer, begun) = run(yard, fiber, name, &format!("{word} {id}"), act);
        match answer {
            Ok(changed) => {
                let probe = match (changed.published, way) {
                    (false, _) => "a finish stayed here",
                    (_, 0) => "a task was given back",
                    (_, 1 | 2) if !yard.calm.get() => "a task failed and waits",
                    _ => "a holder finished",
                };
                hit(yard, probe);
                told(yard, fiber, name, begun, &changed);
                return;
            }
            // Its own clock says that the lease is over: what it has sent before may still arrive where that happens.
            Err(Some(error))
                if stops(yard, &error) && !(error.code == "expired" && yard.plan.knobs.late > 0.0) =>
            {
                return;
            }
            // Killed, or out of reach in a way that changed nothing: a script tries again.
            Err(_) => {
                yard.calls.borrow_mut().unknown(Some(id), name, verb, Some(epoch), begun);
                pause(yard, fiber, 10 * SECOND);
            }
        }
    }
}

/// People at command lines of all machines.
pub fn operator(yard: &Rc<Yard>, fiber: &Rc<Fiber>, name: &str, mut dice: Dice) {
    let mut number = 0;
    let mean = yard.plan.operators as f64 * yard.plan.machines as f64;
    while !yard.ending.get() {
        let idle = dice.exponential(mean) as Micros;
        pause(yard, fiber, idle.max(1));
        if yard.ending.get() {
            return;
        }
        if yard.calm.get() {
            unstick(yard, fiber, name);
            continue;
        }
        number += 1;
        match dice.below(10) {
            0..=3 => added(yard, fiber, name, &mut dice, number),
            4 | 5 => edited(yard, fiber, name, &mut dice),
            6 => decided(yard, fiber, name, &mut dice, "cancel"),
            7 => decided(yard, fiber, name, &mut dice, "retry"),
            8 => decided(yard, fiber, name, &mut dice, "replan"),
            _ => decided(yard, fiber, name, &mut dice, "unblock"),
        }
    }
}

/// In the end somebody decides about whatever waits for a person, so that everything can end. A backoff that was
/// reckoned by a clock which was days ahead waits for a person as well: start times are wall time, for everybody.
fn unstick(yard: &Yard, fiber: &Rc<Fiber>, name: &str) {
    let soon = {
        let kernel = yard.kernel.borrow();
        Timestamp(kernel.machines[fiber.machine].clocks.wall_ms(kernel.now) + 3_600_000)
    };
    let tasks: Vec<Task> = yard.oracle.borrow().tasks().values().cloned().collect();
    for task in tasks {
        let id = task.id();
        if matches!(task.status(), Status::Blocked | Status::InReview) {
            let _ = run(yard, fiber, name, &format!("cancel {id}"), |q| operator::cancel(q, id, "given up"));
        } else if task.status() == Status::Pending && task.def().not_before.is_some_and(|at| at > soon) {
            let _ = run(yard, fiber, name, &format!("snooze {id}"), |q| edit::snooze(q, id, None));
        }
    }
}

/// Adds one task; now and then under an id that another machine may be using at this very moment.
pub fn added(yard: &Yard, fiber: &Rc<Fiber>, name: &str, dice: &mut Dice, number: u64) {
    let shared = dice.chance(0.3);
    let id = if shared { format!("S-{}", dice.below(40)) } else { format!("T-{}-{number}", fiber.machine) };
    let Ok(id) = TaskId::parse(&id) else { return };
    let needs = if dice.chance(0.2) {
        some_task(yard, dice).into_iter().filter(|n| *n != id).collect()
    } else {
        Vec::new()
    };
    let work = (yard.plan.workers > 0 && dice.chance(0.8)).then(|| program(dice));
    let priorities = [Priority::P0, Priority::P1, Priority::P2, Priority::P3];
    let def = Definition {
        title: format!("task of {name}, number {number}"),
        priority: *dice.pick(&priorities),
        needs,
        run: work,
        ..Definition::default()
    };
    let (answer, begun) =
        run(yard, fiber, name, &format!("add {id}"), |q| add::add(q, Some(id.clone()), def));
    match answer {
        Ok(added) => {
            if *added.task.id() != id {
                hit(yard, "an id was taken twice");
            }
            if added.created {
                let add::Added { task, published, .. } = added;
                let changed = Changed { task, published, repeated: false, retries: 0 };
                told(yard, fiber, name, begun, &changed);
            }
        }
        Err(Some(error)) if error.kind == Kind::Conflict => hit(yard, "an id was taken twice"),
        Err(_) => {}
    }
}

/// One or two commands for a worker, each with a limit.
fn program(dice: &mut Dice) -> Run {
    let step = || ExecStep {
        name: None,
        argv: vec![tree::PROGRAM.to_owned()],
        cwd: None,
        env: BTreeMap::new(),
        timeout: Some(Duration::from_secs(30 * 60)),
        continue_on_error: false,
    };
    Run::Exec((0..dice.between(1, 2)).map(|_| step()).collect())
}

fn edited(yard: &Yard, fiber: &Rc<Fiber>, name: &str, dice: &mut Dice) {
    let Some(id) = some_task(yard, dice) else { return };
    let text = format!("word {} of {name}", dice.below(1000));
    let way = dice.below(3);
    let (answer, begun) = run(yard, fiber, name, &format!("edit {id}"), |q| match way {
        0 => edit::note(q, &id, &text),
        1 => edit::snooze(q, &id, None),
        _ => edit::edit(q, &id, &Patch { title: Some(text.clone()), ..Patch::default() }),
    });
    if let Ok(changed) = answer
        && !changed.repeated
    {
        hit(yard, "a task was edited");
        told(yard, fiber, name, begun, &changed);
    }
}

fn decided(yard: &Yard, fiber: &Rc<Fiber>, name: &str, dice: &mut Dice, verb: &'static str) {
    let Some(id) = some_task(yard, dice) else { return };
    let replan = Replan {
        notes: "another way".to_owned(),
        description: Some("new".to_owned()),
        success_criteria: None,
    };
    let (answer, begun) = run(yard, fiber, name, &format!("{verb} {id}"), |q| match verb {
        "cancel" => operator::cancel(q, &id, "not needed"),
        "retry" => operator::retry(q, &id, None),
        "replan" => operator::replan(q, &id, &replan),
        _ => operator::unblock(q, &id, None),
    });
    match answer {
        Ok(changed) if !changed.repeated => {
            match verb {
                "cancel" => hit(yard, "an operator cancelled"),
                "retry" => hit(yard, "an operator retried"),
                _ => {}
            }
            told(yard, fiber, name, begun, &changed);
        }
        Err(Some(error)) if error.kind == Kind::Conflict => hit(yard, "an operator was refused"),
        _ => {}
    }
}

/// A watchdog by timer.
pub fn watchdog(yard: &Rc<Yard>, fiber: &Rc<Fiber>, name: &str, mut dice: Dice) {
    while !yard.ending.get() {
        let span = yard.plan.ttl / 3 + dice.below(SECOND);
        pause(yard, fiber, span);
        if yard.ending.get() {
            return;
        }
        let (answer, _) = run(yard, fiber, name, "watchdog", |q| watch::round(q, Rules::default()));
        if let Ok(watched) = answer {
            for recovered in watched.recovered {
                hit(yard, "a watchdog recovered");
                if recovered.session.starts_with(&format!("agent-{}-", fiber.machine)) {
                    hit(yard, "a dead process was noticed");
                }
            }
        }
    }
}

/// Exchanges with the remote.
pub fn exchange(yard: &Rc<Yard>, fiber: &Rc<Fiber>, name: &str, mut dice: Dice) {
    while !yard.ending.get() {
        let span = 2 * MINUTE + dice.below(MINUTE);
        pause(yard, fiber, span);
        if yard.ending.get() {
            return;
        }
        if exchanged(yard, fiber, name) == Exchanged::Alarm {
            let noticed = SECOND + if yard.calm.get() { 0 } else { dice.below(10 * MINUTE) };
            pause(yard, fiber, noticed);
            publish_again(yard, fiber, name);
        }
    }
}

/// What became of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exchanged {
    /// It went well, or failed for a reason that passes.
    Somehow,
    /// The branch was rewound, and a person has to decide.
    Alarm,
}

fn exchanged(yard: &Yard, fiber: &Rc<Fiber>, name: &str) -> Exchanged {
    match run(yard, fiber, name, "sync", sync::sync).0 {
        Err(Some(error)) if error.code == "rewound" => Exchanged::Alarm,
        _ => Exchanged::Somehow,
    }
}

/// Somebody reads that the branch was rewound, and has this machine's state published again, as the message says.
fn publish_again(yard: &Yard, fiber: &Rc<Fiber>, name: &str) {
    let (done, _) = run(yard, fiber, name, "doctor --repair", doctor::publish_again);
    if matches!(done, Ok(Some(_))) {
        hit(yard, "a machine published its state again");
    }
}

/// One exchange, for the end.
pub fn exchange_once(yard: &Yard, fiber: &Rc<Fiber>) {
    if exchanged(yard, fiber, "end") == Exchanged::Alarm {
        publish_again(yard, fiber, "end");
    }
}

/// How long anything may take once faults have stopped: backoff of three attempts, leases that must lapse, work.
#[must_use]
pub fn patience(plan: &Plan) -> Duration {
    Duration::from_micros(plan.ttl * 4 + plan.work * 30 + 6 * 60 * MINUTE)
}
