//! Programs on simulated machines: each a tree of processes under a supervisor, like [`orch::world::process`] but without
//! processes. A program is a script drawn from the dice of its parent: how long it works, what it writes, how it ends, and
//! whether it listens when it is asked to.
//!
//! The kernel keeps when each ran and for which claim, also after its end, so that the judge can ask whether two holders of a
//! task were at work at once.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use orch::world::process::{Child, Command, Event, Exit, Signal, Stream};

use super::faults::Broken;
use super::kernel::{Clocks, Kernel, MINUTE, Micros, SECOND};
use super::ports::{Port, unwinding};

/// The only program there is.
pub const PROGRAM: &str = "agent";
/// How long a program goes on that would never end by itself.
const FOR_EVER: Micros = 24 * 60 * MINUTE;

/// What programs are like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Manners {
    /// Mean time that one works.
    pub mean: Micros,
    /// Longest.
    pub most: Micros,
    /// Chance that it fails.
    pub fails: f64,
    /// Chance that it never ends by itself.
    pub hangs: f64,
    /// Chance that it does not hear `SIGTERM`.
    pub stubborn: f64,
    /// Chance that it cannot be started.
    pub missing: f64,
}

impl Manners {
    /// All that agents are known for.
    #[must_use]
    pub fn bad(mean: Micros) -> Manners {
        Manners { mean, most: FOR_EVER, fails: 0.15, hangs: 0.05, stubborn: 0.2, missing: 0.03 }
    }

    /// They end within a minute, and well.
    #[must_use]
    pub fn good() -> Manners {
        Manners { mean: MINUTE / 3, most: MINUTE, fails: 0.0, hangs: 0.0, stubborn: 0.0, missing: 0.0 }
    }
}

/// One tree, running or over.
#[derive(Debug, Clone)]
pub struct Tree {
    task: String,
    epoch: u64,
    from: Micros,
    /// When it ends by itself, or was ended.
    ends: Micros,
    /// When its supervisor ends it, by the clock that counts suspension.
    fence: Option<Micros>,
}

impl Tree {
    /// When its supervisor ends it, in true time.
    fn fenced(&self, clocks: &Clocks) -> Option<Micros> {
        let fence = self.fence?;
        let mut at = clocks.booted + (fence as f64 / clocks.rate) as Micros;
        while clocks.boottime(at) < fence {
            at += 1;
        }
        Some(at.max(self.from))
    }

    /// When it is over.
    fn over(&self, clocks: &Clocks) -> Micros {
        self.fenced(clocks).map_or(self.ends, |fenced| fenced.min(self.ends))
    }

    /// It was ended then at the latest. What a supervisor would have done later does not count any more.
    fn end(&mut self, at: Micros, clocks: &Clocks) {
        self.ends = self.over(clocks).min(at);
        self.fence = None;
    }
}

impl Kernel {
    /// Every program of a machine is over.
    pub fn end_trees(&mut self, machine: usize, at: Micros) {
        let machine = &mut self.machines[machine];
        for tree in machine.trees.values_mut() {
            tree.end(at, &machine.clocks);
        }
    }

    /// The machine on which a program for this claim is at work at this time, and until when it will be.
    #[must_use]
    pub fn at_work(&self, task: &str, epoch: u64, at: Micros) -> Option<(usize, Micros)> {
        self.machines.iter().enumerate().find_map(|(number, machine)| {
            let mut trees = machine.trees.values().filter(|tree| tree.task == task && tree.epoch == epoch);
            let tree = trees.find(|tree| tree.from <= at && at < tree.over(&machine.clocks))?;
            Some((number, tree.over(&machine.clocks)))
        })
    }

    /// When the last program for this claim was over.
    #[must_use]
    pub fn last_at_work(&self, task: &str, epoch: u64) -> Option<Micros> {
        let machines = self.machines.iter();
        let all = machines.flat_map(|machine| machine.trees.values().map(|tree| (tree, &machine.clocks)));
        all.filter(|(tree, _)| tree.task == task && tree.epoch == epoch)
            .map(|(tree, clocks)| tree.over(clocks))
            .max()
    }
}

/// The end of a tree that its worker holds.
struct Held {
    port: Port,
    number: u64,
    pid: u32,
    outputs: VecDeque<(Micros, Stream)>,
    code: i32,
    signal: Option<i32>,
    stubborn: bool,
}

/// Starts a program for the claim that its environment names.
pub(super) fn start(port: &Port, command: &Command) -> io::Result<Box<dyn Child>> {
    let variable = |name: &str| {
        command.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let (task, epoch) = (variable("ORCH_TASK"), variable("ORCH_EPOCH").parse().unwrap_or_default());
    let mut kernel = port.kernel.borrow_mut();
    let kernel = &mut *kernel;
    let Manners { mean, most, fails, hangs, stubborn, missing } = kernel.manners;
    let dice = &mut *port.own_dice.borrow_mut();
    if dice.chance(missing) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no such program"));
    }
    let (from, number) = (kernel.now, kernel.token());
    let long = if dice.chance(hangs) { FOR_EVER } else { dice.exponential(mean as f64) as Micros }.min(most);
    let mut outputs: Vec<(Micros, Stream)> = (0..dice.below(4))
        .map(|_| (from + dice.below(long.max(1)), *dice.pick(&[Stream::Stdout, Stream::Stderr])))
        .collect();
    outputs.sort_by_key(|(at, _)| *at);
    let broken = kernel.is_broken(Broken::FenceIgnored);
    let fence = command.fence_at.filter(|_| !broken).map(|at| at.as_micros() as Micros);
    let tree = Tree { task, epoch, from, ends: from + long, fence };
    let machine = &mut kernel.machines[port.machine];
    let pid = machine.start_process(from).0;
    machine.processes.remove(&pid);
    machine.trees.insert(number, tree);
    let code = i32::from(dice.chance(fails));
    let stubborn = dice.chance(stubborn);
    Ok(Box::new(Held {
        port: port.clone(),
        number,
        pid,
        outputs: outputs.into(),
        code,
        signal: None,
        stubborn,
    }))
}

impl Held {
    /// Now, when the tree is over, and whether its supervisor is what ends it.
    fn times(&self) -> (Micros, Micros, bool) {
        let kernel = self.port.kernel.borrow();
        let machine = &kernel.machines[self.port.machine];
        let Some(tree) = machine.trees.get(&self.number) else { return (kernel.now, kernel.now, false) };
        let over = tree.over(&machine.clocks);
        (kernel.now, over, over < tree.ends)
    }

    /// It will end by then.
    fn end_by(&self, at: Micros) {
        let kernel = &mut *self.port.kernel.borrow_mut();
        if let Some(tree) = kernel.machines[self.port.machine].trees.get_mut(&self.number) {
            tree.ends = tree.ends.min(at);
        }
    }

    /// It is over.
    fn end(&self, at: Micros) {
        let kernel = &mut *self.port.kernel.borrow_mut();
        let machine = &mut kernel.machines[self.port.machine];
        if let Some(tree) = machine.trees.get_mut(&self.number) {
            tree.end(at, &machine.clocks);
        }
    }
}

impl Child for Held {
    fn pid(&self) -> u32 {
        self.pid
    }

    fn next(&mut self, wait: Duration) -> io::Result<Event> {
        if unwinding() {
            return Err(io::Error::other("this process is dead"));
        }
        let end = self.times().0 + (wait.as_micros() as Micros).max(1);
        loop {
            let (now, over, fenced) = self.times();
            if let Some((at, stream)) = self.outputs.front().copied()
                && at <= now.min(over)
            {
                self.outputs.pop_front();
                return Ok(Event::Output(stream, b"a line\n".to_vec()));
            }
            if now >= over {
                if fenced {
                    self.port.kernel.borrow_mut().probes.hit("a supervisor ended its program");
                }
                let signal = if fenced { Some(9) } else { self.signal };
                let code = signal.is_none().then_some(self.code);
                return Ok(Event::Exited(Exit { code, signal, fenced, ..Exit::default() }));
            }
            if now >= end {
                return Ok(Event::Idle);
            }
            let output = self.outputs.front().map_or(end, |(at, _)| *at);
            self.port.wait_until(end.min(over).min(output).max(now + 1));
        }
    }

    fn signal(&mut self, signal: Signal) -> io::Result<()> {
        let (now, ..) = self.times();
        match signal {
            Signal::Term if self.stubborn => {}
            Signal::Term => {
                self.signal = Some(15);
                let soon = self.port.own_dice.borrow_mut().below(SECOND);
                self.end_by(now + soon);
            }
            Signal::Kill => {
                self.signal = Some(9);
                self.end(now);
            }
        }
        Ok(())
    }

    fn fence_at(&mut self, boottime: Duration) -> io::Result<()> {
        let kernel = &mut *self.port.kernel.borrow_mut();
        if kernel.is_broken(Broken::FenceIgnored) {
            return Ok(());
        }
        let now = kernel.now;
        let machine = &mut kernel.machines[self.port.machine];
        if let Some(tree) = machine.trees.get_mut(&self.number)
            && now < tree.over(&machine.clocks)
        {
            tree.fence = Some(boottime.as_micros() as Micros);
        }
        Ok(())
    }
}

impl Drop for Held {
    /// The supervisor ends the tree when its worker has gone, however that happened.
    fn drop(&mut self) {
        if unwinding() && self.port.broken(Broken::TreeOutlivesWorker) {
            return;
        }
        let now = self.port.kernel.borrow().now;
        self.end(now);
    }
}
