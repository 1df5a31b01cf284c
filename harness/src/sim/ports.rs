//! The seams of [`orch::world`] on top of the [`Kernel`](super::kernel::Kernel): a process may lose its turn, its life or
//! its answer at every call.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use orch::world::process::{Child, Command};
use orch::world::{
    Clock, CommitInfo, Disk, FileKind, LockGuard, NewCommit, Objects, ObjectsError, Oid, Pressure, Process,
    ProcessId, PushOutcome, Random, RefUpdate, Remote, RemoteError, RemoteFailure, Stat, TreeChange,
    TreeEntry, World,
};

use super::dice::Dice;
use super::faults::Broken;
use super::fiber::{Fiber, Killed};
use super::kernel::{Kernel, Late, Link, Machine, Micros, Shared};

/// What a call of the disk takes.
const DISK_CALL: Micros = 20;
/// Loose objects at which maintenance is due, as git counts.
const LOOSE: usize = 6_000;

/// One process on one machine, as the ports see it.
#[derive(Clone)]
pub struct Port {
    kernel: Shared,
    fiber: Rc<Fiber>,
    machine: usize,
    pid: u32,
    start: u64,
    /// What the remote held before the last push of this process.
    before_push: Rc<RefCell<Option<BTreeMap<String, Oid>>>>,
    own_dice: Rc<RefCell<Dice>>,
}

fn dead() -> io::Error {
    io::Error::other("this process is dead")
}

/// Code that runs while a killed process unwinds must have no effect any more.
fn unwinding() -> bool {
    std::thread::panicking()
}

impl Port {
    /// A new process on the machine of a fiber.
    #[must_use]
    pub fn new(kernel: &Shared, fiber: &Rc<Fiber>) -> Self {
        let machine = fiber.machine;
        let mut all = kernel.borrow_mut();
        let now = all.now;
        let (pid, start) = all.machines[machine].start_process(now);
        let seed = if all.is_broken(Broken::DiceRepeat) { 7 } else { all.dice.next() };
        drop(all);
        Port {
            kernel: Rc::clone(kernel),
            fiber: Rc::clone(fiber),
            machine,
            pid,
            start,
            before_push: Rc::default(),
            own_dice: Rc::new(RefCell::new(Dice::new(seed))),
        }
    }

    /// Number of this process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// When it was started.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The process is over.
    pub fn end(&self) {
        self.kernel.borrow_mut().machines[self.machine].processes.remove(&self.pid);
    }

    /// Everything outside, for this process.
    #[must_use]
    pub fn world(&self, shared: bool) -> World {
        World {
            clock: Box::new(self.clone()),
            disk: Box::new(self.clone()),
            objects: Box::new(self.clone()),
            remote: shared.then(|| Box::new(self.clone()) as Box<dyn Remote>),
            process: Box::new(self.clone()),
            random: Box::new(self.clone()),
        }
    }

    fn die(&self) -> ! {
        std::panic::resume_unwind(Box::new(Killed))
    }

    fn wait_until(&self, at: Micros) {
        self.fiber.wait_until(at);
        if self.fiber.is_doomed() {
            self.die();
        }
    }

    fn wait(&self, span: Micros) {
        let at = self.kernel.borrow().now + span;
        self.wait_until(at);
    }

    /// Comes before every call of disk and repository.
    fn enter(&self) -> io::Result<()> {
        if unwinding() {
            return Err(dead());
        }
        let (kill, pause) = {
            let kernel = &mut *self.kernel.borrow_mut();
            kernel.calls += 1;
            kernel.now += DISK_CALL;
            let kill = kernel.dice.chance(kernel.knobs.kill_at_disk);
            let preempt = kernel.knobs.preempt;
            let pause = kernel.dice.chance(preempt).then(|| kernel.dice.below(20_000));
            (kill, pause)
        };
        if kill {
            self.kernel.borrow_mut().probes.hit("a process was killed");
            self.die();
        }
        if let Some(pause) = pause {
            self.wait(pause);
        }
        Ok(())
    }

    fn read<T>(&self, body: impl FnOnce(&mut Machine, Micros) -> io::Result<T>) -> io::Result<T> {
        self.enter()?;
        let kernel = &mut *self.kernel.borrow_mut();
        if kernel.dice.chance(kernel.knobs.disk_error) {
            return Err(io::Error::other("input/output error"));
        }
        let now = kernel.now;
        body(&mut kernel.machines[self.machine], now)
    }

    fn write<T>(&self, body: impl FnOnce(&mut Machine, i64) -> io::Result<T>) -> io::Result<T> {
        self.enter()?;
        let kernel = &mut *self.kernel.borrow_mut();
        if kernel.now < kernel.machines[self.machine].full_until {
            kernel.probes.hit("the disk was full");
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on device"));
        }
        if kernel.dice.chance(kernel.knobs.disk_error) {
            return Err(io::Error::other("input/output error"));
        }
        let at_ns = kernel.machines[self.machine].clocks.wall_ms(kernel.now) * 1_000_000;
        body(&mut kernel.machines[self.machine], at_ns + (kernel.now % 1000) as i64 * 1000)
    }

    fn broken(&self, which: Broken) -> bool {
        self.kernel.borrow().is_broken(which)
    }

    fn repo<T>(
        &self,
        body: impl FnOnce(&mut Kernel, usize) -> Result<T, ObjectsError>,
    ) -> Result<T, ObjectsError> {
        self.enter().map_err(|error| ObjectsError::Other(error.to_string()))?;
        body(&mut self.kernel.borrow_mut(), self.machine)
    }
}

impl Clock for Port {
    fn wall_ms(&self) -> i64 {
        let kernel = self.kernel.borrow();
        kernel.machines[self.machine].clocks.wall_ms(kernel.now)
    }

    fn monotonic(&self) -> Duration {
        let kernel = self.kernel.borrow();
        let clocks = &kernel.machines[self.machine].clocks;
        if kernel.is_broken(Broken::WallClockForLeases) {
            return Duration::from_millis(clocks.wall_ms(kernel.now).max(0) as u64);
        }
        let time = if kernel.is_broken(Broken::ObserverCountsSuspension) {
            clocks.boottime(kernel.now)
        } else {
            clocks.monotonic(kernel.now)
        };
        Duration::from_micros(time)
    }

    fn boottime(&self) -> Duration {
        let kernel = self.kernel.borrow();
        let clocks = &kernel.machines[self.machine].clocks;
        Duration::from_micros(match kernel.broken {
            Some(Broken::HolderForgetsSuspension) => clocks.monotonic(kernel.now),
            Some(Broken::HolderClockSlow) => clocks.boottime(kernel.now) / 2,
            _ => clocks.boottime(kernel.now),
        })
    }

    fn boot_id(&self) -> String {
        let kernel = self.kernel.borrow();
        let boot =
            if kernel.is_broken(Broken::BootIdStays) { 0 } else { kernel.machines[self.machine].clocks.boot };
        format!("boot-{}-{boot}", self.machine)
    }

    fn sleep(&self, span: Duration) {
        if !unwinding() {
            self.wait((span.as_micros() as u64).max(1));
        }
    }
}

impl Random for Port {
    fn fill(&self, buffer: &mut [u8]) {
        let mut dice = self.own_dice.borrow_mut();
        for chunk in buffer.chunks_mut(8) {
            let bytes = dice.next().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

impl Disk for Port {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let bytes = match Port::read(self, |machine, _| machine.disk.read(path)) {
            Err(error) if error.kind() == io::ErrorKind::Other && self.broken(Broken::HalfRead) => {
                let kernel = self.kernel.borrow();
                let bytes = kernel.machines[self.machine].disk.read(path)?;
                return Ok(bytes[..bytes.len() / 2].to_vec());
            }
            other => other?,
        };
        if bytes.len() as u64 > limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "larger than what is read at most"));
        }
        Ok(bytes.to_vec())
    }

    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        Port::read(self, |machine, _| Ok(machine.disk.stat(path)))
    }

    fn stat_many(&self, dir: &Path, names: &[&str]) -> io::Result<Vec<Option<Stat>>> {
        Port::read(self, |machine, _| {
            Ok(names.iter().map(|name| machine.disk.stat(&dir.join(name))).collect())
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, FileKind)>> {
        match Port::read(self, |machine, _| Ok(machine.disk.list(dir))) {
            Err(error) if error.kind() == io::ErrorKind::Other && self.broken(Broken::UnreadableIsEmpty) => {
                Ok(Vec::new())
            }
            other => other,
        }
    }

    fn create_dir(&self, dir: &Path) -> io::Result<bool> {
        self.write(|machine, at| machine.disk.create_dir(dir, at))
    }

    fn write_temp(&self, dir: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
        let mut dice = [0u8; 8];
        self.fill(&mut dice);
        let path = dir.join(format!(".tmp.{}.{:016x}", self.pid, u64::from_le_bytes(dice)));
        self.write(|machine, at| machine.disk.create(&path, bytes.to_vec(), at))?;
        Ok(path)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        if self.broken(Broken::NoFileSync) {
            return self.enter();
        }
        self.write(|machine, _| machine.disk.sync_file(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.broken(Broken::WriteInPlace) {
            let bytes = Port::read(self, |machine, _| machine.disk.read(from))?;
            let half = bytes[..bytes.len() / 2].to_vec();
            let put = |bytes: Vec<u8>| {
                self.write(|machine, at| match machine.disk.overwrite(to, bytes.clone(), at) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        machine.disk.create(to, bytes.clone(), at)
                    }
                    other => other,
                })
            };
            put(half)?;
            put(bytes.to_vec())?;
            return self.write(|machine, at| machine.disk.remove(from, at));
        }
        self.write(|machine, at| machine.disk.rename(from, to, at))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.broken(Broken::NoDirectorySync) {
            return self.enter();
        }
        self.write(|machine, _| machine.disk.sync_dir(dir))
    }

    fn sync_fs(&self, _: &Path) -> io::Result<()> {
        self.write(|machine, _| {
            machine.disk.sync_all();
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.enter()?;
        let kernel = &mut *self.kernel.borrow_mut();
        let machine = &mut kernel.machines[self.machine];
        machine.disk.remove(path, machine.clocks.wall_ms(kernel.now) * 1_000_000)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.write(|machine, at| machine.disk.remove_dir(dir, at))
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.write(|machine, at| machine.disk.append(path, bytes, at))
    }

    fn lock(&self, path: &Path, wait: Duration) -> io::Result<Option<Box<dyn LockGuard>>> {
        if let Some(dir) = path.parent() {
            self.create_dir(dir)?;
        }
        self.enter()?;
        let end = self.kernel.borrow().now + wait.as_micros() as u64;
        loop {
            let held = {
                let kernel = &mut *self.kernel.borrow_mut();
                let token = kernel.token();
                let free = kernel.is_broken(Broken::LocksDoNothing);
                let locks = &mut kernel.machines[self.machine].locks;
                if free || !locks.contains_key(path) {
                    locks.insert(path.to_owned(), token);
                    Some(token)
                } else {
                    None
                }
            };
            if let Some(token) = held {
                let guard = Held { port: self.clone(), path: path.to_owned(), token };
                return Ok(Some(Box::new(guard)));
            }
            if self.kernel.borrow().now >= end {
                return Ok(None);
            }
            let pause = 500 + self.kernel.borrow_mut().dice.below(2_000);
            self.wait(pause);
        }
    }
}

/// A lock that is held; a killed process lets go while it unwinds, as the operating system does.
struct Held {
    port: Port,
    path: PathBuf,
    token: u64,
}

impl LockGuard for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        let mut kernel = self.port.kernel.borrow_mut();
        let locks = &mut kernel.machines[self.port.machine].locks;
        if locks.get(&self.path) == Some(&self.token) {
            locks.remove(&self.path);
        }
    }
}

impl Process for Port {
    fn me(&self) -> ProcessId {
        let start = if self.broken(Broken::PidIsIdentity) { 0 } else { self.start };
        ProcessId { pid: self.pid, start, boot: self.boot_id() }
    }

    fn identify(&self, pid: u32) -> Option<ProcessId> {
        let start = *self.kernel.borrow().machines[self.machine].processes.get(&pid)?;
        if self.broken(Broken::EverybodyIsDead) && pid != self.pid {
            return None;
        }
        let start = if self.broken(Broken::PidIsIdentity) { 0 } else { start };
        Some(ProcessId { pid, start, boot: self.boot_id() })
    }

    fn real_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        Ok(dir.to_owned())
    }

    fn find_program(&self, name: &str, _: &Path, _: &str) -> io::Result<PathBuf> {
        Err(io::Error::new(io::ErrorKind::NotFound, name.to_owned()))
    }

    fn spawn(&self, _: &Command) -> io::Result<Box<dyn Child>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "simulated machines run no programs"))
    }
}

impl Objects for Port {
    fn blob(&self, oid: Oid) -> Result<Vec<u8>, ObjectsError> {
        self.repo(|kernel, at| Ok(kernel.pool.blob(&kernel.machines[at].repo, oid)?.to_vec()))
    }

    fn hash_blob(&self, bytes: &[u8]) -> Oid {
        super::repo::identity("blob", bytes)
    }

    fn entry(&self, commit: Oid, path: &str) -> Result<Option<TreeEntry>, ObjectsError> {
        self.repo(|kernel, at| kernel.pool.entry(&kernel.machines[at].repo, commit, path))
    }

    fn list(&self, commit: Oid, path: &str) -> Result<Vec<(String, TreeEntry)>, ObjectsError> {
        self.repo(|kernel, at| kernel.pool.list(&kernel.machines[at].repo, commit, path))
    }

    fn diff(&self, old: Option<Oid>, new: Option<Oid>) -> Result<Vec<TreeChange>, ObjectsError> {
        self.repo(|kernel, at| kernel.pool.diff(&kernel.machines[at].repo, old, new))
    }

    fn commit(&self, commit: &NewCommit<'_>) -> Result<Oid, ObjectsError> {
        self.repo(|kernel, at| {
            let Kernel { pool, machines, .. } = kernel;
            pool.commit(&mut machines[at].repo, commit)
        })
    }

    fn commit_info(&self, commit: Oid) -> Result<CommitInfo, ObjectsError> {
        self.repo(|kernel, at| kernel.pool.info(&kernel.machines[at].repo, commit))
    }

    fn has(&self, oid: Oid) -> bool {
        self.kernel.borrow().machines[self.machine].repo.has(oid)
    }

    fn is_ancestor(&self, ancestor: Oid, tip: Oid) -> Result<bool, ObjectsError> {
        self.repo(|kernel, at| kernel.pool.is_ancestor(&kernel.machines[at].repo, ancestor, tip))
    }

    fn refs(&self, prefix: &str) -> Result<Vec<(String, Oid)>, ObjectsError> {
        self.repo(|kernel, at| {
            let refs = &kernel.machines[at].repo.refs;
            Ok(refs.iter().filter(|(name, _)| is_below(name, prefix)).map(|(n, o)| (n.clone(), *o)).collect())
        })
    }

    fn get_ref(&self, name: &str) -> Result<Option<Oid>, ObjectsError> {
        self.repo(|kernel, at| Ok(kernel.machines[at].repo.refs.get(name).copied()))
    }

    fn swap_ref(&self, name: &str, old: Option<Oid>, new: Option<Oid>) -> Result<(), ObjectsError> {
        self.repo(|kernel, at| {
            let blind = kernel.is_broken(Broken::LocalSwapBlind);
            let repo = &mut kernel.machines[at].repo;
            if !blind && repo.refs.get(name).copied() != old {
                return Err(ObjectsError::Changed(name.to_owned()));
            }
            match new {
                Some(oid) if !repo.has(oid) => return Err(ObjectsError::Missing(oid)),
                Some(oid) => repo.refs.insert(name.to_owned(), oid),
                None => repo.refs.remove(name),
            };
            Ok(())
        })
    }

    fn pressure(&self) -> Result<Pressure, ObjectsError> {
        self.repo(|kernel, at| {
            let loose = kernel.machines[at].repo.len();
            Ok(Pressure { loose: if loose > LOOSE { loose as u64 } else { 0 }, packs: 1 })
        })
    }

    fn maintain(&self) -> Result<(), ObjectsError> {
        self.repo(|kernel, at| {
            let Kernel { pool, machines, .. } = kernel;
            pool.collect(&mut machines[at].repo);
            Ok(())
        })
    }
}

/// The name itself, or something below it.
fn is_below(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|rest| prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Arrives,
    Lost,
}

impl Port {
    /// The way to the remote, or the time until somebody gives up.
    fn go(&self, limit: Duration) -> Fate {
        let (kill, way, lost) = {
            let kernel = &mut *self.kernel.borrow_mut();
            kernel.calls += 1;
            let kill = kernel.dice.chance(kernel.knobs.kill_at_remote);
            let (low, high) = kernel.knobs.latency;
            let way = kernel.dice.between(low, high) / 2;
            let lost = kernel.dice.chance(kernel.knobs.lost);
            (kill, way, lost)
        };
        if kill {
            self.kernel.borrow_mut().probes.hit("a process was killed");
            self.die();
        }
        self.wait(way);
        let kernel = self.kernel.borrow();
        let cut = !kernel.remote_up || kernel.machines[self.machine].link == Link::Cut;
        drop(kernel);
        if cut || lost {
            self.wait((limit.as_micros() as u64).min(30_000_000).max(1));
            return Fate::Lost;
        }
        Fate::Arrives
    }

    /// The way back.
    fn come(&self, limit: Duration) -> Fate {
        let (kill, way, lost) = {
            let kernel = &mut *self.kernel.borrow_mut();
            let kill = kernel.dice.chance(kernel.knobs.kill_at_remote);
            let (low, high) = kernel.knobs.latency;
            let way = kernel.dice.between(low, high) / 2;
            let mute = kernel.machines[self.machine].link != Link::Up;
            let lost = mute || kernel.dice.chance(kernel.knobs.unanswered);
            if lost {
                kernel.probes.hit("an answer was lost");
            }
            (kill, way, lost)
        };
        if kill {
            self.kernel.borrow_mut().probes.hit("a process was killed");
            self.die();
        }
        self.wait(if lost { (limit.as_micros() as u64).min(30_000_000).max(1) } else { way });
        if lost { Fate::Lost } else { Fate::Arrives }
    }

    fn no_answer() -> RemoteError {
        RemoteError { kind: RemoteFailure::Timeout, message: "no answer".to_owned() }
    }

    fn pushed(&self, updates: &[RefUpdate], atomic: bool, limit: Duration) -> Vec<PushOutcome> {
        if unwinding() {
            return vec![PushOutcome::Unknown("dead".to_owned()); updates.len()];
        }
        *self.before_push.borrow_mut() = Some(self.kernel.borrow().remote.refs.clone());
        let silence = |this: &Self| {
            let sure = this.broken(Broken::LostAnswerIsSuccess);
            let answer =
                if sure { PushOutcome::Accepted } else { PushOutcome::Unknown("no answer".to_owned()) };
            vec![answer; updates.len()]
        };
        if self.go(limit) == Fate::Lost {
            let kernel = &mut *self.kernel.borrow_mut();
            kernel.probes.hit("a push was lost");
            if kernel.dice.chance(kernel.knobs.late) {
                let at = kernel.now + kernel.dice.below(120_000_000);
                let updates =
                    updates.iter().map(|update| (update.name.clone(), update.expected, update.new)).collect();
                kernel.late.push(Late { at, updates, sender: self.machine });
            }
            return silence_after(kernel, updates);
        }
        let mut answers = self.apply(updates, atomic);
        let twice = {
            let kernel = &mut *self.kernel.borrow_mut();
            kernel.dice.chance(kernel.knobs.twice)
        };
        if twice {
            answers = self.apply(updates, atomic);
        }
        if self.come(limit) == Fate::Lost {
            return silence(self);
        }
        answers
    }

    fn apply(&self, updates: &[RefUpdate], atomic: bool) -> Vec<PushOutcome> {
        let kernel = &mut *self.kernel.borrow_mut();
        kernel.pushes += 1;
        for oid in updates.iter().filter_map(|update| update.new) {
            let Kernel { pool, remote, machines, .. } = kernel;
            if !machines[self.machine].repo.has(oid) {
                return vec![PushOutcome::Unknown(format!("object {oid} is missing")); updates.len()];
            }
            pool.copy(&machines[self.machine].repo, remote, oid);
        }
        let fits = |kernel: &Kernel, update: &RefUpdate| {
            kernel.remote.refs.get(&update.name).copied() == update.expected
        };
        if atomic && !updates.iter().all(|update| fits(kernel, update)) {
            return vec![PushOutcome::Refused("atomic push failed".to_owned()); updates.len()];
        }
        updates
            .iter()
            .map(|update| {
                if kernel.forbidden.as_ref().is_some_and(|part| update.name.contains(part)) {
                    return PushOutcome::Refused("rule 7".to_owned());
                }
                let actual = kernel.remote.refs.get(&update.name).copied();
                if actual == update.new && update.new != update.expected {
                    return match kernel.is_broken(Broken::UpToDateAccepted) {
                        true => PushOutcome::Accepted,
                        false => PushOutcome::Refused("up to date".to_owned()),
                    };
                }
                if update.new.is_none() && kernel.is_broken(Broken::DeletionIgnored) {
                    return PushOutcome::Accepted;
                }
                match kernel.swap_remote(&update.name, update.expected, update.new) {
                    true => PushOutcome::Accepted,
                    false if kernel.is_broken(Broken::RefusalIgnored) => PushOutcome::Accepted,
                    false => PushOutcome::Refused("stale info".to_owned()),
                }
            })
            .collect()
    }
}

fn silence_after(kernel: &Kernel, updates: &[RefUpdate]) -> Vec<PushOutcome> {
    let sure = kernel.is_broken(Broken::LostAnswerIsSuccess);
    let answer = if sure { PushOutcome::Accepted } else { PushOutcome::Unknown("no answer".to_owned()) };
    vec![answer; updates.len()]
}

impl Remote for Port {
    fn url(&self) -> String {
        "/simulated/remote.git".to_owned()
    }

    fn refs(&self, prefixes: &[&str], limit: Duration) -> Result<Vec<(String, Oid)>, RemoteError> {
        if unwinding() || self.go(limit) == Fate::Lost {
            return Err(Self::no_answer());
        }
        let listing: Vec<(String, Oid)> = {
            let kernel = self.kernel.borrow();
            let old = self.before_push.borrow_mut().take();
            let refs = match old {
                Some(old) if kernel.is_broken(Broken::NoReadAfterPush) => old,
                _ => kernel.remote.refs.clone(),
            };
            let hidden = kernel.is_broken(Broken::LeasesHidden);
            refs.into_iter()
                .filter(|(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix)))
                .filter(|(name, _)| !(hidden && name.starts_with("refs/orch/leases/")))
                .collect()
        };
        if self.come(limit) == Fate::Lost { Err(Self::no_answer()) } else { Ok(listing) }
    }

    fn fetch(&self, refs: &[(String, String)], limit: Duration) -> Result<(), RemoteError> {
        if unwinding() || self.go(limit) == Fate::Lost {
            return Err(Self::no_answer());
        }
        {
            let kernel = &mut *self.kernel.borrow_mut();
            let nothing = kernel.is_broken(Broken::FetchBringsNothing);
            let gone = refs.iter().find(|(name, _)| !kernel.remote.refs.contains_key(name));
            if let Some((name, _)) = gone {
                let message = format!("couldn't find remote ref {name}");
                return Err(RemoteError { kind: RemoteFailure::MissingObject, message });
            }
            let Kernel { pool, remote, machines, .. } = kernel;
            for (name, local) in refs.iter().filter(|_| !nothing) {
                let oid = remote.refs[name];
                let repo = &mut machines[self.machine].repo;
                pool.copy(remote, repo, oid);
                repo.refs.insert(local.clone(), oid);
            }
        }
        if self.come(limit) == Fate::Lost { Err(Self::no_answer()) } else { Ok(()) }
    }

    fn push(&self, updates: &[RefUpdate], limit: Duration) -> Vec<PushOutcome> {
        self.pushed(updates, false, limit)
    }

    fn push_atomic(&self, updates: &[RefUpdate], limit: Duration) -> Vec<PushOutcome> {
        self.pushed(updates, true, limit)
    }
}
