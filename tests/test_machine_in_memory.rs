//! A whole machine put together from outside the crate, as a simulator does it: files, clocks, processes,
//! randomness and index are in memory, and the code that runs is the one that ships.
//!
//! The story: the index opened SQLite's file by itself and was made anew through the real disk, so a machine
//! whose disk was another one read and wrote beside it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use orch::protocol::id::TaskId;
use orch::protocol::task::{Definition, Status};
use orch::store::index::MemoryIndex;
use orch::store::layout::Layout;
use orch::store::settings::Settings;
use orch::store::tasks::Store;
use orch::sync::git::{GitObjects, Outside};
use orch::usecase::claim::{Terms, pick};
use orch::usecase::holder::{self, Finish};
use orch::usecase::queue::{About, Opening, Queue};
use orch::usecase::{add, init, read, sync, verify, watch};
use orch::world::remote::GitRemote;
use orch::world::{
    Clock, Disk, FileKind, LockGuard, Process, ProcessId, Random, Remote, Stat, World, process,
};

/// No real directory has this name, so whoever goes past the seams finds nothing and can make nothing.
const STATE: &str = "/proc/no-such-place/state";

/// A file system of one machine.
#[derive(Default, Clone)]
struct Files(Rc<RefCell<Inner>>);

#[derive(Default)]
struct Inner {
    files: BTreeMap<PathBuf, (Vec<u8>, Stat)>,
    dirs: BTreeMap<PathBuf, Stat>,
    locks: BTreeMap<PathBuf, ()>,
    ticks: u64,
}

impl Inner {
    /// Every change has a moment and a number of its own, as on a disk with fine stamps.
    fn stamp(&mut self, kind: FileKind, size: usize) -> Stat {
        self.ticks += 1;
        let at = i64::try_from(self.ticks).unwrap();
        Stat { size: size as u64, mtime_ns: at, ctime_ns: at, inode: self.ticks, kind }
    }

    fn touch(&mut self, path: &Path) -> io::Result<()> {
        let new = self.stamp(FileKind::Dir, 0);
        let parent = path.parent().and_then(|dir| self.dirs.get_mut(dir)).ok_or(io::ErrorKind::NotFound)?;
        *parent = Stat { inode: parent.inode, ..new };
        Ok(())
    }

    fn make_dir(&mut self, dir: &Path) -> bool {
        if self.dirs.contains_key(dir) {
            return false;
        }
        if let Some(parent) = dir.parent() {
            self.make_dir(parent);
        }
        let stat = self.stamp(FileKind::Dir, 0);
        self.dirs.insert(dir.to_owned(), stat);
        let _ = self.touch(dir);
        true
    }
}

struct Held(Files, PathBuf);
impl LockGuard for Held {}
impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.borrow_mut().locks.remove(&self.1);
    }
}

impl Disk for Files {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let inner = self.0.borrow();
        let (bytes, _) = inner.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        if bytes.len() as u64 > limit { Err(io::ErrorKind::InvalidData.into()) } else { Ok(bytes.clone()) }
    }
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        let inner = self.0.borrow();
        Ok(inner.files.get(path).map(|(_, stat)| *stat).or_else(|| inner.dirs.get(path).copied()))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, FileKind)>> {
        let inner = self.0.borrow();
        let files = inner.files.keys().map(|path| (path, FileKind::File));
        let mut found: Vec<_> = files
            .chain(inner.dirs.keys().map(|path| (path, FileKind::Dir)))
            .filter(|(path, _)| path.parent() == Some(dir))
            .map(|(path, kind)| (path.file_name().unwrap().to_string_lossy().into_owned(), kind))
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<bool> {
        Ok(self.0.borrow_mut().make_dir(dir))
    }
    fn write_temp(&self, dir: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
        let mut inner = self.0.borrow_mut();
        let stat = inner.stamp(FileKind::File, bytes.len());
        let path = dir.join(format!(".tmp.1.{}", stat.inode));
        inner.touch(&path)?;
        inner.files.insert(path.clone(), (bytes.to_vec(), stat));
        Ok(path)
    }
    fn sync_file(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.0.borrow_mut();
        let (bytes, stat) = inner.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        let changed = inner.stamp(FileKind::File, bytes.len()).ctime_ns;
        inner.files.insert(to.to_owned(), (bytes, Stat { ctime_ns: changed, ..stat }));
        inner.touch(to)
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn sync_fs(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.0.borrow_mut();
        if inner.files.remove(path).is_some() { inner.touch(path) } else { Ok(()) }
    }
    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut whole = self.0.borrow().files.get(path).map(|(bytes, _)| bytes.clone()).unwrap_or_default();
        whole.extend_from_slice(bytes);
        let mut inner = self.0.borrow_mut();
        let stat = inner.stamp(FileKind::File, whole.len());
        inner.files.insert(path.to_owned(), (whole, stat));
        Ok(())
    }
    fn lock(&self, path: &Path, _: Duration) -> io::Result<Option<Box<dyn LockGuard>>> {
        // One process at a time: who waits would wait for ever.
        let taken = self.0.borrow_mut().locks.insert(path.to_owned(), ()).is_some();
        Ok((!taken).then(|| Box::new(Held(self.clone(), path.to_owned())) as Box<dyn LockGuard>))
    }
}

/// Time that stands still until somebody sleeps or the test moves it.
#[derive(Clone)]
struct Still(Rc<Cell<Duration>>);
impl Clock for Still {
    fn wall_ms(&self) -> i64 {
        1_700_000_000_000 + i64::try_from(self.0.get().as_millis()).unwrap()
    }
    fn monotonic(&self) -> Duration {
        self.0.get()
    }
    fn boottime(&self) -> Duration {
        self.0.get()
    }
    fn boot_id(&self) -> String {
        "boot-1".to_owned()
    }
    fn sleep(&self, span: Duration) {
        self.0.set(self.0.get() + span);
    }
}

#[derive(Clone)]
struct Counting(Rc<Cell<u64>>);
impl Random for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        for byte in buffer {
            self.0.set(
                self.0.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407),
            );
            *byte = (self.0.get() >> 33) as u8;
        }
    }
}

struct Alone;
impl Process for Alone {
    fn me(&self) -> ProcessId {
        ProcessId { pid: 1, start: 1, boot: "boot-1".to_owned() }
    }
    fn identify(&self, pid: u32) -> Option<ProcessId> {
        (pid == 1).then(|| self.me())
    }
    fn real_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        Ok(dir.to_owned())
    }
    fn find_program(&self, _: &str, _: &Path, _: &str) -> io::Result<PathBuf> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn spawn(&self, _: &process::Command) -> io::Result<Box<dyn process::Child>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// What outlives the processes of a machine. Objects are the real ones, in a place of their own.
struct Machine {
    name: &'static str,
    files: Files,
    clock: Still,
    dice: Counting,
    index: MemoryIndex,
    git: PathBuf,
    remote: PathBuf,
}

impl Machine {
    fn new(name: &'static str, yard: &Path, clock: &Still) -> Machine {
        let machine = Machine {
            name,
            files: Files::default(),
            clock: clock.clone(),
            dice: Counting(Rc::new(Cell::new(name.len() as u64 + u64::from(name.as_bytes()[0])))),
            index: MemoryIndex::new().unwrap(),
            git: yard.join(name),
            remote: yard.join("remote.git"),
        };
        init::lay_out(&machine.files, &machine.dice, &Layout::new(STATE)).unwrap();
        GitObjects::init(&machine.git, "refs/heads/orch-state", Outside::real(&machine.git)).unwrap();
        machine
    }

    /// What every process of the machine does first.
    fn open(&self) -> Queue {
        let remote = GitRemote::new(&self.git, &self.remote.to_string_lossy(), None)
            .with_repository(orch::sync::git::TRANSFER);
        let world = World {
            clock: Box::new(self.clock.clone()),
            disk: Box::new(self.files.clone()),
            objects: Box::new(GitObjects::open(&self.git, Outside::real(&self.git)).unwrap()),
            remote: Some(Box::new(remote) as Box<dyn Remote>),
            process: Box::new(Alone),
            random: Box::new(self.dice.clone()),
        };
        let store = Store::open_in_memory(&world, Layout::new(STATE), &self.index).unwrap();
        let settings =
            Settings { remote: Some(self.remote.to_string_lossy().into_owned()), ..Settings::default() };
        let session = format!("agent:{}", self.name);
        Queue::open(Opening {
            world,
            store,
            settings,
            session,
            machine: self.name.to_owned(),
            no_sync: false,
            about: About::Queue,
            read_only: None,
        })
        .unwrap()
    }
}

fn add_task(q: &mut Queue, name: &str) -> TaskId {
    let id = TaskId::parse(name).unwrap();
    let def = Definition { title: format!("title of {name}"), ..Definition::default() };
    assert!(add::add(q, Some(id.clone()), def).unwrap().published);
    id
}

#[test]
fn two_machines_in_memory_hand_a_task_over() {
    let yard = tempfile::tempdir().unwrap();
    git2::Repository::init_bare(yard.path().join("remote.git")).unwrap();
    let clock = Still(Rc::new(Cell::new(Duration::from_secs(1000))));
    let (a, b) = (Machine::new("a", yard.path(), &clock), Machine::new("b", yard.path(), &clock));
    let id = add_task(&mut a.open(), "ONE");

    let claimed = pick(&mut b.open(), &Terms::default()).unwrap();
    assert_eq!((claimed.task.id(), claimed.epoch), (&id, 1));
    holder::heartbeat(&mut b.open(), &id, Some(1), None).unwrap();
    assert!(pick(&mut a.open(), &Terms::default()).is_err());

    // The agent vanishes, and with it the whole machine: the other one watches until it is sure.
    let rounds = (0..200).find(|_| {
        clock.sleep(Duration::from_secs(60));
        !watch::round(&mut a.open(), watch::Rules::default()).unwrap().recovered.is_empty()
    });
    assert!(rounds.is_some(), "nobody took the task back");
    clock.sleep(Duration::from_secs(3600));
    let again = pick(&mut a.open(), &Terms::default()).unwrap();
    assert!(again.epoch > claimed.epoch);
    let how = Finish { notes: "finished".to_owned(), ..Finish::default() };
    holder::done(&mut a.open(), &id, Some(again.epoch), &how).unwrap();
    assert!(holder::done(&mut b.open(), &id, Some(claimed.epoch), &how).is_err(), "an old epoch finished it");

    for machine in [&a, &b] {
        sync::sync(&mut machine.open()).unwrap();
        assert_eq!(read::show(&mut machine.open(), &id).unwrap().status(), Status::Done);
        let verified = verify::verify(&mut machine.open(), &mut |_, _| {}).unwrap();
        assert!(verified.problems.is_empty(), "{:?}", verified.problems);
        assert!(machine.files.0.borrow().files.contains_key(&Layout::new(STATE).task(&id)));
        assert!(machine.files.0.borrow().locks.is_empty(), "a lock outlived its process");
    }
}

/// Two runs from the same beginning leave the same bytes: nothing outside the world takes part.
#[test]
fn the_same_machine_twice_leaves_the_same_files() {
    let run = || {
        let yard = tempfile::tempdir().unwrap();
        git2::Repository::init_bare(yard.path().join("remote.git")).unwrap();
        let clock = Still(Rc::new(Cell::new(Duration::from_secs(1000))));
        let a = Machine::new("a", yard.path(), &clock);
        for name in ["ONE", "TWO", "THREE"] {
            add_task(&mut a.open(), name);
        }
        let claimed = pick(&mut a.open(), &Terms::default()).unwrap();
        let how = Finish { notes: "finished".to_owned(), ..Finish::default() };
        holder::done(&mut a.open(), claimed.task.id(), None, &how).unwrap();
        let inner = a.files.0.borrow();
        inner.files.iter().map(|(path, (bytes, _))| (path.clone(), bytes.clone())).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(run(), run());
}
