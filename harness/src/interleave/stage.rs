//! One exploration: the state from which every execution begins, the processes, and the judgement after each.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use orch::protocol::id::TaskId;
use orch::protocol::op::{Action, Op};
use orch::protocol::task::{Definition, Task};
use orch::store::codec;
use orch::store::layout::Layout;
use orch::store::settings::Settings;
use orch::store::tasks::Store;
use orch::usecase::claim::{self, Terms};
use orch::usecase::error::{Error, Kind, Result};
use orch::usecase::holder::{self, Finish};
use orch::usecase::queue::{About, Opening, Queue};
use orch::usecase::watch::{self, Rules};
use orch::usecase::{add, edit, init, operator, sync};

use super::points::{Points, Thing, explore, side_by_side};
use super::scenes::{Act, Before, Harmed, Mutant, Part, Scene, named};
use super::seat::{Harm, Seat, before_index};
use crate::sim::dice::Dice;
use crate::sim::faults::{Broken, Knobs};
use crate::sim::fiber::Killed;
use crate::sim::kernel::{Clocks, Kernel, MINUTE, Machine, Micros, SECOND, Shared};
use crate::sim::oracle::{self, Oracle, Violation};

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
    /// How the processes ended together, and how often.
    pub endings: BTreeMap<String, u64>,
    /// Answers that had to be seen and were not.
    pub unseen: Vec<String>,
    /// What more than one process used and at least one of them wrote.
    pub contended: BTreeSet<String>,
    /// Calls that each process made at most, and calls of the remote among them.
    pub calls: Vec<(usize, usize)>,
}

/// The state from which every execution begins.
struct Prepared {
    scene: &'static Scene,
    kernel: Kernel,
    oracle: Oracle,
    settings: Settings,
    now: Micros,
    /// When the lease, if there is one, still lasted.
    held: Micros,
    /// The epoch in which session `a` holds the task.
    epoch: Option<u64>,
    harm: Harm,
}

/// One execution.
struct Execution {
    prepared: Rc<Prepared>,
    kernel: Shared,
    oracle: RefCell<Oracle>,
    points: Rc<Points>,
    seats: Vec<Rc<Seat>>,
    endings: RefCell<Vec<String>>,
    /// Processes that have not ended.
    left: Cell<usize>,
    /// What was acknowledged: the operation, and the machine where it was kept if it was not published.
    told: RefCell<Vec<(Op, usize)>>,
}

thread_local! {
    // The functions that loom runs carry nothing along, and all of them run in this thread.
    static PREPARED: RefCell<Option<Rc<Prepared>>> = const { RefCell::new(None) };
    static EXECUTION: RefCell<Option<Rc<Execution>>> = const { RefCell::new(None) };
    static OUTCOME: RefCell<Outcome> = RefCell::default();
    static CONTENDED: RefCell<Rc<HashSet<Thing>>> = RefCell::default();
    static PROGRESS: Cell<fn(u64)> = const { Cell::new(|_| ()) };
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
    bound: Option<usize>,
    broken: Option<Broken>,
    harm: Harm,
    progress: fn(u64),
) -> Outcome {
    let prepared = prepare(scene, broken, harm);
    PREPARED.set(Some(Rc::new(prepared)));
    PROGRESS.set(progress);
    CONTENDED.set(Rc::default());
    let begun = Instant::now();
    // Cheap explorations first: they find nearly everything that is contended.
    for most in [Some(0), Some(1)].into_iter().filter(|most| bound.is_none() || *most < bound).chain([bound])
    {
        while !explored(most) {}
        if OUTCOME.with_borrow(|outcome| outcome.broken.is_some()) {
            break;
        }
    }
    EXECUTION.set(None);
    PREPARED.set(None);
    let mut outcome = OUTCOME.take();
    outcome.took = begun.elapsed();
    outcome.contended = CONTENDED.take().iter().map(ToString::to_string).collect();
    let seen = |answer: &&&str| outcome.endings.keys().any(|ending| ending.contains(**answer));
    outcome.unseen = scene.seen.iter().filter(|answer| !seen(answer)).map(|a| (*a).to_owned()).collect();
    outcome
}

/// Looks for an execution that notices a mutant, within bounds that grow. Gives the last bound, and all executions that
/// it took.
#[must_use]
pub fn hunt(mutant: &Mutant, progress: fn(u64)) -> (Option<usize>, Outcome) {
    let scene = named(mutant.scene).expect("a test has looked for it");
    let all = tried_harms(scene);
    let harms = match mutant.harmed {
        Harmed::No => vec![Harm::default()],
        Harmed::Unanswered => all.into_iter().filter(|harm| harm.unanswered.is_some()).collect(),
        Harmed::Killed => all.into_iter().filter(|harm| harm.killed_at.is_some()).collect(),
    };
    let mut sum = Outcome::default();
    for bound in 0..=MOST {
        for harm in &harms {
            let outcome = run(scene, Some(bound), Some(mutant.broken), *harm, progress);
            sum.iterations += outcome.iterations;
            sum.took += outcome.took;
            sum.broken = outcome.broken;
            if sum.broken.is_some() {
                return (Some(bound), sum);
            }
        }
    }
    (Some(MOST), sum)
}

/// Everything that can go wrong for the first process: it is killed at each call that it makes when nobody
/// interrupts it, and each answer of the remote is lost.
#[must_use]
pub fn tried_harms(scene: &'static Scene) -> Vec<Harm> {
    let outcome = run(scene, Some(0), None, Harm::default(), |_| ());
    let Some((calls, asked)) = outcome.calls.first().copied() else { return Vec::new() };
    let killed = (0..calls).map(|at| Harm { killed_at: Some(at), ..Harm::default() });
    killed.chain((0..asked).map(|at| Harm { unanswered: Some(at), ..Harm::default() })).collect()
}

/// Explores once; false when something else turned out to be contended, so that it has to be done again.
fn explored(bound: Option<usize>) -> bool {
    OUTCOME.set(Outcome::default());
    let ended = catch_unwind(AssertUnwindSafe(|| explore(bound, || side_by_side(1, |_| execution()))));
    match ended {
        Ok(()) => true,
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

fn open(seat: &Rc<Seat>, settings: &Settings, session: &str) -> Result<Queue> {
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
    let points = Rc::new(Points::new(cast.len(), CONTENDED.with_borrow(Rc::clone)));
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
    execution.judge();
    let broken = execution.oracle.borrow().violations.clone();
    let found = OUTCOME.with_borrow_mut(|outcome| {
        outcome.iterations += 1;
        PROGRESS.get()(outcome.iterations);
        *outcome.endings.entry(execution.endings.borrow().join("; ")).or_default() += 1;
        outcome.calls.resize(execution.seats.len(), (0, 0));
        for (most, seat) in outcome.calls.iter_mut().zip(&execution.seats) {
            let (calls, asked) = seat.calls();
            *most = (most.0.max(calls), most.1.max(asked));
        }
        if !broken.is_empty() {
            outcome.broken = Some((broken, execution.points.trail()));
        }
        outcome.broken.is_some()
    });
    let more = execution.points.newly_contended();
    let again = !more.is_empty();
    CONTENDED.with_borrow_mut(|known| Rc::make_mut(known).extend(more));
    EXECUTION.set(None);
    Seat::nobody_acts();
    if found || again {
        std::panic::resume_unwind(Box::new(Stop));
    }
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
    seat.end();
    execution.left.set(execution.left.get() - 1);
    if execution.left.get() == 0 {
        conclude(&execution);
    }
}

/// What a process was told.
enum Told {
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

impl Execution {
    fn broken(&self, promise: u8, what: impl Into<String>) {
        self.oracle.borrow_mut().broken(promise, self.prepared.now, what);
    }

    /// Passes on to the judge what a process was told.
    fn note(&self, part: Part, seat: &Rc<Seat>, told: &Told) {
        let oracle = &mut *self.oracle.borrow_mut();
        oracle.look(&mut self.kernel.borrow_mut());
        let begun = if part.behind { self.prepared.held } else { self.prepared.now };
        let at = seat.now();
        let op = match told {
            Told::Claimed(claimed) => {
                if self.prepared.scene.shared {
                    let Part { session, machine, .. } = part;
                    oracle.claimed(at, &claimed.task, claimed.epoch, session, machine, claimed.repeated);
                }
                let mine =
                    |op: &&Op| matches!(op.action, Action::Claim { epoch, .. } if epoch == claimed.epoch);
                claimed.task.history().iter().find(mine)
            }
            Told::Changed(task, published) => {
                if self.prepared.scene.shared {
                    let Part { session, machine, .. } = part;
                    let published = *published;
                    let act = oracle::Act { task, session, machine, published, begun, repeated: false };
                    oracle.acted(&self.kernel.borrow(), &act);
                }
                task.history().iter().rev().find(|op| op.by == part.session)
            }
            Told::Beat(..) | Told::Plain(_) => None,
        };
        self.told.borrow_mut().extend(op.map(|op| (op.clone(), part.machine)));
    }

    /// Races are lost in known ways; whatever else a command says here is wrong.
    fn expect(&self, part: Part, error: &Error) {
        let harmed =
            self.prepared.harm != Harm::default() && part.session == self.prepared.scene.cast[0].session;
        let known = match error.kind {
            Kind::Conflict | Kind::Nothing | Kind::Fenced => true,
            Kind::Unreachable | Kind::Timeout => harmed,
            _ => false,
        };
        if !known {
            let text = format!("{} was told {}: {}", part.session, error.code, error.message);
            self.broken(0, text);
        }
    }

    /// After the processes have ended: files are whole, everybody exchanges what there is, and then all hold the
    /// same, and everything that anybody was told.
    fn judge(&self) {
        self.oracle.borrow_mut().look(&mut self.kernel.borrow_mut());
        self.files_are_whole();
        if self.prepared.scene.shared {
            self.settle();
            self.files_are_whole();
        }
        let kernel = self.kernel.borrow();
        let contents: Vec<_> = (0..kernel.machines.len()).map(|machine| files(&kernel, machine)).collect();
        if contents.iter().any(|other| *other != contents[0]) {
            self.broken(7, "machines that have exchanged everything hold different files");
        }
        let tasks: Vec<Task> = contents[0]
            .values()
            .filter_map(|bytes| codec::decode(bytes).ok())
            .map(|found| found.task)
            .collect();
        for (op, machine) in &*self.told.borrow() {
            let kept = || {
                let rejected = Layout::new(&kernel.machines[*machine].state).rejected();
                let texts = kernel.machines[*machine].disk.files_below(&rejected);
                texts.values().any(|bytes| String::from_utf8_lossy(bytes).contains(&op.id.to_string()))
            };
            if !tasks.iter().any(|task| task.has_op(op)) && !kept() {
                self.broken(4, format!("{} by {} was acknowledged and is gone", op.action.verb(), op.by));
            }
        }
        // Two claims of one epoch: told to two sessions, whether there is a remote or not.
        let told = self.told.borrow();
        let epochs = told.iter().filter_map(|(op, _)| match op.action {
            Action::Claim { epoch, .. } => Some((epoch, op.id)),
            _ => None,
        });
        let epochs: BTreeSet<_> = epochs.collect();
        if epochs.iter().zip(epochs.iter().skip(1)).any(|(one, two)| one.0 == two.0) {
            self.broken(1, "one epoch was told to two sessions");
        }
    }

    fn settle(&self) {
        let machines = self.prepared.scene.machines;
        // The first exchanges once more, to hear of what the others had.
        for machine in (0..machines).chain(0..machines - 1) {
            let now = self.seats.iter().map(|seat| seat.now()).max().unwrap_or_default() + 10 * SECOND;
            let seat = Seat::new(&self.kernel, 0, machine, now, Harm::default());
            let answer = open(&seat, &self.prepared.settings, "end").and_then(|mut q| sync::sync(&mut q));
            if let Err(error) = answer {
                self.broken(0, format!("a sync at the end was told {}: {}", error.code, error.message));
            }
            seat.end();
        }
        self.oracle.borrow_mut().look(&mut self.kernel.borrow_mut());
    }

    fn files_are_whole(&self) {
        let kernel = self.kernel.borrow();
        for machine in 0..kernel.machines.len() {
            for (path, bytes) in files(&kernel, machine) {
                if let Err(problem) = codec::decode(&bytes) {
                    self.broken(8, format!("m{machine}: {}: {}", path.display(), problem.message));
                }
            }
        }
    }
}

/// The task files of a machine.
fn files(kernel: &Kernel, machine: usize) -> BTreeMap<PathBuf, Rc<Vec<u8>>> {
    let machine = &kernel.machines[machine];
    let tasks = Layout::new(&machine.state).tasks();
    let all = machine.disk.files_below(&tasks).into_iter();
    all.filter(|(path, _)| path.extension().is_some_and(|ext| ext == "yaml"))
        .filter_map(|(path, bytes)| Some((path.strip_prefix(&tasks).ok()?.to_owned(), bytes)))
        .collect()
}
