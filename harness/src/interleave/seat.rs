//! One process of an execution: the simulated seams of [`crate::sim`], with a point before whatever another process can
//! see.
//!
//! | call | a point? |
//! |---|---|
//! | reading, listing, `stat` | reads the file's name, or the names in the directory |
//! | rename, remove, append, a new directory | writes the file's name, and changes the names in its directory |
//! | making a directory that is there | reads its name |
//! | a temporary file, before it gets its name | no: its name is drawn by its process, and nobody acts on it while that lives |
//! | `fsync` | no: the durable image is seen after a power loss only, and there is none here |
//! | taking an advisory lock | each lock is a thing of its own; who waits, waits until it is free |
//! | leaving it | only if another process tries it without waiting for it: who waits sees no difference |
//! | local refs | reading reads the ref, listing reads all, swapping writes the ref and changes the set of all |
//! | objects | no: an object never changes, and whoever knows an id learnt it at a point. `has` reads what a fetch writes |
//! | the index | each query reads the parts that it names, each transaction writes them and changes their sets |
//! | the remote | listing reads its refs, a push writes them; a fetch reads them and writes the local ones, in two steps |
//! | processes | asking for one reads whether it runs, its end writes that |
//! | clocks, dice | no: time stands still for a process unless it waits itself, and each has dice of its own |
//!
//! What goes wrong is no matter of chance here either: [`Harm`] names the call at which it happens, and a loop around
//! the exploration tries each.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use orch::store::index::{MemoryIndex, Part, Use};
use orch::store::layout::Layout;
use orch::world::process::{Child, Command};
use orch::world::{Clock, Disk, FileKind, LockGuard, Process, ProcessId, Random, Remote, Stat, World};

use super::points::{Access, Holding, Points, Thing};
use crate::sim::faults::Broken;
use crate::sim::fiber::{Fiber, Killed};
use crate::sim::kernel::{Link, Micros, Shared};
use crate::sim::ports::Port;

/// What goes wrong for one process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Harm {
    /// Its process is killed before this call, counted from 0.
    pub killed_at: Option<usize>,
    /// The answer to this call of the remote is lost, counted from 0.
    pub unanswered: Option<usize>,
}

/// One process.
pub struct Seat {
    /// `None` while nobody else runs.
    points: RefCell<Option<Rc<Points>>>,
    me: usize,
    pub(super) machine: usize,
    pub(super) kernel: Shared,
    pub(super) port: Port,
    /// Its own time.
    now: Rc<Cell<Micros>>,
    harm: Harm,
    calls: Cell<usize>,
    asked: Cell<usize>,
}

thread_local! {
    /// Whose step it is: the index says that it is used, but not by whom.
    static ACTING: RefCell<Option<Rc<Seat>>> = const { RefCell::new(None) };
}

/// What the index of every machine calls before each use.
pub fn before_index(used: &Use) {
    let Some(seat) = ACTING.with(|acting| acting.borrow().clone()) else { return };
    let index = |part| Thing::Index(seat.machine, part);
    if !used.writes {
        let parts: Vec<_> = used.parts.iter().map(|part| (index(part.clone()), Access::Read)).collect();
        return seat.step("query", &parts);
    }
    let mut parts: Vec<_> = used.parts.iter().map(|part| (index(part.clone()), Access::Write)).collect();
    let sets: BTreeSet<Part> = used.parts.iter().filter_map(Part::set).collect();
    parts.extend(sets.into_iter().map(|set| (index(set), Access::Change(0))));
    seat.step("write", &parts);
}

/// The seams of a process, as trait objects want them.
#[derive(Clone)]
pub(super) struct Seam(pub(super) Rc<Seat>);

fn unwinding() -> bool {
    std::thread::panicking()
}

impl Seat {
    /// A process on a machine, from `now` on.
    #[must_use]
    pub fn new(kernel: &Shared, me: usize, machine: usize, now: Micros, harm: Harm) -> Rc<Seat> {
        let clock = Rc::new(Cell::new(now));
        let own = Rc::clone(&clock);
        let fiber = Rc::new(Fiber::led(&format!("p{me}"), machine, move |at| own.set(own.get().max(at))));
        kernel.borrow_mut().now = now;
        Rc::new(Seat {
            points: RefCell::default(),
            me,
            machine,
            kernel: Rc::clone(kernel),
            port: Port::new(kernel, &fiber),
            now: clock,
            harm,
            calls: Cell::new(0),
            asked: Cell::new(0),
        })
    }

    /// From now on others run beside it.
    pub fn in_company(self: &Rc<Self>, points: &Rc<Points>) {
        *self.points.borrow_mut() = Some(Rc::clone(points));
        self.acts();
    }

    /// Everything outside, for this process.
    #[must_use]
    pub fn world(self: &Rc<Self>, shared: bool) -> World {
        let seam = Seam(Rc::clone(self));
        World {
            clock: Box::new(seam.clone()),
            disk: Box::new(seam.clone()),
            objects: Box::new(seam.clone()),
            remote: shared.then(|| Box::new(seam.clone()) as Box<dyn Remote>),
            process: Box::new(seam.clone()),
            random: Box::new(seam),
        }
    }

    /// The files and the index of its machine.
    #[must_use]
    pub fn files(&self) -> (Layout, MemoryIndex) {
        let kernel = self.kernel.borrow();
        let machine = &kernel.machines[self.machine];
        (Layout::new(machine.state.clone()), machine.index.clone())
    }

    /// From now on uses of an index are nobody's.
    pub fn nobody_acts() {
        ACTING.set(None);
    }

    /// Its time.
    #[must_use]
    pub fn now(&self) -> Micros {
        self.now.get()
    }

    /// The machine that it runs on.
    #[must_use]
    pub fn machine(&self) -> usize {
        self.machine
    }

    /// Calls so far, and calls of the remote among them.
    #[must_use]
    pub fn calls(&self) -> (usize, usize) {
        (self.calls.get(), self.asked.get())
    }

    /// The process is over, by itself or not; whoever waits for what it held may go on.
    pub fn end(self: &Rc<Self>) {
        let points = self.points.borrow().clone();
        if let Some(points) = &points {
            points.let_go(self.me);
        }
        if !points.is_some_and(|points| points.is_cut()) {
            self.step("end", &[(Thing::Process(self.machine, self.port.pid()), Access::Write)]);
        }
        self.port.end();
        self.acts();
    }

    fn acts(self: &Rc<Self>) {
        ACTING.with(|acting| *acting.borrow_mut() = Some(Rc::clone(self)));
        self.kernel.borrow_mut().now = self.now.get();
    }

    /// Counts a call, at which the process may die.
    pub(super) fn call(&self) {
        let at = self.calls.get();
        self.calls.set(at + 1);
        if self.harm.killed_at == Some(at) {
            if let Some(points) = self.points.borrow().clone() {
                points.dies(self.me);
            }
            self.note("killed", "");
            std::panic::resume_unwind(Box::new(Killed));
        }
    }

    fn note(&self, verb: &'static str, what: &str) {
        if let Some(points) = &*self.points.borrow() {
            points.note(self.me, verb, what);
        }
    }

    /// Another process may come in between here.
    pub(super) fn step(self: &Rc<Self>, verb: &'static str, what: &[(Thing, Access)]) {
        if unwinding() {
            return;
        }
        let points = self.points.borrow().clone();
        if let Some(points) = points {
            points.pass(self.me, verb, what);
        }
        self.acts();
    }

    fn file(&self, path: &Path) -> Thing {
        Thing::File(self.machine, path.to_owned())
    }

    fn names(&self, dir: &Path) -> Thing {
        Thing::Names(self.machine, dir.to_owned())
    }

    /// A directory shows when a name in it was changed last.
    fn changed_names(&self, dir: &Path) -> (Thing, Access) {
        (self.names(dir), Access::Change(self.now.get()))
    }

    /// Its own file that has no name yet which anybody looks for.
    fn is_temporary(&self, path: &Path) -> bool {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with(&format!(".tmp.{}.", self.port.pid()))
    }

    fn is_dir(&self, path: &Path) -> bool {
        let kernel = self.kernel.borrow();
        kernel.machines[self.machine].disk.stat(path).is_some_and(|stat| stat.kind == FileKind::Dir)
    }

    fn looks_at(self: &Rc<Self>, verb: &'static str, path: &Path) {
        self.call();
        if self.is_temporary(path) {
            return self.acts();
        }
        let thing = if self.is_dir(path) { self.names(path) } else { self.file(path) };
        self.step(verb, &[(thing, Access::Read)]);
    }

    fn changes(self: &Rc<Self>, verb: &'static str, path: &Path) {
        self.call();
        let dir = path.parent().unwrap_or(path);
        if self.is_temporary(path) {
            // The file is nobody else's business, but the directory shows that something in it changed.
            return self.step(verb, &[self.changed_names(dir)]);
        }
        self.step(verb, &[(self.file(path), Access::Write), self.changed_names(dir)]);
    }

    pub(super) fn alone(self: &Rc<Self>) {
        self.call();
        self.acts();
    }

    pub(super) fn own_ref(&self, name: &str) -> Thing {
        Thing::Ref(self.machine, name.to_owned())
    }

    pub(super) fn reads(self: &Rc<Self>, verb: &'static str, thing: Thing) {
        self.call();
        self.step(verb, &[(thing, Access::Read)]);
    }

    /// A call of the remote, of which the answer may be lost.
    pub(super) fn asks<T>(
        self: &Rc<Self>,
        verb: &'static str,
        access: Access,
        body: impl FnOnce() -> T,
    ) -> T {
        self.call();
        self.step(verb, &[(Thing::Remote, access)]);
        let at = self.asked.get();
        self.asked.set(at + 1);
        let mute = self.harm.unanswered == Some(at);
        let link = |link| self.kernel.borrow_mut().machines[self.machine].link = link;
        if mute {
            self.note("lost answer", verb);
            link(Link::Mute);
        }
        let told = body();
        link(Link::Up);
        told
    }

    pub(super) fn is_broken(&self, which: Broken) -> bool {
        self.kernel.borrow().is_broken(which)
    }
}

impl Clock for Seam {
    fn wall_ms(&self) -> i64 {
        self.0.acts();
        self.0.port.wall_ms()
    }

    fn monotonic(&self) -> Duration {
        self.0.acts();
        self.0.port.monotonic()
    }

    fn boottime(&self) -> Duration {
        self.0.acts();
        self.0.port.boottime()
    }

    fn boot_id(&self) -> String {
        self.0.acts();
        self.0.port.boot_id()
    }

    fn sleep(&self, span: Duration) {
        self.0.acts();
        self.0.port.sleep(span);
    }
}

impl Random for Seam {
    fn fill(&self, buffer: &mut [u8]) {
        self.0.port.fill(buffer);
    }
}

impl Disk for Seam {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        self.0.looks_at("read", path);
        Disk::read(&self.0.port, path, limit)
    }

    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        self.0.looks_at("stat", path);
        self.0.port.stat(path)
    }

    fn stat_many(&self, dir: &Path, names: &[&str]) -> io::Result<Vec<Option<Stat>>> {
        // As the kernel does it: one after the other.
        names.iter().map(|name| self.stat(&dir.join(name))).collect()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, FileKind)>> {
        self.0.call();
        self.0.step("list", &[(self.0.names(dir), Access::Read)]);
        let mut found = Disk::list(&self.0.port, dir)?;
        // Those of living processes are nobody else's business; whether they are seen is no difference to anybody.
        let kernel = self.0.kernel.borrow();
        let running = &kernel.machines[self.0.machine].processes;
        found.retain(|(name, _)| {
            orch::store::atomic::temp_pid(name).is_none_or(|pid| !running.contains_key(&pid))
        });
        Ok(found)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<bool> {
        if self.0.is_dir(dir) {
            self.0.reads("find", self.0.file(dir));
        } else {
            self.0.changes("create", dir);
        }
        self.0.port.create_dir(dir)
    }

    fn write_temp(&self, dir: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
        self.0.call();
        self.0.step("begin a file", &[self.0.changed_names(dir)]);
        self.0.port.write_temp(dir, bytes)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.0.alone();
        self.0.port.sync_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.0.is_broken(Broken::WriteInPlace) {
            return self.overwrite(from, to);
        }
        if self.0.is_temporary(from) {
            self.0.changes("rename", to);
        } else {
            self.0.call();
            let seat = &self.0;
            let mut touched = vec![(seat.file(from), Access::Write), (seat.file(to), Access::Write)];
            touched.extend([from, to].iter().filter_map(|path| Some(seat.changed_names(path.parent()?))));
            self.0.step("rename", &touched);
        }
        self.0.port.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.alone();
        self.0.port.sync_dir(dir)
    }

    fn sync_fs(&self, dir: &Path) -> io::Result<()> {
        self.0.alone();
        self.0.port.sync_fs(dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.changes("remove", path);
        self.0.port.remove(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.changes("remove", dir);
        self.0.port.remove_dir(dir)
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.0.changes("append", path);
        self.0.port.append(path, bytes)
    }

    fn lock(&self, path: &Path, wait: Duration) -> io::Result<Option<Box<dyn LockGuard>>> {
        if let Some(dir) = path.parent() {
            self.create_dir(dir)?;
        }
        self.0.call();
        let points = self.0.points.borrow().clone();
        // A lock that excludes nobody orders nothing.
        let excludes = !self.0.is_broken(Broken::LocksDoNothing);
        let Some(points) = points.filter(|_| excludes) else { return self.0.port.lock(path, Duration::ZERO) };
        let mut failed = None;
        let taken = points.take(self.0.me, (self.0.machine, path), !wait.is_zero(), || {
            self.0.acts();
            self.0.port.lock(path, Duration::ZERO).unwrap_or_else(|error| {
                failed = Some(error);
                None
            })
        });
        self.0.acts();
        self.0.note(if taken.is_some() { "lock" } else { "is locked" }, &path.to_string_lossy());
        match failed {
            Some(error) => Err(error),
            None => Ok(taken.map(|(held, holding)| {
                Box::new(Held { seat: self.clone(), holding: Some(holding), held: Some(held) }) as _
            })),
        }
    }
}

impl Seam {
    /// The guard "files are renamed into place" taken away: two writes, and between them half a file.
    fn overwrite(&self, from: &Path, to: &Path) -> io::Result<()> {
        let bytes = Disk::read(&self.0.port, from, u64::MAX)?;
        for part in [&bytes[..bytes.len() / 2], &bytes[..]] {
            self.0.changes("overwrite", to);
            let kernel = &mut *self.0.kernel.borrow_mut();
            let machine = &mut kernel.machines[self.0.machine];
            let at_ns = machine.clocks.wall_ms(kernel.now) * 1_000_000;
            if machine.disk.stat(to).is_some() {
                machine.disk.overwrite(to, part.to_vec(), at_ns)?;
            } else {
                machine.disk.create(to, part.to_vec(), at_ns)?;
            }
        }
        self.0.port.remove(from)
    }
}

/// A lock that is held; the lock of a killed process is free once it has unwound.
struct Held {
    seat: Seam,
    held: Option<Box<dyn LockGuard>>,
    holding: Option<Holding>,
}

impl LockGuard for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        let held = self.held.take();
        if unwinding() {
            return drop(held);
        }
        if let Some(holding) = self.holding.take() {
            holding.leave(|| drop(held));
        }
        self.seat.0.acts();
    }
}

impl Process for Seam {
    fn me(&self) -> ProcessId {
        self.0.port.me()
    }

    fn identify(&self, pid: u32) -> Option<ProcessId> {
        self.0.call();
        self.0.step("look for a process", &[(Thing::Process(self.0.machine, pid), Access::Read)]);
        self.0.port.identify(pid)
    }

    fn real_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        self.0.port.real_dir(dir)
    }

    fn find_program(&self, name: &str, cwd: &Path, path: &str) -> io::Result<PathBuf> {
        self.0.port.find_program(name, cwd, path)
    }

    fn spawn(&self, command: &Command) -> io::Result<Box<dyn Child>> {
        self.0.port.spawn(command)
    }
}
