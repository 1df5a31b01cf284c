//! Tests of the scan on a real file system.

use std::cell::Cell;
use std::fs;
use std::io;
use std::time::Duration;

use super::*;
use crate::store::atomic;
use crate::store::index::{MemoryIndex, Row};
use crate::store::test_disk::TestDisk;
use crate::world::{LockGuard, Oid};

struct Rig {
    _dir: tempfile::TempDir,
    layout: Layout,
    index: Index,
}

/// Long after every file of the test was written, so that no directory is racy.
const LATER: Timestamp = Timestamp(4_000_000_000_000);

fn id(text: &str) -> TaskId {
    TaskId::parse(text).unwrap()
}

fn rig(count: usize) -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let mut index = Index::open_in_memory(&MemoryIndex::new().unwrap(), "boot").unwrap();
    let rows: Vec<Row> = (0..count).map(|n| written(&layout, &format!("T-{n}"))).collect();
    index.put(&rows).unwrap();
    Rig { _dir: dir, layout, index }
}

/// Writes a task's file as orch does.
fn written(layout: &Layout, name: &str) -> Row {
    let path = layout.task(&id(name));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let stat = atomic::write_fast(&TestDisk, &path, name.as_bytes()).unwrap();
    Row {
        id: id(name),
        stat,
        oid: Oid::default(),
        base: None,
        place: Place::Tasks,
        facts: None,
        problem: None,
    }
}

impl Rig {
    fn scan_at(&mut self, now: Timestamp, scope: Scope<'_>) -> Vec<(String, What)> {
        let Seen { suspects, clean } = scan(&TestDisk, &self.layout, &mut self.index, now, scope).unwrap();
        self.index.put_dir_stamps(&clean, "looked", "").unwrap();
        let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
        suspects.into_iter().map(|suspect| (name(&suspect.path), suspect.what)).collect()
    }

    fn usual(&mut self) -> Vec<(String, What)> {
        self.scan_at(LATER, Scope::Usual { named: &[], turn: 0 })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.layout.task(&id(name))
    }
}

#[test]
fn what_we_wrote_ourselves_is_no_suspect() {
    let mut rig = rig(50);
    assert_eq!(rig.usual(), []);
    assert_eq!(rig.usual(), []);
    assert_eq!(rig.scan_at(LATER, Scope::Full), []);
}

#[test]
fn edits_new_files_and_vanished_files_are_noticed_until_they_are_dealt_with() {
    let mut rig = rig(50);
    assert_eq!(rig.usual(), []);
    fs::write(rig.path("T-1"), "edited in place").unwrap();
    fs::remove_file(rig.path("T-2")).unwrap();
    written(&rig.layout, "NEW-1");
    let mut expected = vec![
        ("T-1.yaml".to_owned(), What::Changed),
        ("T-2.yaml".to_owned(), What::Vanished),
        ("NEW-1.yaml".to_owned(), What::New),
    ];
    for _ in 0..2 {
        let mut found = rig.usual();
        found.sort_by_key(|(name, _)| expected.iter().position(|(e, _)| e == name));
        assert_eq!(found, expected);
    }
    let rows = [written(&rig.layout, "T-1"), written(&rig.layout, "T-2"), written(&rig.layout, "NEW-1")];
    rig.index.put(&rows).unwrap();
    expected.clear();
    assert_eq!(rig.usual(), expected);
}

#[test]
fn a_file_that_was_replaced_by_one_of_the_same_size_and_time_is_noticed() {
    let mut rig = rig(3);
    let path = rig.path("T-1");
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(path.with_extension("new"), "T-x").unwrap();
    fs::File::options().write(true).open(path.with_extension("new")).unwrap().set_modified(before).unwrap();
    fs::rename(path.with_extension("new"), &path).unwrap();
    assert_eq!(rig.usual(), [("T-1.yaml".to_owned(), What::Changed)]);
}

#[test]
fn misnamed_entries_and_things_that_are_no_files_are_reported_by_every_scan() {
    let mut rig = rig(5);
    let tasks = rig.layout.tasks();
    let shard = rig.path("T-1").parent().unwrap().to_owned();
    fs::write(tasks.join("lost.yaml"), "").unwrap();
    fs::write(shard.join("T-1.yml"), "").unwrap();
    fs::write(shard.join(".T-1.yaml.swp"), "").unwrap();
    fs::write(shard.join("T-1.yaml~"), "").unwrap();
    fs::write(shard.join("t-1.yaml"), "").unwrap();
    fs::remove_file(rig.path("T-2")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", rig.path("T-2")).unwrap();
    let free = (0..=u8::MAX).find(|s| !rig.layout.shard(*s).exists()).unwrap();
    std::os::unix::fs::symlink("/etc", rig.layout.shard(free)).unwrap();
    for _ in 0..2 {
        let found = rig.usual();
        let of = |name: &str| found.iter().find(|(n, _)| n == name).map(|(_, what)| what.clone());
        assert!(matches!(of("lost.yaml"), Some(What::Misnamed(_))));
        assert!(matches!(of("T-1.yml"), Some(What::Misnamed(_))));
        assert!(matches!(of("t-1.yaml"), Some(What::Misnamed(why)) if why.contains("T-1.yaml")));
        assert_eq!(of("T-2.yaml"), Some(What::NotAFile));
        assert_eq!(of(&shard_name(free)), Some(What::NotAFile));
        assert_eq!(found.len(), 5, "{found:?}");
    }
}

#[test]
fn a_large_queue_is_watched_by_its_directories_a_slice_and_the_named_tasks() {
    let mut rig = rig(ALWAYS + 1);
    assert_eq!(rig.usual(), []);
    // Replaced, removed and new files change a directory.
    fs::remove_file(rig.path("T-7")).unwrap();
    written(&rig.layout, "T-8");
    written(&rig.layout, "NEW-1");
    let mut found = rig.usual();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let kinds: Vec<_> = found.iter().map(|(name, what)| (name.as_str(), what)).collect();
    assert_eq!(
        kinds,
        [("NEW-1.yaml", &What::New), ("T-7.yaml", &What::Vanished), ("T-8.yaml", &What::Changed)]
    );
    let rows = [written(&rig.layout, "T-7"), written(&rig.layout, "T-8"), written(&rig.layout, "NEW-1")];
    rig.index.put(&rows).unwrap();
    assert_eq!(rig.usual(), []);
    // An edit in place does not.
    let outside = (0..ALWAYS).map(|n| id(&format!("T-{n}"))).find(|id| shard_of(id) > 100).unwrap();
    fs::write(rig.layout.task(&outside), "edited in place").unwrap();
    assert_eq!(rig.usual(), []);
    let expected = [(format!("{outside}.yaml"), What::Changed)];
    let named = [outside.clone()];
    assert_eq!(rig.scan_at(LATER, Scope::Usual { named: &named, turn: 0 }), expected);
    assert_eq!(rig.scan_at(LATER, Scope::Full), expected);
    let seen =
        (0..256).filter(|turn| !rig.scan_at(LATER, Scope::Usual { named: &[], turn: *turn }).is_empty());
    assert_eq!(seen.count(), SLICE_DIRS);
}

#[test]
fn a_directory_that_has_just_changed_is_not_recorded() {
    let mut rig = rig(ALWAYS + 1);
    let stamp = DirStamp::from(TestDisk.stat(&rig.layout.shard(200)).unwrap().unwrap());
    let at = |ns: i64| Timestamp((stamp.ctime_ns + ns) / 1_000_000);
    let recorded =
        |rig: &Rig| rig.index.dir_stamps().unwrap().iter().any(|(shard, _)| *shard == Dir::Shard(200));
    rig.scan_at(at(RACY_NS / 2), Scope::Usual { named: &[], turn: 0 });
    assert!(!recorded(&rig));
    rig.scan_at(at(2 * RACY_NS), Scope::Usual { named: &[], turn: 0 });
    assert!(recorded(&rig));
}

/// A disk on which everything whose path contains a text cannot be looked at.
struct Blind(String, Cell<u32>);

impl Blind {
    fn check(&self, path: &Path) -> io::Result<()> {
        if path.to_string_lossy().contains(&self.0) {
            self.1.set(self.1.get() + 1);
            return Err(io::Error::other("injected"));
        }
        Ok(())
    }
}

impl Disk for Blind {
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        self.check(path).and_then(|()| TestDisk.stat(path))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, FileKind)>> {
        self.check(dir).and_then(|()| TestDisk.list(dir))
    }
    fn read(&self, _: &Path, _: u64) -> io::Result<Vec<u8>> {
        unreachable!("a scan only looks")
    }
    fn create_dir(&self, _: &Path) -> io::Result<bool> {
        unreachable!("a scan only looks")
    }
    fn write_temp(&self, _: &Path, _: &[u8]) -> io::Result<PathBuf> {
        unreachable!("a scan only looks")
    }
    fn sync_file(&self, _: &Path) -> io::Result<()> {
        unreachable!("a scan only looks")
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        unreachable!("a scan only looks")
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        unreachable!("a scan only looks")
    }
    fn sync_fs(&self, _: &Path) -> io::Result<()> {
        unreachable!("a scan only looks")
    }
    fn remove(&self, _: &Path) -> io::Result<()> {
        unreachable!("a scan only looks")
    }
    fn append(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        unreachable!("a scan only looks")
    }
    fn lock(&self, _: &Path, _: Duration) -> io::Result<Option<Box<dyn LockGuard>>> {
        unreachable!("a scan only looks")
    }
}

#[test]
fn what_cannot_be_looked_at_is_unreadable_and_never_vanished() {
    let mut rig = rig(40);
    fs::remove_file(rig.path("T-3")).unwrap();
    let shard = shard_name(shard_of(&id("T-5")));
    for (blind, whole) in
        [("T-5.yaml".to_owned(), false), (format!("tasks/{shard}"), true), ("tasks".to_owned(), true)]
    {
        let disk = Blind(blind.clone(), Cell::new(0));
        let scope = Scope::Usual { named: &[], turn: 0 };
        let Seen { suspects: found, .. } = scan(&disk, &rig.layout, &mut rig.index, LATER, scope).unwrap();
        assert!(disk.1.get() > 0);
        let of = |path: &Path| found.iter().find(|s| s.path == path).map(|s| s.what.clone());
        let blinded = if whole { rig.layout.shard(shard_of(&id("T-5"))) } else { rig.path("T-5") };
        assert!(matches!(of(&blinded), Some(What::Unreadable(_))), "{blind}");
        let gone = found.iter().filter(|s| s.what == What::Vanished).count();
        assert_eq!(gone, usize::from(blind != "tasks"), "{blind}");
    }
}

/// The archive costs an ordinary command one look per folder, and hides nothing that was added or removed.
#[test]
fn the_archive_is_compared_by_folder() {
    let mut rig = rig(1);
    let place = Place::Archive(crate::store::place::Month::from_code(202_602).unwrap());
    let put = |rig: &mut Rig, name: &str| {
        let path = rig.layout.file(&id(name), place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let stat = atomic::write_fast(&TestDisk, &path, name.as_bytes()).unwrap();
        let row = Row { stat, place, ..written(&rig.layout, name) };
        fs::remove_file(rig.layout.task(&id(name))).unwrap();
        rig.index.put(&[row]).unwrap();
        path
    };
    let (first, second) = (put(&mut rig, "OLD-1"), put(&mut rig, "OLD-2"));
    assert_eq!(rig.index.months().unwrap(), [place.month().unwrap()]);
    assert_eq!(rig.usual(), []);
    fs::write(&first, "edited in place").unwrap();
    assert_eq!(rig.usual(), [], "the folder is as it was");
    let changed = ("OLD-1.yaml".to_owned(), What::Changed);
    for scope in [Scope::Named(&[id("OLD-1")]), Scope::Full] {
        assert_eq!(rig.scan_at(LATER, scope), std::slice::from_ref(&changed));
    }
    fs::rename(&second, second.with_file_name("OLD-3.yaml")).unwrap();
    fs::create_dir(rig.layout.archive().join("later")).unwrap();
    let found = rig.usual();
    let names = |found: &[(String, What)]| found.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&found), ["OLD-1.yaml", "OLD-2.yaml", "OLD-3.yaml", "later"]);
    assert_eq!((&found[0], &found[1].1, &found[2].1), (&changed, &What::Vanished, &What::New));
    assert!(matches!(found[3].1, What::Misnamed(_)));
    assert_eq!(rig.usual(), found, "until it is dealt with");
    fs::remove_dir_all(rig.layout.archive()).unwrap();
    assert_eq!(names(&rig.usual()), ["OLD-1.yaml", "OLD-2.yaml"]);
}
