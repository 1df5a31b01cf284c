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
    Clock, Disk, FileKind, LockGuard, ObjectsError, Oid, Process, ProcessId, Random, Remote, Stat, World,
};

use super::dice::Dice;
use super::faults::Broken;
use super::fiber::{Fiber, Killed};
use super::kernel::{Kernel, Machine, Micros, Shared, Written};
use super::strike::Blow;
use super::tree;

/// What a call of the disk takes.
const DISK_CALL: Micros = 20;

/// One process on one machine, as the ports see it.
#[derive(Clone)]
pub struct Port {
    pub(super) kernel: Shared,
    fiber: Rc<Fiber>,
    pub(super) machine: usize,
    pid: u32,
    start: u64,
    /// What the remote held before the last push of this process.
    pub(super) before_push: Rc<RefCell<Option<BTreeMap<String, Oid>>>>,
    pub(super) own_dice: Rc<RefCell<Dice>>,
}

fn dead() -> io::Error {
    io::Error::other("this process is dead")
}

/// The process is killed here: it unwinds, and nobody reports it.
pub(super) fn die() -> ! {
    std::panic::resume_unwind(Box::new(Killed))
}

/// Code that runs while a killed process unwinds must have no effect any more.
pub(super) fn unwinding() -> bool {
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
        let seed = if all.is_broken(Broken::DiceRepeat) { 7 } else { all.dice.draw() };
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

    /// Another thread of the same process.
    #[must_use]
    pub fn thread(&self, fiber: &Rc<Fiber>) -> Self {
        let seed = self.own_dice.borrow_mut().draw();
        Port {
            fiber: Rc::clone(fiber),
            before_push: Rc::default(),
            own_dice: Rc::new(RefCell::new(Dice::new(seed))),
            ..self.clone()
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
        let processes = &mut self.kernel.borrow_mut().machines[self.machine].processes;
        // After a reboot the number may be another process's by now.
        if processes.get(&self.pid) == Some(&self.start) {
            processes.remove(&self.pid);
        }
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

    pub(super) fn wait_until(&self, at: Micros) {
        self.fiber.wait_until(at);
        if self.fiber.is_doomed() {
            die();
        }
    }

    pub(super) fn wait(&self, span: Micros) {
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
            let (slow_until, slowness) = kernel.machines[self.machine].slow;
            let struck = kernel.striker.meets();
            if struck == Some(Blow::Fail) {
                return Err(kernel.striker.error());
            }
            let kill = struck == Some(Blow::Kill) || kernel.dice.chance(kernel.knobs.kill_at_disk);
            let preempt = kernel.knobs.preempt;
            let pause = kernel.dice.chance(preempt).then(|| kernel.dice.below(20_000));
            let slow = (kernel.now < slow_until).then_some(slowness);
            if slow.is_some() {
                kernel.probes.hit("a disk was slow");
            }
            (kill, pause.max(slow))
        };
        if kill {
            self.kernel.borrow_mut().probes.hit("a process was killed");
            die();
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
            kernel.probes.hit("a disk answered with an error");
            return Err(io::Error::other("input/output error"));
        }
        let now = kernel.now;
        body(&mut kernel.machines[self.machine], now)
    }

    fn write<T>(&self, body: impl FnOnce(&mut Machine, i64) -> io::Result<T>) -> io::Result<T> {
        self.enter()?;
        let full = self.is_full();
        let kernel = &mut *self.kernel.borrow_mut();
        if full && !kernel.is_broken(Broken::ShortWrite) {
            kernel.probes.hit("the disk was full");
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on device"));
        }
        if kernel.dice.chance(kernel.knobs.disk_error) {
            kernel.probes.hit("a disk answered with an error");
            return Err(io::Error::other("input/output error"));
        }
        kernel.striker.changes();
        let at_ns = kernel.machines[self.machine].clocks.wall_ms(kernel.now) * 1_000_000;
        body(&mut kernel.machines[self.machine], at_ns + (kernel.now % 1000) as i64 * 1000)
    }

    /// Where files are the register, the judge looks at each version.
    fn put_in_place(&self, path: &Path) {
        let kernel = &mut *self.kernel.borrow_mut();
        let awake = kernel.awake();
        let Some(written) = &mut kernel.written else { return };
        if path.extension().is_some_and(|ext| ext == "yaml")
            && let Ok(bytes) = kernel.machines[self.machine].disk.read(path)
        {
            written.push(Written { at: kernel.now, path: path.to_owned(), bytes, awake });
        }
    }

    fn is_full(&self) -> bool {
        let kernel = self.kernel.borrow();
        kernel.now < kernel.machines[self.machine].full_until
    }

    pub(super) fn broken(&self, which: Broken) -> bool {
        self.kernel.borrow().is_broken(which)
    }

    pub(super) fn repo<T>(
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
            let bytes = dice.draw().to_le_bytes();
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
        Port::read(self, |machine, _| machine.disk.stat_many(dir, names))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, FileKind)>> {
        match Port::read(self, |machine, _| machine.disk.list(dir)) {
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
        if self.broken(Broken::ShortWrite) && self.is_full() {
            let kernel = &mut *self.kernel.borrow_mut();
            let machine = &mut kernel.machines[self.machine];
            let at = machine.clocks.wall_ms(kernel.now) * 1_000_000;
            machine.disk.create(&path, bytes[..bytes.len() / 2].to_vec(), at)?;
            return Ok(path);
        }
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
            self.put_in_place(to);
            return self.write(|machine, at| machine.disk.remove(from, at));
        }
        self.write(|machine, at| machine.disk.rename(from, to, at))?;
        self.put_in_place(to);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.broken(Broken::NoDirectorySync) {
            return self.enter();
        }
        self.write(|machine, _| machine.disk.sync_dir(dir))
    }

    fn sync_fs(&self, dir: &Path) -> io::Result<()> {
        self.write(|machine, _| {
            if machine.disk.stat(dir).is_none_or(|stat| stat.kind != FileKind::Dir) {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("{}: no directory", dir.display()),
                ));
            }
            machine.disk.sync_all();
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.enter()?;
        let kernel = &mut *self.kernel.borrow_mut();
        kernel.striker.changes();
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
        let end = self.kernel.borrow().now + wait.as_micros() as u64;
        loop {
            // The lock is on the file that has the name at this moment, as the real one makes sure.
            let file = self.write(|machine, at| machine.disk.lock_file(path, at))?;
            let held = {
                let kernel = &mut *self.kernel.borrow_mut();
                let token = kernel.token();
                let free = kernel.is_broken(Broken::LocksDoNothing);
                let locks = &mut kernel.machines[self.machine].locks;
                if free || !locks.contains_key(&file) {
                    locks.insert(file, token);
                    Some(token)
                } else {
                    None
                }
            };
            if let Some(token) = held {
                return Ok(Some(Box::new(Held { port: self.clone(), file, token })));
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
    file: u64,
    token: u64,
}

impl LockGuard for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        let mut kernel = self.port.kernel.borrow_mut();
        if unwinding() && kernel.is_broken(Broken::LockOutlivesHolder) {
            return;
        }
        let locks = &mut kernel.machines[self.port.machine].locks;
        if locks.get(&self.file) == Some(&self.token) {
            locks.remove(&self.file);
        }
    }
}

impl Process for Port {
    fn me(&self) -> ProcessId {
        let start = if self.broken(Broken::PidIsIdentity) { 0 } else { self.start };
        ProcessId { pid: self.pid, start, boot: self.boot_id() }
    }

    fn identify(&self, pid: u32) -> Option<ProcessId> {
        let kernel = self.kernel.borrow();
        let machine = &kernel.machines[self.machine];
        let start = machine.processes.get(&pid).copied().or_else(|| machine.child(pid, kernel.now))?;
        drop(kernel);
        let start = if self.broken(Broken::PidIsIdentity) { 0 } else { start };
        Some(ProcessId { pid, start, boot: self.boot_id() })
    }

    fn alive(&self, who: &ProcessId) -> bool {
        let known = self.identify(who.pid).as_ref() == Some(who);
        known && (who.pid == self.pid || !self.broken(Broken::EverybodyIsDead))
    }

    fn real_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        self.kernel.borrow().machines[self.machine].disk.real_dir(dir)
    }

    fn find_program(&self, name: &str, cwd: &Path, path: &str) -> io::Result<PathBuf> {
        let mut found: Vec<PathBuf> = if name.contains('/') {
            vec![cwd.join(name)]
        } else {
            let dirs = path.split(':').map(Path::new).filter(|dir| dir.is_absolute());
            dirs.map(|dir| dir.join(name)).collect()
        };
        found.retain(|path| tree::is_program(path));
        let none =
            || io::Error::new(io::ErrorKind::NotFound, format!("no program `{name}` in PATH ({path})"));
        found.into_iter().next().ok_or_else(none)
    }

    fn spawn(&self, command: &Command) -> io::Result<Box<dyn Child>> {
        tree::start(self, command)
    }
}
