//! One exploration: the state from which every execution begins, the processes, and the judgement after each.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use orch::protocol::id::TaskId;
use orch::protocol::op::Op;
use orch::protocol::task::{Definition, Task};
use orch::store::layout::Layout;
use orch::store::settings::Settings;
use orch::store::tasks::Store;
use orch::usecase::claim::{self, Terms};
use orch::usecase::error::{Error, Result};
use orch::usecase::holder::{self, Finish};
use orch::usecase::queue::{About, Opening, Queue};
use orch::usecase::watch::{self, Rules};
use orch::usecase::{add, edit, init, operator, sync};

use super::asleep::Asleep;
use super::bound::Bound;
use super::known::Known;
use super::points::{Cut, Points, explore, side_by_side};
use super::scenes::{Act, Before, Harmed, Mutant, Part, Scene, named};
use super::seat::{Harm, Seat, before_index};
use crate::sim::dice::Dice;
use crate::sim::faults::{Broken, Knobs};
use crate::sim::fiber::Killed;
use crate::sim::kernel::{Clocks, Kernel, MINUTE, Machine, Micros, SECOND, Shared};
use crate::sim::oracle::{Oracle, Violation};

/// Time to live of a lease here.
const TTL: Micros = MINUTE;

/// Interruptions within which a mutant must be noticed.
const MOST: usize = 2;

/// What came of an exploration.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Executions.
    pub iterations: u64,
    /// How long they took.
    pub took: Duration,
    /// The first broken promise, if any, with the steps that led there.
    pub broken: Option<(Vec<Violation>, Vec<String>)>,
    /// Executions that were cut off, because they repeated others.
    pub cut: u64,
    /// Different orders of steps that depend on each other.
    pub orders: HashSet<u64>,
    /// How the processes ended together, and how often.
    pub endings: BTreeMap<String, u64>,
    /// Answers that had to be seen and were not.
    pub unseen: Vec<String>,
    /// What more than one process used and at least one of them wrote.
    pub contended: BTreeSet<String>,
    /// Calls that each process made at most, and calls of the remote among them.
    pub calls: Vec<(usize, usize)>,
    /// After how many executions something was seen that needs a point and has none.
    grown: Option<u64>,
}

/// The state from which every execution begins.
pub(super) struct Prepared {
    pub(super) scene: &'static Scene,
    kernel: Kernel,
    oracle: Oracle,
    pub(super) settings: Settings,
    pub(super) now: Micros,
    /// When the lease, if there is one, still lasted.
    pub(super) held: Micros,
    /// The epoch in which session `a` holds the task.
    epoch: Option<u64>,
    pub(super) harm: Harm,
}

/// One execution.
pub(super) struct Execution {
    pub(super) prepared: Rc<Prepared>,
    pub(super) kernel: Shared,
    pub(super) oracle: RefCell<Oracle>,
    points: Rc<Points>,
    pub(super) seats: Vec<Rc<Seat>>,
    endings: RefCell<Vec<String>>,
    /// Processes that have not ended.
    left: Cell<usize>,
    /// What was acknowledged: the operation, and the machine where it was kept if it was not published.
    pub(super) told: RefCell<Vec<(Op, usize)>>,
}

thread_local! {
    // The functions that loom runs carry nothing along, and all of them run in this thread.
    static PREPARED: RefCell<Option<Rc<Prepared>>> = const { RefCell::new(None) };
    static EXECUTION: RefCell<Option<Rc<Execution>>> = const { RefCell::new(None) };
    static OUTCOME: RefCell<Outcome> = RefCell::default();
    static KNOWN: RefCell<Rc<RefCell<Known>>> = RefCell::default();
    static ASLEEP: RefCell<Rc<RefCell<Asleep>>> = RefCell::default();
    static PROGRESS: Cell<fn(u64)> = const { Cell::new(|_| ()) };
    /// Whether what was explored in another order is cut off, where that is certain.
    static CUTS: Cell<bool> = const { Cell::new(true) };
    /// Whether what a process does at home in a row is one step.
    static TOGETHER: Cell<bool> = const { Cell::new(false) };
}

/// One command of a session on a machine, alone.
type Alone<'a> = dyn FnMut(usize, &str, &mut dyn FnMut(&mut Queue) -> Result<()>) + 'a;

/// What an exploration ends with that has found something, or has to begin anew.
struct Stop;

fn task() -> TaskId {
    TaskId::parse("T-1").expect("a plain id")
}

/// Explores a scenario within a bound, with a guard taken away and with something going wrong for the first process.
///
/// # Panics
/// When an execution deadlocks, or the scenario cannot be prepared.
#[must_use]
pub fn run(
    scene: &'static Scene,
    bound: Bound,
    broken: Option<Broken>,
    harm: Harm,
    progress: fn(u64),
) -> Outcome {
    let prepared = prepare(scene, broken, harm);
    PREPARED.set(Some(Rc::new(prepared)));
    PROGRESS.set(progress);
    KNOWN.set(Rc::default());
    let begun = Instant::now();
    // Cheap explorations first: they find nearly everything that is contended.
    let first = [0, 1].into_iter().filter(|most| bound.interruptions().is_none_or(|bound| *most < bound));
    for bound in first.map(Bound::Within).chain([bound]) {
        while !explored(scene, bound) {}
        if OUTCOME.with_borrow(|outcome| outcome.broken.is_some()) {
            break;
        }
    }
    EXECUTION.set(None);
    PREPARED.set(None);
    let mut outcome = OUTCOME.take();
    outcome.took = begun.elapsed();
    outcome.contended = KNOWN.take().borrow().contended().iter().map(ToString::to_string).collect();
    let seen = |answer: &&&str| outcome.endings.keys().any(|ending| ending.contains(**answer));
    outcome.unseen = scene.seen.iter().filter(|answer| !seen(answer)).map(|a| (*a).to_owned()).collect();
    outcome
}

/// The same with nothing cut off.
#[cfg(test)]
pub(super) fn run_uncut(scene: &'static Scene, bound: Bound) -> Outcome {
    CUTS.set(false);
    let outcome = run(scene, bound, None, Harm::default(), |_| ());
    CUTS.set(true);
    outcome
}

/// Looks for an execution that notices a mutant, within bounds that grow. Gives the last bound, and all executions that
/// it took.
#[must_use]
pub fn hunt(mutant: &Mutant, progress: fn(u64)) -> (Bound, Outcome) {
    let scene = named(mutant.scene).expect("a test has looked for it");
    let all = tried_harms(scene);
    let harms = match mutant.harmed {
        Harmed::No => vec![Harm::default()],
        Harmed::Unanswered => all.into_iter().filter(|harm| harm.unanswered.is_some()).collect(),
        Harmed::Killed => all.into_iter().filter(|harm| harm.killed_at.is_some()).collect(),
    };
    let mut sum = Outcome::default();
    for bound in (0..=MOST).map(Bound::Within) {
        for harm in &harms {
            let outcome = run(scene, bound, Some(mutant.broken), *harm, progress);
            sum.iterations += outcome.iterations;
            sum.took += outcome.took;
            sum.broken = outcome.broken;
            if sum.broken.is_some() {
                return (bound, sum);
            }
        }
    }
    (Bound::Within(MOST), sum)
}

/// Everything that can go wrong for the first process: it is killed at each call that it makes when nobody
/// interrupts it, and each answer of the remote is lost.
#[must_use]
pub fn tried_harms(scene: &'static Scene) -> Vec<Harm> {
    let outcome = run(scene, Bound::Within(0), None, Harm::default(), |_| ());
    let Some((calls, asked)) = outcome.calls.first().copied() else { return Vec::new() };
    let killed = (0..calls).map(|at| Harm { killed_at: Some(at), ..Harm::default() });
    killed.chain((0..asked).map(|at| Harm { unanswered: Some(at), ..Harm::default() })).collect()
}

/// Explores once; false when something else turned out to be contended, so that it has to be done again. Not at once: a second
/// time as many executions may show more of the kind, and each beginning costs all of them.
fn explored(scene: &Scene, bound: Bound) -> bool {
    OUTCOME.set(Outcome::default());
    KNOWN.with_borrow(|known| known.borrow_mut().settle());
    let cuts = CUTS.get() && bound.interruptions().is_none() && scene.cast.len() == 2;
    TOGETHER.set(bound == Bound::Exchanges);
    ASLEEP.set(Rc::new(RefCell::new(Asleep::new(cuts))));
    let ended = catch_unwind(AssertUnwindSafe(|| {
        explore(bound.interruptions(), || side_by_side(1, |_| execution()));
    }));
    match ended {
        Ok(()) => OUTCOME.with_borrow(|outcome| outcome.grown.is_none()),
        Err(payload) if payload.is::<Stop>() => OUTCOME.with_borrow(|outcome| outcome.broken.is_some()),
        Err(payload) => std::panic::resume_unwind(payload),
    }
}

/// Machines with empty disks.
fn machines(count: usize) -> Kernel {
    let knobs = Knobs { preempt: 0.0, latency: (0, 0), ..Knobs::calm() };
    let mut kernel = Kernel::new(Dice::new(7), knobs, None);
    for at in 0..count {
        let clocks = Clocks::default();
        kernel.machines.push(Machine::new(PathBuf::from(format!("/m{at}/state")), clocks));
    }
    kernel
}

fn settings(shared: bool) -> Settings {
    let remote = shared.then(|| "/simulated/remote.git".to_owned());
    let mut settings = Settings { remote, ..Settings::default() };
    settings.lease.ttl = Duration::from_micros(TTL);
    settings.sync.timeout = Duration::from_secs(10);
    settings
}

/// Lays out the machines and brings the task to where the scenario begins, one command after the other.
fn prepare(scene: &'static Scene, broken: Option<Broken>, harm: Harm) -> Prepared {
    let settings = settings(scene.shared);
    let kernel: Shared = Rc::new(RefCell::new(machines(scene.machines)));
    let now = Cell::new(3600 * SECOND);
    let mut oracle = Oracle::default();
    let mut alone = |machine: usize, session: &str, act: &mut dyn FnMut(&mut Queue) -> Result<()>| {
        let seat = Seat::new(&kernel, 0, machine, now.get(), Harm::default());
        let answer = open(&seat, &settings, session).and_then(|mut queue| act(&mut queue));
        seat.end();
        answer.unwrap_or_else(|error| panic!("setting {} up: {}", scene.name, error.message));
        oracle.look(&mut kernel.borrow_mut());
        now.set(now.get() + 10 * SECOND);
    };
    for machine in 0..scene.machines {
        let seat = Seat::new(&kernel, 0, machine, now.get(), Harm::default());
        let world = seat.world(false);
        let layout = Layout::new(kernel.borrow().machines[machine].state.clone());
        init::lay_out(&*world.disk, &*world.random, &layout).expect("an empty disk takes a queue");
        seat.end();
        alone(machine, "setup", &mut |q| {
            if scene.shared {
                init::take_over(q)?;
            }
            init::publish_first(q)
        });
    }
    let told = bring(scene, &mut alone);
    let epoch = told.as_ref().map(|claimed| claimed.epoch);
    if let Some(claimed) = told.filter(|_| scene.shared) {
        oracle.claimed(now.get(), &claimed.task, claimed.epoch, "a", 0, false);
    }
    let held = now.get();
    if scene.before == Before::Lapsed {
        now.set(now.get() + 3 * TTL);
    }
    let mut kernel = kernel.borrow().clone();
    kernel.broken = broken;
    for machine in &mut kernel.machines {
        machine.index = machine.index.clone().with_before_use(before_index);
    }
    Prepared { scene, kernel, oracle, settings, now: now.get(), held, epoch, harm }
}

/// Adds two tasks and brings the first to where the scenario begins; the claim, if it was claimed.
fn bring(scene: &Scene, alone: &mut Alone<'_>) -> Option<claim::Claimed> {
    for id in ["T-1", "T-2"] {
        let id = TaskId::parse(id).expect("a plain id");
        let def = Definition { title: "a task".to_owned(), ..Definition::default() };
        alone(0, "setup", &mut |q| add::add(q, Some(id.clone()), def.clone()).map(drop));
    }
    exchange(scene, alone);
    if scene.before == Before::Ready {
        return None;
    }
    let mut told = None;
    alone(0, "a", &mut |q| {
        told = Some(claim::claim(q, &task(), &Terms::default())?);
        Ok(())
    });
    exchange(scene, alone);
    if matches!(scene.before, Before::Finished | Before::GivenBack) {
        let epoch = told.as_ref().map(|claimed| claimed.epoch);
        // A machine folds at most every two seconds: right after another fold the end of this lease stays where it is.
        alone(0, "a", &mut |q| {
            let other = TaskId::parse("T-2").expect("a plain id");
            claim::claim(q, &other, &Terms::default())?;
            holder::release(q, &other, None, None, None)?;
            if scene.before == Before::Finished {
                holder::done(q, &task(), epoch, &finish()).map(drop)
            } else {
                holder::release(q, &task(), epoch, None, None).map(drop)
            }
        });
    }
    told
}

/// Every machine hears of everything and watches every lease.
fn exchange(scene: &Scene, alone: &mut Alone<'_>) {
    for machine in 0..scene.machines {
        alone(machine, "setup", &mut |q| {
            if scene.shared {
                sync::sync(q)?;
            }
            watch::round(q, Rules::default()).map(drop)
        });
    }
}

fn finish() -> Finish {
    Finish { notes: "it works".to_owned(), ..Finish::default() }
}

pub(super) fn open(seat: &Rc<Seat>, settings: &Settings, session: &str) -> Result<Queue> {
    let world = seat.world(settings.remote.is_some());
    let (layout, index) = seat.files();
    let store = Store::open_in_memory(&world, layout, &index).map_err(|e| Error::failure(e.to_string()))?;
    Queue::open(Opening {
        world,
        store,
        settings: settings.clone(),
        session: session.to_owned(),
        machine: format!("m-{}", seat.machine()),
        no_sync: false,
        about: About::Queue,
        read_only: None,
    })
}

/// One execution: everything anew, the processes side by side, the judgement.
fn execution() {
    let prepared = PREPARED.with(|prepared| prepared.borrow().clone()).expect("an exploration is running");
    let cast = prepared.scene.cast;
    let kernel: Shared = Rc::new(RefCell::new(prepared.kernel.fork()));
    let (known, asleep) = (KNOWN.with_borrow(Rc::clone), ASLEEP.with_borrow(Rc::clone));
    let points = Rc::new(Points::new(cast.len(), TOGETHER.get(), known, asleep));
    let seat = |(me, part): (usize, &Part)| {
        let harm = if me == 0 { prepared.harm } else { Harm::default() };
        let now = if part.behind { prepared.held } else { prepared.now };
        Seat::new(&kernel, me, part.machine, now, harm)
    };
    let seats: Vec<Rc<Seat>> = cast.iter().enumerate().map(seat).collect();
    let execution = Rc::new(Execution {
        oracle: RefCell::new(prepared.oracle.clone()),
        kernel,
        points,
        seats,
        endings: RefCell::new(vec![String::new(); cast.len()]),
        left: Cell::new(cast.len()),
        told: RefCell::default(),
        prepared,
    });
    EXECUTION.set(Some(Rc::clone(&execution)));
    side_by_side(cast.len(), process);
}

/// The last process has ended: the judgement, and what is counted.
fn conclude(execution: &Execution) {
    let found = if execution.points.is_cut() {
        OUTCOME.with_borrow_mut(|outcome| outcome.cut += 1);
        false
    } else {
        // Within a bound loom comes to one order in several ways; what came of it was judged then, and is the same.
        if OUTCOME.with_borrow_mut(|outcome| outcome.orders.insert(execution.points.order())) {
            execution.judge();
        }
        OUTCOME.with_borrow_mut(|outcome| count(execution, outcome))
    };
    let grown = KNOWN.with_borrow(|known| known.borrow_mut().has_grown());
    let again = OUTCOME.with_borrow_mut(|outcome| {
        let runs = outcome.iterations + outcome.cut;
        if grown {
            outcome.grown.get_or_insert(runs);
        }
        outcome.grown.is_some_and(|first| runs >= 2 * first)
    });
    EXECUTION.set(None);
    Seat::nobody_acts();
    if found || again {
        std::panic::resume_unwind(Box::new(Stop));
    }
}

/// Counts an execution that was judged; true when a promise was broken.
fn count(execution: &Execution, outcome: &mut Outcome) -> bool {
    outcome.iterations += 1;
    PROGRESS.get()(outcome.iterations);
    *outcome.endings.entry(execution.endings.borrow().join("; ")).or_default() += 1;
    outcome.calls.resize(execution.seats.len(), (0, 0));
    for (most, seat) in outcome.calls.iter_mut().zip(&execution.seats) {
        let (calls, asked) = seat.calls();
        *most = (most.0.max(calls), most.1.max(asked));
    }
    let broken = execution.oracle.borrow().violations.clone();
    if !broken.is_empty() {
        outcome.broken = Some((broken, execution.points.trail()));
    }
    outcome.broken.is_some()
}

/// One process of an execution.
fn process(me: usize) {
    let execution = EXECUTION.with(|execution| execution.borrow().clone()).expect("an execution is running");
    let part = execution.prepared.scene.cast[me];
    let seat = &execution.seats[me];
    seat.in_company(&execution.points);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let settings = &execution.prepared.settings;
        let epoch = execution.prepared.epoch;
        let one = |act, epoch| {
            let mut queue = open(seat, settings, part.session)?;
            play(act, epoch, part.session, &mut queue)
        };
        if part.act != Act::Work {
            return one(part.act, epoch);
        }
        let claimed = one(Act::Claim, None)?;
        execution.note(part, seat, &claimed);
        let epoch = if let Told::Claimed(claimed) = &claimed { Some(claimed.epoch) } else { None };
        let done = one(Act::Done, epoch)?;
        execution.note(part, seat, &done);
        one(Act::Sync, None)
    }));
    // What it was told counts from the moment at which it was told, so there is no point in between.
    let ending = match ended {
        Ok(Ok(told)) => {
            execution.note(part, seat, &told);
            format!("{} {}", part.session, told.word())
        }
        Ok(Err(error)) => {
            execution.expect(part, &error);
            format!("{} {}", part.session, error.code)
        }
        Err(payload) if payload.is::<Cut>() => String::new(),
        Err(payload) if payload.is::<Killed>() => format!("{} killed", part.session),
        Err(payload) => {
            let text = payload
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_else(|| "a panic without words".to_owned());
            execution.broken(9, format!("{} panicked: {text}", part.session));
            format!("{} panicked", part.session)
        }
    };
    execution.endings.borrow_mut()[me] = ending;
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| seat.end())) {
        assert!(payload.is::<Cut>(), "a process ends without a panic");
        seat.end();
    }
    execution.left.set(execution.left.get() - 1);
    if execution.left.get() == 0 {
        conclude(&execution);
    }
}

/// What a process was told.
pub(super) enum Told {
    Claimed(Box<claim::Claimed>),
    Changed(Box<Task>, bool),
    /// Whether a heartbeat was accepted.
    Beat(bool),
    Plain(String),
}

impl Told {
    fn word(&self) -> String {
        match self {
            Told::Claimed(claimed) => format!("told epoch {}", claimed.epoch),
            Told::Changed(_, true) | Told::Beat(true) => "accepted".to_owned(),
            Told::Changed(_, false) | Told::Beat(false) => "kept here".to_owned(),
            Told::Plain(text) => text.clone(),
        }
    }
}

/// One command.
fn play(act: Act, epoch: Option<u64>, session: &str, q: &mut Queue) -> Result<Told> {
    let changed =
        |changed: orch::usecase::change::Changed| Told::Changed(Box::new(changed.task), changed.published);
    match act {
        Act::Claim | Act::Work => {
            claim::claim(q, &task(), &Terms::default()).map(|claimed| Told::Claimed(Box::new(claimed)))
        }
        Act::Heartbeat => {
            let beat = holder::heartbeat(q, &task(), epoch, None)?;
            Ok(Told::Beat(beat.published))
        }
        Act::Done => holder::done(q, &task(), epoch, &finish()).map(changed),
        Act::Cancel => operator::cancel(q, &task(), "not needed").map(changed),
        Act::Note => {
            let id = TaskId::parse("T-2").expect("a plain id");
            edit::note(q, &id, &format!("a word of {session}")).map(changed)
        }
        Act::Add => {
            let id = TaskId::parse(&format!("T-3-{session}")).expect("a plain id");
            let def = Definition { title: "another task".to_owned(), ..Definition::default() };
            let added = add::add(q, Some(id), def)?;
            Ok(Told::Changed(Box::new(added.task), added.published))
        }
        Act::Watch => {
            let watched = watch::round(q, Rules::default())?;
            Ok(Told::Plain(format!("took back {}", watched.recovered.len())))
        }
        Act::Sync => sync::sync(q).map(|_| Told::Plain("exchanged".to_owned())),
    }
}
