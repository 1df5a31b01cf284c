//! Programs on simulated machines: each a tree of processes under a supervisor, like [`orch::world::process`] but without
//! processes. What a program does is a script ([`super::script`]): how long it works, what it writes, how it ends, and
//! whether it listens when it is asked to.
//!
//! The kernel keeps when each ran and for which claim, also after its end, so that the judge can ask whether two holders of a
//! task were at work at once.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::Duration;

use orch::world::process::{Child, Command, Event, Exit, Signal};

use super::faults::Broken;
use super::kernel::{Clocks, Kernel, MINUTE, Machine, Micros, SECOND};
use super::ports::{Port, unwinding};
use super::script::{Said, Script};

/// The program that workers run, by its name: what it does is drawn from the dice of its parent.
pub const PROGRAM: &str = "agent";
/// Where that lies.
pub const AGENT: &str = "/bin/agent";
/// A program that does what its arguments say ([`Script::told`]).
pub const PLAYER: &str = "/bin/player";
/// How long a program goes on that would never end by itself.
pub(super) const FOR_EVER: Micros = 24 * 60 * MINUTE;
/// How long those that a program left behind get to end after they were asked to.
const LINGER: Micros = SECOND;

/// Whether there is such a program; every machine has the same.
pub(super) fn is_program(path: &Path) -> bool {
    [AGENT, PLAYER].iter().any(|program| path == Path::new(program))
}

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
    /// When the program itself ends or has ended, as far as its supervisor lets it.
    leads: Micros,
    /// When the last of the tree ends by itself, or was ended.
    ends: Micros,
    /// When its supervisor ends it, by the clock that counts suspension; and when the supervisor was told.
    fence: Option<(Micros, Micros)>,
    /// Start of the program, as [`orch::world::ProcessId`] has it.
    start: u64,
}

impl Tree {
    /// When its supervisor ends it, in true time.
    fn fenced(&self, clocks: &Clocks) -> Option<Micros> {
        let (fence, told) = self.fence?;
        let mut at = clocks.booted + (fence as f64 / clocks.rate) as Micros;
        while clocks.boottime(at) < fence {
            at += 1;
        }
        // A moment that has passed means at once.
        Some(at.max(told))
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

impl Machine {
    /// When the running program with this number was started.
    #[must_use]
    pub fn child(&self, pid: u32, now: Micros) -> Option<u64> {
        let tree = self.trees.get(self.children.get(&pid)?)?;
        (now < tree.leads.min(tree.over(&self.clocks))).then_some(tree.start)
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
    outputs: VecDeque<Said>,
    code: Option<i32>,
    signal: Option<i32>,
    left: u32,
    stubborn: bool,
}

/// What a tree is like at a moment.
struct Look {
    now: Micros,
    /// When the program itself ends.
    leads: Micros,
    /// When all is over.
    over: Micros,
    /// The supervisor is what ends it.
    fenced: bool,
}

/// Starts a program for the claim that its environment names.
pub(super) fn start(port: &Port, command: &Command) -> io::Result<Box<dyn Child>> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, "no such program");
    if !is_program(&command.program) {
        return Err(missing());
    }
    let variable = |name: &str| {
        command.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let (task, epoch) = (variable("ORCH_TASK"), variable("ORCH_EPOCH").parse().unwrap_or_default());
    let mut kernel = port.kernel.borrow_mut();
    let kernel = &mut *kernel;
    kernel.machines[port.machine].disk.real_dir(&command.cwd)?;
    let from = kernel.now;
    let script = if command.program == Path::new(PLAYER) {
        Script::told(command, from)?
    } else {
        let dice = &mut *port.own_dice.borrow_mut();
        Script::drawn(&kernel.manners, dice, from).ok_or_else(missing)?
    };
    let number = kernel.token();
    let broken = kernel.is_broken(Broken::FenceIgnored);
    let fence = command.fence_at.filter(|_| !broken).map(|at| (at.as_micros() as Micros, from));
    let machine = &mut kernel.machines[port.machine];
    let (pid, start) = machine.start_process(from);
    // It goes when its tree is over, and nobody has to be there to notice.
    machine.processes.remove(&pid);
    machine.children.insert(pid, number);
    let leads = from + script.long;
    // Those who are left behind are asked to end as soon as the program has, and then made to.
    let ends = leads + if script.left > 0 && script.stubborn { LINGER } else { 0 };
    machine.trees.insert(number, Tree { task, epoch, from, leads, ends, fence, start });
    let Script { outputs, code, signal, stubborn, left, .. } = script;
    Ok(Box::new(Held { port: port.clone(), number, pid, outputs, code, signal, left, stubborn }))
}

impl Held {
    fn look(&self) -> Look {
        let kernel = self.port.kernel.borrow();
        let (now, machine) = (kernel.now, &kernel.machines[self.port.machine]);
        let Some(tree) = machine.trees.get(&self.number) else {
            return Look { now, leads: now, over: now, fenced: false };
        };
        let over = tree.over(&machine.clocks);
        Look { now, leads: tree.leads, over, fenced: over < tree.ends }
    }

    /// Does something to the tree.
    fn with_tree(&self, body: impl FnOnce(&mut Tree, &Clocks)) {
        let kernel = &mut *self.port.kernel.borrow_mut();
        let machine = &mut kernel.machines[self.port.machine];
        if let Some(tree) = machine.trees.get_mut(&self.number) {
            body(tree, &machine.clocks);
        }
    }

    /// How it was, once it is over.
    fn exit(&self, look: &Look) -> Exit {
        // What a program has said of its end stays, whatever became of those whom it left behind.
        let killed = look.fenced && look.over <= look.leads;
        let (code, signal) = if killed { (None, Some(9)) } else { (self.code, self.signal) };
        let stragglers = if killed { 0 } else { self.left };
        Exit { code, signal, stragglers, fenced: look.fenced, ..Exit::default() }
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
        let end = self.look().now + (wait.as_micros() as Micros).max(1);
        loop {
            let look = self.look();
            let (now, over) = (look.now, look.over);
            if self.outputs.front().is_some_and(|said| said.at <= now.min(over))
                && let Some(said) = self.outputs.pop_front()
            {
                return Ok(Event::Output(said.stream, said.bytes));
            }
            if now >= over {
                if look.fenced {
                    self.port.kernel.borrow_mut().probes.hit("a supervisor ended its program");
                }
                return Ok(Event::Exited(self.exit(&look)));
            }
            if now >= end {
                return Ok(Event::Idle);
            }
            let output = self.outputs.front().map_or(end, |said| said.at);
            self.port.wait_until(end.min(over).min(output).max(now + 1));
        }
    }

    fn signal(&mut self, signal: Signal) -> io::Result<()> {
        let look = self.look();
        let (by, number) = match signal {
            Signal::Term if self.stubborn => return Ok(()),
            Signal::Term => (look.now + self.port.own_dice.borrow_mut().below(SECOND), 15),
            Signal::Kill => (look.now, 9),
        };
        // Who has ended hears nothing any more, whether or not the worker knows.
        if look.now >= look.over {
            return Ok(());
        }
        if look.now < look.leads {
            (self.code, self.signal, self.left) = (None, Some(number), 0);
        }
        self.with_tree(|tree, clocks| {
            tree.leads = tree.leads.min(by);
            match signal {
                Signal::Term => tree.ends = tree.ends.min(by),
                Signal::Kill => tree.end(by, clocks),
            }
        });
        Ok(())
    }

    fn fence_at(&mut self, boottime: Duration) -> io::Result<()> {
        if self.port.broken(Broken::FenceIgnored) {
            return Ok(());
        }
        let Look { now, over, .. } = self.look();
        if now < over {
            self.with_tree(|tree, _| tree.fence = Some((boottime.as_micros() as Micros, now)));
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
        self.with_tree(|tree, clocks| tree.end(now, clocks));
    }
}
