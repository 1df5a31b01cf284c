//! A remote, a disk and a clock that do something in the middle of a step: let another process or machine
//! act, lose the answer, let time pass, or kill the process (an unwinding that nobody reports).

use std::cell::{Cell, RefCell};
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use crate::usecase::queue::Queue;
use crate::world::clock::RealClock;
use crate::world::disk::RealDisk;
use crate::world::{
    Clock, Disk, FileKind, LockGuard, Oid, PushOutcome, RefUpdate, Remote, RemoteError, RemoteFailure, Stat,
    Wanted,
};

/// A call of the remote, before or after it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    BeforePush,
    AfterPush,
    BeforeRefs,
    AfterRefs,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Pass,
    /// It is not made (before), or its answer never comes (after).
    Lost,
}

type Hook = Box<dyn FnMut(At) -> Fate>;

struct RiggedRemote {
    inner: Box<dyn Remote>,
    hook: RefCell<Hook>,
}

impl RiggedRemote {
    fn call(&self, at: At) -> Fate {
        (self.hook.borrow_mut())(at)
    }
}

fn unreachable() -> RemoteError {
    RemoteError { kind: RemoteFailure::Unreachable, message: "no answer".to_owned() }
}

impl Remote for RiggedRemote {
    fn url(&self) -> String {
        self.inner.url()
    }

    fn refs(&self, prefixes: &[&str], limit: Duration) -> Result<Vec<(String, Oid)>, RemoteError> {
        if self.call(At::BeforeRefs) == Fate::Lost {
            return Err(unreachable());
        }
        let answer = self.inner.refs(prefixes, limit);
        if self.call(At::AfterRefs) == Fate::Lost { Err(unreachable()) } else { answer }
    }

    fn fetch(&self, wanted: &[Wanted], limit: Duration) -> Result<(), RemoteError> {
        self.inner.fetch(wanted, limit)
    }

    fn push(&self, updates: &[RefUpdate], limit: Duration) -> Vec<PushOutcome> {
        let unknown = || vec![PushOutcome::Unknown("no answer".to_owned()); updates.len()];
        if self.call(At::BeforePush) == Fate::Lost {
            return unknown();
        }
        let answer = self.inner.push(updates, limit);
        if self.call(At::AfterPush) == Fate::Lost { unknown() } else { answer }
    }

    fn push_atomic(&self, updates: &[RefUpdate], limit: Duration) -> Vec<PushOutcome> {
        self.inner.push_atomic(updates, limit)
    }
}

/// Lets a hook see every call of a queue's remote.
pub fn rig_remote(q: &mut Queue, hook: impl FnMut(At) -> Fate + 'static) {
    let inner = q.world.remote.take().unwrap();
    q.world.remote = Some(Box::new(RiggedRemote { inner, hook: RefCell::new(Box::new(hook)) }));
}

/// The hook that acts once, at the n-th call (from 1) of a kind.
pub fn at_nth(when: At, nth: u32, mut act: impl FnMut() -> Fate + 'static) -> impl FnMut(At) -> Fate {
    let mut seen = 0;
    move |at| {
        if at == when {
            seen += 1;
            if seen == nth {
                return act();
            }
        }
        Fate::Pass
    }
}

struct Killed;

/// Ends the process that runs the step.
pub fn die() -> Fate {
    std::panic::resume_unwind(Box::new(Killed))
}

/// Runs a step that is killed in the middle.
pub fn killed<T>(step: impl FnOnce() -> T) {
    let ended = std::panic::catch_unwind(AssertUnwindSafe(step));
    assert!(ended.is_err_and(|why| why.is::<Killed>()), "the step was not killed");
}

/// What happens before a step on the disk, given its path.
type Before = Box<dyn FnMut(&Path)>;

/// A disk with a hook before locks are taken and directories listed; it gets the path.
pub struct RiggedDisk {
    pub before: RefCell<Before>,
}

impl RiggedDisk {
    /// Acts once, at the first lock or listing whose path contains `part`.
    pub fn once(part: &'static str, act: impl FnOnce() + 'static) -> Box<RiggedDisk> {
        let mut act = Some(act);
        let before = move |path: &Path| {
            if path.to_string_lossy().contains(part)
                && let Some(act) = act.take()
            {
                act();
            }
        };
        Box::new(RiggedDisk { before: RefCell::new(Box::new(before)) })
    }

    fn tell(&self, path: &Path) {
        // A hook whose own act comes by here again is not told.
        if let Ok(mut before) = self.before.try_borrow_mut() {
            before(path);
        }
    }
}

impl Disk for RiggedDisk {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        RealDisk.read(path, limit)
    }
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        RealDisk.stat(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, FileKind)>> {
        self.tell(dir);
        RealDisk.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<bool> {
        RealDisk.create_dir(dir)
    }
    fn write_temp(&self, dir: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
        RealDisk.write_temp(dir, bytes)
    }
    fn sync_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_file(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }
    fn sync_fs(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_fs(dir)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        RealDisk.append(path, bytes)
    }
    fn lock(&self, path: &Path, wait: Duration) -> io::Result<Option<Box<dyn LockGuard>>> {
        self.tell(path);
        RealDisk.lock(path, wait)
    }
}

/// A clock that can be set forward; sleeping sets it forward too.
pub struct Ahead(pub Rc<Cell<Duration>>);

impl Clock for Ahead {
    fn wall_ms(&self) -> i64 {
        RealClock.wall_ms() + i64::try_from(self.0.get().as_millis()).unwrap()
    }
    fn monotonic(&self) -> Duration {
        RealClock.monotonic() + self.0.get()
    }
    fn boottime(&self) -> Duration {
        RealClock.boottime() + self.0.get()
    }
    fn boot_id(&self) -> String {
        RealClock.boot_id()
    }
    fn sleep(&self, span: Duration) {
        self.0.set(self.0.get() + span);
    }
}

/// Gives a queue a clock that can be set forward.
pub fn rig_clock(q: &mut Queue) -> Rc<Cell<Duration>> {
    let offset = Rc::new(Cell::new(Duration::ZERO));
    q.world.clock = Box::new(Ahead(offset.clone()));
    offset
}
