//! Everything that simulated machines share, and the one clock that moves them: virtual time in microseconds.
//!
//! The kernel is plain data without locks. Fibers ([`super::fiber`]) run one at a time and reach it through the
//! ports ([`super::ports`]); between two ports nothing else happens.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::rc::Rc;

use orch::store::index::MemoryIndex;
use orch::world::Oid;

use super::dice::Dice;
use super::disk_image::{Bytes, DiskImage};
use super::faults::{Broken, Knobs};
use super::probes::Probes;
use super::repo::{Pool, Repo};
use super::strike::Striker;
use super::trace::Trace;
use super::tree::{Manners, Tree};

/// Microseconds of virtual time since the simulation began.
pub type Micros = u64;

/// One second.
pub const SECOND: Micros = 1_000_000;
/// One minute.
pub const MINUTE: Micros = 60 * SECOND;
/// What no command takes as long as: each step on the network has a limit of ten seconds, each lock as well.
pub const LONGEST: Micros = 10 * MINUTE;

/// How the clocks of a machine differ from true time.
#[derive(Debug, Clone)]
pub struct Clocks {
    /// Added to true time to give the wall clock, in milliseconds; steps at will.
    pub wall_offset_ms: i64,
    /// Seconds of this machine per true second.
    pub rate: f64,
    /// True time of the last boot.
    pub booted: Micros,
    /// Time spent suspended since then, in this machine's microseconds; a suspension counts whole from its beginning.
    pub suspended: Micros,
    /// True time until which the machine is suspended; the past when it is awake.
    pub asleep_until: Micros,
    /// Which boot this is.
    pub boot: u32,
}

impl Default for Clocks {
    /// Clocks that are right.
    fn default() -> Self {
        Clocks { wall_offset_ms: 0, rate: 1.0, booted: 0, suspended: 0, asleep_until: 0, boot: 1 }
    }
}

/// True wall time at the beginning: 2026-01-01T00:00:00Z.
const EPOCH_MS: i64 = 1_767_225_600_000;

impl Clocks {
    /// The wall clock, milliseconds since 1970.
    #[must_use]
    pub fn wall_ms(&self, now: Micros) -> i64 {
        let gone = (now as f64 * self.rate / 1000.0) as i64;
        EPOCH_MS + gone + self.wall_offset_ms
    }

    /// Microseconds since boot, suspension included.
    #[must_use]
    pub fn boottime(&self, now: Micros) -> Micros {
        (now.saturating_sub(self.booted) as f64 * self.rate) as Micros
    }

    /// Microseconds since boot, suspension left out: it stands still from the moment at which one begins.
    #[must_use]
    pub fn monotonic(&self, now: Micros) -> Micros {
        let ahead = (self.asleep_until.saturating_sub(now) as f64 * self.rate) as Micros;
        self.boottime(now).saturating_sub(self.suspended.saturating_sub(ahead))
    }

    /// The machine is suspended for a span of true time.
    pub fn suspend(&mut self, now: Micros, span: Micros) {
        self.asleep_until = now + span;
        self.suspended += (span as f64 * self.rate) as Micros;
    }

    /// The machine starts.
    pub fn boot(&mut self, now: Micros) {
        (self.booted, self.suspended, self.asleep_until) = (now, 0, 0);
        self.boot += 1;
    }
}

/// For how long a machine had been awake at some moment. It is noted when something happens and not when that is
/// judged: a machine that has slept or started meanwhile shows another time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Awake {
    /// Microseconds of its own since that boot.
    pub since_boot: Micros,
    /// Which boot.
    pub boot: u32,
}

impl Awake {
    /// For how long it had been awake since an earlier moment, as far as it can know.
    #[must_use]
    pub fn since(self, then: Awake) -> Micros {
        let then = if then.boot == self.boot { then.since_boot } else { 0 };
        self.since_boot.saturating_sub(then)
    }
}

/// How a machine is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// All right.
    Up,
    /// Nothing gets through.
    Cut,
    /// What is sent arrives, answers do not.
    Mute,
}

/// One machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its state directory.
    pub state: PathBuf,
    /// Its disk.
    pub disk: DiskImage,
    /// Its index, which every process of it opens.
    pub index: MemoryIndex,
    /// `state/.git`: objects and refs.
    pub repo: Repo,
    /// Objects in packs, as far as maintenance is concerned.
    pub packed: usize,
    /// Its clocks.
    pub clocks: Clocks,
    /// Its connection to the remote.
    pub link: Link,
    /// Until when its disk is full.
    pub full_until: Micros,
    /// Until when its disk is slow, and how long each call takes there.
    pub slow: (Micros, Micros),
    /// Until when another program, or one that was killed, holds the locks of its local refs.
    pub refs_locked_until: Micros,
    /// Whether it has power.
    pub up: bool,
    /// When its wall clock was last set.
    pub stepped: Micros,
    /// Advisory locks: number of the file and token of the holder.
    pub locks: HashMap<u64, u64>,
    /// Running processes: number and start.
    pub processes: BTreeMap<u32, u64>,
    /// Programs that run here or have run, by number.
    pub trees: BTreeMap<u64, Tree>,
    /// Which of these last had a process number.
    pub children: BTreeMap<u32, u64>,
    next_pid: u32,
}

impl Machine {
    /// A machine whose state directory is to be.
    #[must_use]
    pub fn new(state: PathBuf, clocks: Clocks) -> Self {
        Machine {
            state,
            disk: DiskImage::default(),
            index: MemoryIndex::new().expect("an empty index fits into memory"),
            repo: Repo::default(),
            packed: 0,
            clocks,
            link: Link::Up,
            full_until: 0,
            slow: (0, 0),
            refs_locked_until: 0,
            up: true,
            stepped: 0,
            locks: HashMap::new(),
            processes: BTreeMap::new(),
            trees: BTreeMap::new(),
            children: BTreeMap::new(),
            next_pid: 100,
        }
    }

    /// Starts a process; numbers are used again soon, as on a busy machine.
    pub fn start_process(&mut self, now: Micros) -> (u32, u64) {
        let few = 100..=140;
        let from = self.next_pid;
        let is_free = |pid: &u32| !self.processes.contains_key(pid) && self.child(*pid, now).is_none();
        let pid = (from..=140).chain(few.clone()).chain(141..).find(is_free).unwrap_or(u32::MAX);
        self.next_pid = if few.contains(&(pid + 1)) { pid + 1 } else { 100 };
        let start = self.clocks.boottime(now) / 10_000;
        self.processes.insert(pid, start);
        (pid, start)
    }
}

/// A push that is under way although its sender has given up.
#[derive(Debug, Clone)]
pub struct Late {
    /// When it arrives.
    pub at: Micros,
    /// What it wants, as far as it concerns refs.
    pub updates: Vec<(String, Option<Oid>, Option<Oid>)>,
    /// For how long each machine had been awake when it was sent.
    pub sent: Vec<Awake>,
}

/// A ref of the remote that moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// When.
    pub at: Micros,
    /// Full name.
    pub name: String,
    /// What it was.
    pub old: Option<Oid>,
    /// What it is.
    pub new: Option<Oid>,
    /// For how long each machine had been awake then.
    pub awake: Vec<Awake>,
    /// The same when it was sent, which is when it was decided upon: a push may arrive late.
    pub sent: Vec<Awake>,
    /// Somebody moved it who is no machine of the queue, and compared nothing.
    pub forced: bool,
}

/// What a host refuses by a rule of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forbidden {
    /// Refs whose name contains this.
    pub part: String,
    /// What it says.
    pub why: String,
}

/// A task's file that was put in place.
#[derive(Debug, Clone)]
pub struct Written {
    /// When.
    pub at: Micros,
    /// Where.
    pub path: PathBuf,
    /// What is in it.
    pub bytes: Bytes,
    /// For how long each machine had been awake then.
    pub awake: Vec<Awake>,
}

/// All there is.
#[derive(Clone)]
pub struct Kernel {
    /// True time.
    pub now: Micros,
    /// Dice for everything that happens at ports.
    pub dice: Dice,
    /// Objects of all repositories.
    pub pool: Pool,
    /// The shared repository.
    pub remote: Repo,
    /// Whether it answers at all.
    pub remote_up: bool,
    /// What it refuses by a rule of its own.
    pub forbidden: Option<Forbidden>,
    /// Whether the remote hands out only what its refs hold, as a host of protocol 0 does.
    pub by_name: bool,
    /// How its refs moved since the oracle last looked.
    pub moved: Vec<Moved>,
    /// Files of tasks that were put in place since then, where files are the register.
    pub written: Option<Vec<Written>>,
    /// Pushes under way.
    pub late: Vec<Late>,
    /// The machines.
    pub machines: Vec<Machine>,
    /// How often what goes wrong.
    pub knobs: Knobs,
    /// What the programs are like that workers run.
    pub manners: Manners,
    /// The guard that is taken away, if any.
    pub broken: Option<Broken>,
    /// What happened.
    pub trace: Trace,
    /// Which branches were taken.
    pub probes: Probes,
    /// Calls of ports so far.
    pub calls: u64,
    /// Pushes so far.
    pub pushes: u64,
    /// Strikes one call that somebody chose.
    pub striker: Striker,
    next_token: u64,
}

/// Shared by all fibers of a simulation, which all run in one thread.
pub type Shared = Rc<std::cell::RefCell<Kernel>>;

impl Kernel {
    /// An empty world.
    #[must_use]
    pub fn new(dice: Dice, knobs: Knobs, broken: Option<Broken>) -> Self {
        Kernel {
            now: 0,
            dice,
            pool: Pool::default(),
            remote: Repo::default(),
            remote_up: true,
            forbidden: None,
            by_name: false,
            moved: Vec::new(),
            written: None,
            late: Vec::new(),
            machines: Vec::new(),
            knobs,
            manners: Manners::good(),
            broken,
            trace: Trace::default(),
            probes: Probes::default(),
            calls: 0,
            pushes: 0,
            striker: Striker::default(),
            next_token: 1,
        }
    }

    /// A copy that goes its own way, indexes included.
    #[must_use]
    pub fn fork(&self) -> Kernel {
        let mut other = Kernel { striker: Striker::default(), ..self.clone() };
        for machine in &mut other.machines {
            machine.index = machine.index.fork().expect("a small index fits into memory twice");
        }
        other
    }

    /// A number that was never given out before.
    pub fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    /// Whether this guard is taken away.
    #[must_use]
    pub fn is_broken(&self, which: Broken) -> bool {
        self.broken == Some(which)
    }

    /// Compare-and-swap of one ref of the remote; true when it moved.
    pub fn swap_remote(&mut self, name: &str, old: Option<Oid>, new: Option<Oid>) -> bool {
        let actual = self.remote.refs.get(name).copied();
        if actual != old && !self.is_broken(Broken::PushWithoutCompare) {
            return false;
        }
        match new {
            Some(oid) => self.remote.refs.insert(name.to_owned(), oid),
            None => self.remote.refs.remove(name),
        };
        let (at, name, awake) = (self.now, name.to_owned(), self.awake());
        self.moved.push(Moved { at, name, old: actual, new, sent: awake.clone(), awake, forced: false });
        true
    }

    /// Why a rule of the host refuses a ref, if one does.
    pub fn refusal(&mut self, name: &str) -> Option<String> {
        let why = self.forbidden.as_ref().filter(|rule| name.contains(&rule.part))?.why.clone();
        self.probes.hit("a push was refused by a rule");
        Some(why)
    }

    /// Somebody who is no machine of the queue moves a ref of the remote, whatever it holds.
    pub fn force_remote(&mut self, name: &str, new: Option<Oid>) {
        let old = self.remote.refs.get(name).copied();
        if self.swap_remote(name, old, new)
            && let Some(moved) = self.moved.last_mut()
        {
            moved.forced = true;
        }
    }

    /// For how long each machine has been awake.
    #[must_use]
    pub fn awake(&self) -> Vec<Awake> {
        let awake = |m: &Machine| Awake { since_boot: m.clocks.monotonic(self.now), boot: m.clocks.boot };
        self.machines.iter().map(awake).collect()
    }

    /// Lets pushes arrive whose time has come.
    pub fn deliver_late(&mut self) {
        let now = self.now;
        let due: Vec<Late> = {
            let (due, rest) = std::mem::take(&mut self.late).into_iter().partition(|late| late.at <= now);
            self.late = rest;
            due
        };
        for late in due {
            for (name, old, new) in late.updates {
                let arrived = self.swap_remote(&name, old, new);
                if let Some(moved) = self.moved.last_mut().filter(|_| arrived) {
                    moved.sent.clone_from(&late.sent);
                }
                self.probes.hit(if arrived { "a late push arrived" } else { "a late push was refused" });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The story: a push that was sent before its machine was suspended arrived in the middle of the suspension, and
    /// the judge took the whole suspension off the time for which that machine had been awake: seed 51145 called a
    /// takeover too early that was not.
    #[test]
    fn a_suspended_machine_s_clock_stands_still_and_does_not_jump() {
        let mut clocks = Clocks { rate: 2.0, ..Clocks::default() };
        assert_eq!(clocks.monotonic(100), 200);
        clocks.suspend(100, 50);
        for now in [100, 101, 149, 150] {
            assert_eq!(clocks.monotonic(now), 200, "at {now}");
        }
        assert_eq!((clocks.monotonic(160), clocks.boottime(160)), (220, 320));
        clocks.suspend(160, 10);
        clocks.boot(165);
        assert_eq!((clocks.monotonic(165), clocks.monotonic(175), clocks.boot), (0, 20, 2));
    }

    /// The story: what had moved was judged when the next command ended. Where the power of the machine had failed in
    /// between, it counted as awake since its new boot only, and a takeover as too early: seed 70447.
    #[test]
    fn for_how_long_a_machine_was_awake_is_noted_when_something_moves() {
        let mut kernel = Kernel::new(Dice::new(1), Knobs::calm(), None);
        kernel.machines.push(Machine::new(PathBuf::from("/m0/state"), Clocks::default()));
        for (now, boots) in [(100, false), (250, true), (300, false)] {
            kernel.now = now;
            assert!(kernel.swap_remote(&format!("refs/{now}"), None, Some(Oid([1; 20]))));
            if boots {
                kernel.machines[0].clocks.boot(now);
            }
        }
        let awake: Vec<Awake> = kernel.moved.iter().map(|moved| moved.awake[0]).collect();
        assert_eq!(
            (awake[1].since(awake[0]), awake[2].since(awake[0]), awake[0].since(awake[0])),
            (150, 50, 0)
        );
    }

    /// The story: a claim was decided upon and sent after its machine had been awake for long enough; it arrived late, when the
    /// power of that machine had failed and come back, and the judge called it too early: seed 304719.
    #[test]
    fn a_push_that_arrives_late_is_judged_by_when_it_was_sent() {
        let mut kernel = Kernel::new(Dice::new(1), Knobs::calm(), None);
        kernel.machines.push(Machine::new(PathBuf::from("/m0/state"), Clocks::default()));
        kernel.now = 500;
        let updates = vec![("refs/late".to_owned(), None, Some(Oid([1; 20])))];
        kernel.late.push(Late { at: 700, updates, sent: kernel.awake() });
        kernel.machines[0].clocks.boot(600);
        kernel.now = 700;
        kernel.deliver_late();
        let moved = kernel.moved.last().unwrap();
        assert_eq!((moved.at, moved.sent[0].since_boot, moved.awake[0].since_boot), (700, 500, 100));
    }
}
