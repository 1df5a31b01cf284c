//! One simulated run: set up, a phase with faults, a phase in which only a core of machines is healed and everything
//! has to end, and the verdict.

mod accidents;
mod others;

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use orch::store::layout::Layout;

use crate::history::chain;
use crate::sim::dice::Dice;
use crate::sim::disk_image::Bytes;
use crate::sim::faults::Knobs;
use crate::sim::fiber::Fibers;
use crate::sim::kernel::{Clocks, Kernel, Link, MINUTE, Machine, Micros, SECOND, Shared};
use crate::sim::load::{self, Yard};
use crate::sim::machine;
use crate::sim::oracle::{BRANCH, Oracle, Violation};
use crate::sim::plan::Plan;
use crate::sim::probes::Probes;
use crate::sim::repo::identity;
use crate::sim::tree::Manners;
use crate::sim::worker;
use accidents::{After, write_by_hand};

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Broken promises.
    pub violations: Vec<Violation>,
    /// A number that two equal runs share.
    pub hash: u64,
    /// Lines of the trace.
    pub steps: u64,
    /// Calls of ports.
    pub calls: u64,
    /// Virtual time, microseconds.
    pub virtual_time: Micros,
    /// Claims that were told.
    pub claims: u64,
    /// Tasks that ended as done.
    pub finished: usize,
    /// Operations that were acknowledged.
    pub acknowledged: u64,
    /// Branches that were taken.
    pub probes: Probes,
    /// The last lines of the trace.
    pub tail: Vec<String>,
}

/// A run in progress.
struct Run {
    yard: Rc<Yard>,
    kernel: Shared,
    fibers: Fibers,
    dice: Dice,
    next_accident: Micros,
    /// Dice for what others do, and when they do the next thing.
    others: Dice,
    next_of_others: Micros,
    /// What ends by itself later: time and what.
    pending: Vec<(Micros, After)>,
    /// Edits by hand: machine, file, bytes before and after.
    edits: Vec<(usize, PathBuf, Vec<u8>, Vec<u8>)>,
}

/// Files by path.
type Files = std::collections::BTreeMap<PathBuf, Bytes>;

/// Runs a plan.
#[must_use]
pub fn run(plan: &Plan) -> Outcome {
    let mut run = Run::new(plan);
    if run.set_up() {
        run.with_faults();
        run.until_everything_ends();
    }
    run.finish()
}

impl Run {
    fn new(plan: &Plan) -> Run {
        let dice = Dice::new(plan.seed);
        let mut kernel = Kernel::new(dice.fork("ports"), Knobs::calm(), plan.broken);
        for at in 0..plan.machines {
            let state = PathBuf::from(format!("/m{at}/state"));
            let (wall_offset_ms, rate) = (plan.offsets_ms[at], plan.rates[at]);
            let clocks = Clocks { wall_offset_ms, rate, ..Clocks::default() };
            kernel.machines.push(Machine::new(state, clocks));
        }
        // Machines have been running for a while: clocks do not begin at zero.
        kernel.now = 3600 * SECOND;
        kernel.written = plan.is_local().then(Vec::new);
        kernel.by_name = dice.fork("host").chance(0.5);
        let kernel: Shared = Rc::new(RefCell::new(kernel));
        let yard = Rc::new(Yard {
            kernel: Rc::clone(&kernel),
            oracle: RefCell::new(Oracle::default()),
            calls: RefCell::default(),
            plan: plan.clone(),
            settings: plan.settings(),
            calm: Cell::new(false),
            ending: Cell::new(false),
            births: RefCell::default(),
        });
        Run {
            yard,
            kernel,
            fibers: Fibers::default(),
            dice: dice.fork("accidents"),
            next_accident: 0,
            others: dice.fork("what others do"),
            next_of_others: Micros::MAX,
            pending: Vec::new(),
            edits: Vec::new(),
        }
    }

    fn now(&self) -> Micros {
        self.kernel.borrow().now
    }

    /// Runs whoever is next; the threads that it starts begin at once.
    fn step(&mut self) {
        self.fibers.step(&self.kernel);
        for load::Birth { name, machine, body } in self.yard.births.take() {
            let now = self.now();
            self.fibers.start(&name, machine, now, body);
        }
    }

    /// Every machine joins, the first tasks are added, and everybody starts.
    fn set_up(&mut self) -> bool {
        let joined = Rc::new(Cell::new(0));
        for at in 0..self.yard.plan.machines {
            let (yard, joined) = (Rc::clone(&self.yard), Rc::clone(&joined));
            let start = self.now() + at as Micros * SECOND;
            self.fibers.start(&format!("join-{at}"), at, start, move |fiber| {
                match machine::join(&yard.kernel, &fiber, &yard.settings) {
                    Ok(()) => joined.set(joined.get() + 1),
                    Err(error) => {
                        let now = yard.kernel.borrow().now;
                        let text = format!("m{at} could not join: {} {}", error.code, error.message);
                        yard.oracle.borrow_mut().broken(0, now, text);
                    }
                }
                let mut dice = Dice::new(yard.plan.seed).fork(&format!("first-{at}"));
                for number in (0..yard.plan.tasks as u64).filter(|n| *n as usize % yard.plan.machines == at) {
                    load::added(&yard, &fiber, &format!("setup-{at}"), &mut dice, 10_000 + number);
                }
            });
        }
        while self.fibers.running().next().is_some() {
            self.step();
        }
        if joined.get() < self.yard.plan.machines {
            return false;
        }
        self.start_everybody();
        true
    }

    fn start_everybody(&mut self) {
        let plan = self.yard.plan.clone();
        type Role = fn(&Rc<Yard>, &Rc<crate::sim::fiber::Fiber>, &str, Dice);
        for at in 0..plan.machines {
            let mut roles: Vec<(String, Role)> =
                (0..plan.agents).map(|n| (format!("agent-{at}-{n}"), load::agent as Role)).collect();
            roles.extend((0..plan.workers).map(|n| (format!("worker-{at}-{n}"), worker::worker as Role)));
            roles.push((format!("operator-{at}"), load::operator));
            roles.push((format!("watchdog-{at}"), load::watchdog));
            roles.push((format!("sync-{at}"), load::exchange));
            for (name, role) in roles {
                let yard = Rc::clone(&self.yard);
                let dice = Dice::new(plan.seed).fork(&name);
                let start = self.now() + self.dice.below(MINUTE);
                self.fibers.start(&name.clone(), at, start, move |fiber| role(&yard, &fiber, &name, dice));
            }
        }
    }

    fn step_until(&mut self, end: Micros, done: impl Fn(&Run) -> bool) -> bool {
        let mut count = 0_u64;
        loop {
            count += 1;
            if count.is_multiple_of(256) && done(self) {
                return true;
            }
            let Some(due) = self.fibers.next_due() else { return done(self) };
            let accident = self
                .next_accident
                .min(self.next_of_others)
                .min(self.pending.iter().map(|(at, _)| *at).min().unwrap_or(Micros::MAX));
            if due.min(accident) > end {
                return done(self);
            }
            if accident <= due {
                self.accidents(accident);
            } else {
                self.step();
            }
            if count.is_multiple_of(50_000) {
                self.tidy();
            }
            if !self.yard.oracle.borrow().violations.is_empty() {
                return false;
            }
        }
    }

    /// Long runs leave a lot behind that nobody can see any more.
    fn tidy(&self) {
        let kernel = &mut *self.kernel.borrow_mut();
        // What nobody reaches any more may not have been judged yet.
        self.yard.oracle.borrow_mut().look(kernel);
        for machine in &mut kernel.machines {
            machine.disk.tidy();
        }
        let Kernel { pool, remote, machines, late, .. } = kernel;
        if late.is_empty() {
            pool.collect(remote);
        }
        pool.tidy(machines.iter().map(|machine| &machine.repo).chain(std::iter::once(&*remote)));
    }

    fn with_faults(&mut self) {
        let plan = self.yard.plan.clone();
        {
            let mut kernel = self.kernel.borrow_mut();
            kernel.knobs = plan.knobs.clone();
            kernel.manners = Manners::bad(plan.work);
        }
        let end = self.now() + plan.length;
        self.next_accident = self.now();
        self.others_begin();
        self.step_until(end, |_| false);
    }

    /// Only the core is healed; everything that can end has to end there.
    fn until_everything_ends(&mut self) {
        if !self.yard.oracle.borrow().violations.is_empty() {
            return;
        }
        let plan = self.yard.plan.clone();
        for (_, after) in std::mem::take(&mut self.pending) {
            // Now, and not when it would have ended: a machine that had booted in the future had a clock that stood still.
            self.end_accident(self.now(), after);
        }
        self.mend_by_hand();
        {
            let kernel = &mut *self.kernel.borrow_mut();
            kernel.knobs = Knobs::calm();
            kernel.manners = Manners::good();
            kernel.remote_up = true;
            for (machine, core) in kernel.machines.iter_mut().zip(&plan.core) {
                machine.full_until = 0;
                machine.slow = (0, 0);
                machine.refs_locked_until = 0;
                machine.link = if *core { Link::Up } else { Link::Cut };
                machine.up &= *core;
            }
        }
        for fiber in self.fibers.running().filter(|fiber| !plan.core[fiber.machine]) {
            fiber.doom();
        }
        self.next_accident = Micros::MAX;
        self.next_of_others = Micros::MAX;
        self.yard.calm.set(true);
        let end = self.now() + load::patience(&plan).as_micros() as Micros;
        // Whoever sleeps or was stopped goes on when its time has come.
        let stopped = self.fibers.running().map(|fiber| fiber.stopped_until()).max();
        let asleep = self.kernel.borrow().machines.iter().map(|machine| machine.clocks.asleep_until).max();
        let since = self.now().max(stopped.unwrap_or_default()).max(asleep.unwrap_or_default());
        let settled = |run: &Run| {
            run.yard.oracle.borrow_mut().recovered_in_time(run.now(), since);
            let oracle = run.yard.oracle.borrow();
            oracle.in_flight() == 0 && oracle.tasks().values().all(|task| task.status().is_terminal())
        };
        if !self.step_until(end, settled) && self.yard.oracle.borrow().violations.is_empty() {
            let oracle = self.yard.oracle.borrow();
            let left: Vec<String> = oracle
                .tasks()
                .values()
                .filter(|task| !task.status().is_terminal())
                .map(|task| format!("{} {:?} epoch {}", task.id(), task.status(), task.epoch()))
                .take(5)
                .collect();
            let text = format!("{} lease refs and unfinished tasks are left: {left:?}", oracle.in_flight());
            drop(oracle);
            let now = self.now();
            self.yard.oracle.borrow_mut().broken(0, now, text);
            return;
        }
        self.agree();
    }

    /// Everybody goes home; then the machines of the core exchange what they have and must hold the same files.
    fn agree(&mut self) {
        self.send_home();
        self.mend_by_hand();
        let core: Vec<usize> = (0..self.yard.plan.machines).filter(|at| self.yard.plan.core[*at]).collect();
        for round in 0..3 {
            for &at in &core {
                let yard = Rc::clone(&self.yard);
                let start = self.now() + MINUTE;
                self.fibers.start(&format!("end-{round}"), at, start, move |fiber| {
                    load::exchange_once(&yard, &fiber);
                });
                while self.fibers.running().next().is_some() {
                    self.step();
                }
            }
        }
        let now = self.now();
        let kernel = self.kernel.borrow();
        let files = |at: usize| {
            let machine = &kernel.machines[at];
            let tasks = Layout::new(&machine.state).tasks();
            let all = machine.disk.files_below(&tasks);
            all.into_iter()
                .filter(|(path, _)| path.extension().is_some_and(|ext| ext == "yaml"))
                .map(|(path, bytes)| (path.strip_prefix(&tasks).map(Path::to_owned).unwrap_or(path), bytes))
                .collect::<Files>()
        };
        let first = files(core[0]);
        let mut oracle = self.yard.oracle.borrow_mut();
        for &at in &core[1..] {
            let other = files(at);
            if let Some(differs) =
                first.keys().chain(other.keys()).find(|path| first.get(*path) != other.get(*path))
            {
                let show = |files: &Files| {
                    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
                    files.get(differs).map_or_else(|| "nothing".to_owned(), text)
                };
                let text = format!(
                    "m{0} and m{at} hold different files, {1} first\n--- m{0}\n{2}\n--- m{at}\n{3}",
                    core[0],
                    differs.display(),
                    show(&first),
                    show(&other)
                );
                oracle.broken(7, now, text);
            }
        }
        if self.yard.plan.is_local() {
            whole_and_committed(&mut oracle, &kernel, &first);
        }
        let rejected: Vec<String> = kernel
            .machines
            .iter()
            .map(|machine| {
                let kept = machine.disk.files_below(&Layout::new(&machine.state).rejected());
                kept.values().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
            })
            .collect();
        let gone: Vec<bool> = self.yard.plan.core.iter().map(|core| !core).collect();
        oracle.nothing_acknowledged_is_lost(now, &rejected, &gone);
        if oracle.violations.is_empty() {
            self.explain(&mut oracle, now);
        }
    }

    /// The order of operations explains what everybody was told.
    fn explain(&self, oracle: &mut Oracle, now: Micros) {
        let calls = self.yard.calls.borrow();
        let unexplained: Vec<String> = oracle
            .tasks()
            .values()
            // Where somebody has forced history away the order of what is left explains no longer what was told.
            .filter(|task| !oracle.was_touched(task))
            .flat_map(|task| calls.judge(task.id(), &chain(task)))
            .collect();
        for what in unexplained {
            oracle.broken(2, now, what);
        }
    }

    /// An edit that does not fit any more (the task ended on another machine meanwhile) stays in place, as promised,
    /// until whoever made it takes it back.
    fn mend_by_hand(&mut self) {
        let kernel = &mut *self.kernel.borrow_mut();
        for (at, path, before, after) in std::mem::take(&mut self.edits).into_iter().rev() {
            let machine = &mut kernel.machines[at];
            let at_ns = machine.clocks.wall_ms(kernel.now) * 1_000_000;
            if machine.disk.read(&path).is_ok_and(|now| *now == after) {
                write_by_hand(&mut machine.disk, &path, before, at_ns);
            }
        }
    }

    fn send_home(&mut self) {
        self.yard.ending.set(true);
        while self.fibers.running().next().is_some() {
            for fiber in self.fibers.running() {
                fiber.doom();
            }
            self.step();
        }
        self.yard.ending.set(false);
        for machine in &mut self.kernel.borrow_mut().machines {
            machine.locks.clear();
        }
    }

    fn finish(mut self) -> Outcome {
        self.send_home();
        let kernel = self.kernel.borrow();
        let oracle = self.yard.oracle.borrow();
        Outcome {
            violations: oracle.violations.clone(),
            hash: kernel.trace.hash(),
            steps: kernel.trace.count(),
            calls: kernel.calls,
            virtual_time: kernel.now,
            claims: oracle.claims,
            finished: oracle.finished.len(),
            acknowledged: oracle.acknowledged,
            probes: kernel.probes.clone(),
            tail: kernel.trace.tail().map(str::to_owned).collect(),
        }
    }
}

/// Without a remote every file is whole in the end, and the local branch holds it.
fn whole_and_committed(oracle: &mut Oracle, kernel: &Kernel, files: &Files) {
    let machine = &kernel.machines[0];
    oracle.reread(kernel.now, &machine.disk.files_below(&Layout::new(&machine.state).tasks()));
    let branch = machine.repo.refs.get(BRANCH).copied();
    for (path, bytes) in files {
        let name = format!("tasks/{}", path.display());
        let held = branch.and_then(|tip| kernel.pool.entry(&machine.repo, tip, &name).ok().flatten());
        if held.is_none_or(|entry| entry.oid != identity("blob", bytes)) {
            oracle.broken(4, kernel.now, format!("{name} is not what the local branch holds"));
        }
    }
}

#[cfg(test)]
#[path = "drive_tests.rs"]
mod tests;
