//! Two simulated machines on which one thing happens at a time, so that a try is the same every time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use orch::protocol::id::TaskId;
use orch::protocol::task::Task;
use orch::store::codec;
use orch::store::layout::Layout;
use orch::store::settings::Settings;
use orch::usecase::error::{Error, Result};
use orch::usecase::queue::Queue;
use orch::usecase::sync;

use crate::sim::dice::Dice;
use crate::sim::faults::{Broken, Knobs};
use crate::sim::fiber::Fibers;
use crate::sim::kernel::{Clocks, Kernel, Machine, Micros, SECOND, Shared};
use crate::sim::machine::{self, Ended};
use crate::sim::oracle::{Act, Oracle, Violation};
use crate::sim::strike::Striker;

use super::IMAGES;
use super::cases::{ACTOR, Answer, Case};

/// Time to live of leases here.
pub const TTL: Duration = Duration::from_secs(60);

/// The machines, and who judges.
pub struct Stage {
    kernel: Shared,
    settings: Settings,
    oracle: Oracle,
    /// What each command was told, for people.
    told: Vec<String>,
}

impl Stage {
    /// Machines that have joined, and all that the case needs.
    ///
    /// # Errors
    /// What could not be prepared.
    pub fn set(case: &Case, broken: Option<Broken>) -> std::result::Result<Stage, String> {
        let mut stage = Stage::joined(case.shared, TTL, broken)?;
        (case.prepare)(&mut stage)?;
        Ok(stage)
    }

    /// One machine by itself, or two that share a queue; nothing is in it yet.
    ///
    /// # Errors
    /// A machine cannot join.
    pub fn joined(shared: bool, ttl: Duration, broken: Option<Broken>) -> std::result::Result<Stage, String> {
        let mut settings = Settings::default();
        settings.lease.ttl = ttl;
        settings.sync.timeout = Duration::from_secs(10);
        settings.remote = shared.then(|| "/simulated/remote.git".to_owned());
        let mut knobs = Knobs::calm();
        (knobs.preempt, knobs.latency) = (0.0, (1000, 1000));
        let mut kernel = Kernel::new(Dice::new(1), knobs, broken);
        kernel.now = 3600 * SECOND;
        let machines = if shared { 2 } else { 1 };
        for at in 0..machines {
            let clocks = Clocks::default();
            kernel.machines.push(Machine::new(PathBuf::from(format!("/m{at}/state")), clocks));
        }
        let kernel = Rc::new(RefCell::new(kernel));
        let mut stage = Stage { kernel, settings, oracle: Oracle::default(), told: Vec::new() };
        for at in 0..machines {
            let (kernel, settings) = (Rc::clone(&stage.kernel), stage.settings.clone());
            stage
                .fiber(at, move |fiber| machine::join(&kernel, fiber, &settings))
                .map_err(|why| why.message)?;
        }
        Ok(stage)
    }

    /// The same state once more.
    #[must_use]
    pub fn fork(&self) -> Stage {
        Stage {
            kernel: Rc::new(RefCell::new(self.kernel.borrow().fork())),
            settings: self.settings.clone(),
            oracle: self.oracle.clone(),
            told: Vec::new(),
        }
    }

    /// Counts or strikes from here on.
    pub fn arm(&mut self, striker: Striker) {
        self.kernel.borrow_mut().striker = striker;
    }

    /// No more blows. What was counted.
    pub fn disarm(&mut self) -> Striker {
        std::mem::take(&mut self.kernel.borrow_mut().striker)
    }

    /// Runs code in a fiber of a machine until it ends.
    fn fiber<T: 'static>(
        &mut self,
        machine: usize,
        body: impl FnOnce(&Rc<crate::sim::fiber::Fiber>) -> T + 'static,
    ) -> T {
        let told = Rc::new(RefCell::new(None));
        let inside = Rc::clone(&told);
        let mut fibers = Fibers::default();
        let now = self.kernel.borrow().now;
        fibers.start("only", machine, now, move |fiber| {
            let answer = body(&fiber);
            *inside.borrow_mut() = Some(answer);
        });
        while fibers.running().next().is_some() {
            fibers.step(&self.kernel);
        }
        let told = told.borrow_mut().take();
        told.expect("a fiber ends with an answer")
    }

    /// Runs one command on a machine, and lets the judge look at every ref that moved.
    pub fn command<T: 'static>(
        &mut self,
        machine: usize,
        session: &'static str,
        act: impl FnOnce(&mut Queue) -> Result<T> + 'static,
    ) -> Ended<T> {
        let (kernel, settings) = (Rc::clone(&self.kernel), self.settings.clone());
        let ended =
            self.fiber(machine, move |fiber| machine::command(&kernel, fiber, &settings, session, act).0);
        self.oracle.look(&mut self.kernel.borrow_mut());
        ended
    }

    /// The same, where nothing may go wrong.
    ///
    /// # Errors
    /// Why it did not work.
    pub fn must<T: 'static>(
        &mut self,
        machine: usize,
        session: &'static str,
        act: impl FnOnce(&mut Queue) -> Result<T> + 'static,
    ) -> std::result::Result<T, String> {
        match self.command(machine, session, act) {
            Ended::Told(told) => Ok(told),
            Ended::Failed(error) => Err(format!("{session} on m{machine}: {} {}", error.code, error.message)),
            Ended::Killed => Err(format!("{session} on m{machine} was killed")),
            Ended::Panicked(text) => Err(format!("{session} on m{machine} panicked: {text}")),
        }
    }

    /// A claim by somebody, told to the judge.
    ///
    /// # Errors
    /// Why it did not work.
    pub fn claimed(
        &mut self,
        machine: usize,
        session: &'static str,
        id: &TaskId,
    ) -> std::result::Result<u64, String> {
        let wanted = id.clone();
        let claimed = self.must(machine, session, move |q| {
            orch::usecase::claim::claim(q, &wanted, &orch::usecase::claim::Terms::default())
        })?;
        let epoch = claimed.epoch;
        self.judge(machine, session, Answer::Claimed(Box::new(claimed)), 0);
        Ok(epoch)
    }

    /// Time passes.
    pub fn wait(&mut self, span: Duration) {
        self.kernel.borrow_mut().now += span.as_micros() as Micros;
    }

    /// The way of a machine to the remote is cut, or mended.
    pub fn link(&mut self, machine: usize, up: bool) {
        use crate::sim::kernel::Link;
        self.kernel.borrow_mut().machines[machine].link = if up { Link::Up } else { Link::Cut };
    }

    /// The command of the case, once, by the one who runs it. What it is told goes to the judge.
    pub fn act(&mut self, case: &Case) {
        // Whatever it says: somebody repeats it, and that has to work.
        let _ = self.try_act(case);
    }

    fn try_act(&mut self, case: &Case) -> std::result::Result<(), Option<Error>> {
        let act = case.act;
        let begun = self.kernel.borrow().now;
        match self.command(0, ACTOR, act) {
            Ended::Told(answer) => {
                self.judge(0, ACTOR, answer, begun);
                Ok(())
            }
            Ended::Failed(error) => Err(Some(error)),
            Ended::Killed => Err(None),
            Ended::Panicked(text) => {
                let now = self.kernel.borrow().now;
                self.oracle.broken(9, now, text);
                Err(None)
            }
        }
    }

    fn judge(&mut self, machine: usize, session: &'static str, answer: Answer, begun: Micros) {
        let now = self.kernel.borrow().now;
        match answer {
            // The judge reads the shared repository; a queue of one machine has its files only.
            Answer::Claimed(claimed) if self.settings.remote.is_some() => {
                self.oracle.claimed(now, &claimed.task, claimed.epoch, session, machine, claimed.repeated);
            }
            Answer::Changed(task, published) if self.settings.remote.is_some() => {
                let act = Act { task: &task, session, machine, published, begun, repeated: false };
                self.oracle.acted(&self.kernel.borrow(), &act);
            }
            Answer::Claimed(_) | Answer::Changed(..) | Answer::Nothing => {}
        }
    }

    /// The power of the first machine fails, and it starts again.
    pub fn lose_power(&mut self, image: u64) {
        let kernel = &mut *self.kernel.borrow_mut();
        let now = kernel.now;
        let machine = &mut kernel.machines[0];
        machine.disk.lose_power(&mut Dice::new(image).fork("power"));
        machine.locks.clear();
        machine.processes.clear();
        machine.clocks.boot(now);
        kernel.now += 10 * SECOND;
    }

    /// Whoever ran the command runs it once more, machines exchange what they have, and then everything must be as
    /// if nothing had gone wrong.
    ///
    /// # Errors
    /// What is not.
    pub fn settle(mut self, case: &Case) -> std::result::Result<(), String> {
        self.ends_well(case).map_err(|what| {
            let files: Vec<String> = self.files(0).into_values().collect();
            let kept: Vec<String> = self.rejected(0);
            format!("{what}\n{}\n{}\nrejected: {kept:?}", self.told.join("\n"), files.join("\n"))
        })
    }

    fn ends_well(&mut self, case: &Case) -> std::result::Result<(), String> {
        self.wait(Duration::from_secs(1));
        let reached = |stage: &Stage| stage.tasks(0).and_then(|tasks| (case.after)(&tasks)).is_ok();
        if case.patient && !reached(self) {
            // What this machine has seen of others does not outlive a boot: it watches anew.
            let _ = self.try_act(case);
            if !reached(self) {
                self.wait(TTL * 3);
            }
        }
        match self.try_act(case) {
            Ok(()) => {}
            Err(Some(error)) if case.refuses.contains(&error.kind) => {}
            Err(Some(error)) => {
                return Err(format!("the repetition fails: {} {}", error.code, error.message));
            }
            Err(None) => return Err(format!("the repetition panics: {:?}", self.oracle.violations)),
        }
        if self.settings.remote.is_none() {
            self.is_durable(case)?;
        }
        if self.settings.remote.is_some() {
            for machine in [0, 1, 0, 1] {
                self.must(machine, "end", sync::sync)?;
            }
        }
        let files = self.files(0);
        if self.settings.remote.is_some() {
            let other = self.files(1);
            if files != other {
                return Err(format!("the machines hold different files:\n{files:#?}\n{other:#?}"));
            }
        }
        (case.after)(&self.tasks(0)?)?;
        let now = self.kernel.borrow().now;
        if self.settings.remote.is_some() {
            let rejected = [0, 1].map(|machine| self.rejected(machine).concat());
            self.oracle.nothing_acknowledged_is_lost(now, &rejected, &[false, false]);
        }
        match self.oracle.violations.first() {
            Some(broken) => Err(format!("promise {}: {}", broken.promise, broken.what)),
            None => Ok(()),
        }
    }

    /// What was told as done by now survives a power failure, also where an earlier try had left it in place and failed.
    fn is_durable(&self, case: &Case) -> std::result::Result<(), String> {
        for image in 0..IMAGES {
            let mut after = self.fork();
            after.lose_power(image);
            after
                .tasks(0)
                .and_then(|tasks| (case.after)(&tasks))
                .map_err(|what| format!("the power failed after the answer (image {image}): {what}"))?;
        }
        Ok(())
    }

    /// Tasks of a machine, by id.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn tasks(&self, machine: usize) -> std::result::Result<BTreeMap<String, Task>, String> {
        let decode = |(path, text): (String, String)| match codec::decode(text.as_bytes()) {
            Ok(decoded) => Ok((decoded.task.id().to_string(), decoded.task)),
            Err(why) => Err(format!("{path}: {}", why.message)),
        };
        self.files(machine).into_iter().map(decode).collect()
    }

    /// What a machine has kept as refused.
    fn rejected(&self, machine: usize) -> Vec<String> {
        let kernel = self.kernel.borrow();
        let machine = &kernel.machines[machine];
        let kept = machine.disk.files_below(&Layout::new(&machine.state).rejected());
        kept.values().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }

    /// Promises that were broken so far.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.oracle.violations
    }

    /// Task files of a machine, by their path below the state directory.
    fn files(&self, machine: usize) -> BTreeMap<String, String> {
        let kernel = self.kernel.borrow();
        let machine = &kernel.machines[machine];
        let state = &machine.state;
        let below = [Layout::new(state).tasks(), state.join("archive")];
        let all = below.iter().flat_map(|dir| machine.disk.files_below(dir));
        all.filter(|(path, _)| path.extension().is_some_and(|ext| ext == "yaml"))
            .map(|(path, bytes)| {
                let name = path.strip_prefix(state).unwrap_or(&path).display().to_string();
                (name, String::from_utf8_lossy(&bytes).into_owned())
            })
            .collect()
    }
}

/// How often a verb stands in a task's history.
#[must_use]
pub fn count(task: &Task, verb: &str) -> usize {
    task.history().iter().filter(|op| op.action.verb() == verb).count()
}
