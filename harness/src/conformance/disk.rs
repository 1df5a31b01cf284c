//! What the store and the locks rely on of a disk. Durability has no statement here: without a power loss it cannot
//! be seen, and only a simulated disk can have one.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orch::world::{Clock, Disk, FileKind, Stat};

use super::{Statement, ensure, fails, fine, same, try_all};

/// Makes a symbolic link: where it leads, and where it is to stand.
pub type MakeLink = Box<dyn Fn(&Path, &Path) -> Result<(), String>>;

/// A disk with an empty directory on it.
pub struct DiskPlace {
    /// As one process sees it.
    pub disk: Box<dyn Disk>,
    /// As another process of the same machine sees it; locks exclude the two.
    pub other: Box<dyn Disk>,
    /// An empty directory, absolute.
    pub root: PathBuf,
    /// Measures how long a lock is waited for.
    pub clock: Box<dyn Clock>,
    /// Makes links.
    pub link: MakeLink,
    /// What must live as long as the place.
    pub keep: Box<dyn std::any::Any>,
}

impl DiskPlace {
    fn at(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Writes a file as orch does: beside it, synced, renamed, directory synced.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, String> {
        let path = self.at(name);
        let dir = path.parent().unwrap_or(&self.root);
        let temp = fine(self.disk.write_temp(dir, bytes))?;
        fine(self.disk.sync_file(&temp))?;
        fine(self.disk.rename(&temp, &path))?;
        fine(self.disk.sync_dir(dir))?;
        Ok(path)
    }

    fn stat(&self, path: &Path) -> Result<Stat, String> {
        fine(self.disk.stat(path))?.ok_or_else(|| format!("nothing is at {}", path.display()))
    }

    fn names(&self, dir: &Path) -> Result<Vec<String>, String> {
        Ok(fine(self.disk.list(dir))?.into_iter().map(|(name, _)| name).collect())
    }
}

/// What the store, the locks and the index rely on.
pub fn disk(make: &dyn Fn() -> DiskPlace) -> Vec<String> {
    let mut failed = try_all(make, &FILES);
    failed.extend(try_all(make, &DIRECTORIES));
    failed.extend(try_all(make, &LOCKS));
    failed.extend(try_all(make, &LINKS));
    failed
}

const FILES: [Statement<DiskPlace>; 11] = [
    ("a rename replaces what was there, with all of its bytes", |p| {
        for bytes in [&b"old"[..], b"", b"a longer new one"] {
            let path = p.put("task", bytes)?;
            same("what is read", fine(p.disk.read(&path, 100))?, bytes.to_vec())?;
            same("what another process reads", fine(p.other.read(&path, 100))?, bytes.to_vec())?;
        }
        same("what is listed", fine(p.disk.list(&p.root))?, vec![("task".to_owned(), FileKind::File)])
    }),
    ("a rename replaces within one directory only", |p| {
        fine(p.disk.create_dir(&p.at("d")))?;
        let temp = fine(p.disk.write_temp(&p.root, b"x"))?;
        fails("a rename into another directory", &p.disk.rename(&temp, &p.at("d/x")))?;
        same("what it left", fine(p.disk.read(&temp, 9))?, b"x".to_vec())?;
        fails("a rename of nothing", &p.disk.rename(&p.at("none"), &p.at("x")))
    }),
    ("a rename replaces no directory", |p| {
        fine(p.disk.create_dir(&p.at("d")))?;
        p.put("d/f", b"x")?;
        let temp = fine(p.disk.write_temp(&p.root, b"y"))?;
        fails("a rename over a directory", &p.disk.rename(&temp, &p.at("d")))?;
        same("what is in it", fine(p.disk.read(&p.at("d/f"), 9))?, b"x".to_vec())?;
        same("what was to replace it", fine(p.disk.read(&temp, 9))?, b"y".to_vec())
    }),
    ("temporary names are in the directory asked for, and nobody else's", |p| {
        let mut names = BTreeSet::new();
        for disk in [&p.disk, &p.other] {
            for _ in 0..20 {
                let path = fine(disk.write_temp(&p.root, b"x"))?;
                same("its directory", path.parent(), Some(&*p.root))?;
                let hidden =
                    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".tmp."));
                ensure(hidden, "its name does not begin with `.tmp.`, by which leftovers are known")?;
                ensure(names.insert(path), "a name came twice")?;
            }
        }
        Ok(())
    }),
    ("nothing is written into a directory that is not there", |p| {
        let result = p.disk.write_temp(&p.at("none"), b"x");
        same("the kind of error", result.err().map(|e| e.kind()), Some(ErrorKind::NotFound))?;
        same("what is there", fine(p.disk.stat(&p.at("none")))?, None)
    }),
    ("reading stops at the limit", |p| {
        let path = p.put("f", b"12345")?;
        same("what is read", fine(p.disk.read(&path, 5))?, b"12345".to_vec())?;
        let kind = |limit| p.disk.read(&path, limit).err().map(|error| error.kind());
        same(
            "the kind of error",
            (kind(4), kind(0)),
            (Some(ErrorKind::InvalidData), Some(ErrorKind::InvalidData)),
        )?;
        same(
            "that of nothing",
            p.disk.read(&p.at("no"), 9).err().map(|e| e.kind()),
            Some(ErrorKind::NotFound),
        )?;
        fine(p.disk.create_dir(&p.at("d")))?;
        same(
            "that of a directory",
            p.disk.read(&p.at("d"), 9).err().map(|e| e.kind()),
            Some(ErrorKind::InvalidData),
        )
    }),
    ("a stat tells kind and size, and that nothing is there", |p| {
        let path = p.put("f", b"12345")?;
        let stat = p.stat(&path)?;
        same("kind and size", (stat.kind, stat.size), (FileKind::File, 5))?;
        same("a directory's kind", p.stat(&p.root)?.kind, FileKind::Dir)?;
        same("nothing", fine(p.disk.stat(&p.at("none")))?, None)?;
        same("something below a file", fine(p.disk.stat(&path.join("x")))?, None)?;
        same("the same a second time", p.stat(&path)?, stat)
    }),
    ("a file that was replaced has another stat, even by the same bytes", |p| {
        let path = p.put("f", b"12345")?;
        let before = p.stat(&path)?;
        p.put("f", b"12345")?;
        ensure(p.stat(&path)? != before, "it is the same")
    }),
    ("syncing changes nothing that can be seen", |p| {
        let path = p.put("f", b"12345")?;
        let before = (p.stat(&path)?, p.names(&p.root)?);
        fine(p.disk.sync_file(&path))?;
        fine(p.disk.sync_dir(&p.root))?;
        fine(p.disk.sync_fs(&p.root))?;
        same("what is there", (p.stat(&path)?, p.names(&p.root)?), before)?;
        let gone = p.at("none");
        fails("syncing a file that is not there", &p.disk.sync_file(&gone))?;
        fails("syncing a directory that is not there", &p.disk.sync_dir(&gone))?;
        fails("syncing the file system of nothing", &p.disk.sync_fs(&gone))
    }),
    ("appending makes the file, adds at its end, and mixes with nobody", |p| {
        let path = p.at("log");
        for (disk, line) in [(&p.disk, "one\n"), (&p.other, "two\n"), (&p.disk, "three\n")] {
            fine(disk.append(&path, line.as_bytes()))?;
        }
        same("what is read", fine(p.disk.read(&path, 99))?, b"one\ntwo\nthree\n".to_vec())?;
        fails("appending in a directory that is not there", &p.disk.append(&p.at("no/log"), b"x"))
    }),
    ("removing is done or was done", |p| {
        let path = p.put("f", b"x")?;
        fine(p.disk.remove(&path))?;
        fine(p.disk.remove(&path))?;
        same("what is there", fine(p.other.stat(&path))?, None)?;
        fine(p.disk.create_dir(&p.at("d")))?;
        fails("removing a directory as a file", &p.disk.remove(&p.at("d")))
    }),
];

const DIRECTORIES: [Statement<DiskPlace>; 5] = [
    ("an absent directory lists as empty", |p| {
        same("what is listed", fine(p.disk.list(&p.at("none")))?, Vec::new())?;
        same("many stats there", fine(p.disk.stat_many(&p.at("none"), &["a", "b"]))?, vec![None, None])
    }),
    ("a listing is sorted, with kinds", |p| {
        for name in ["b", "a", "c-1", "c"] {
            p.put(name, b"")?;
        }
        fine(p.disk.create_dir(&p.at("aa")))?;
        let wanted = [
            ("a", FileKind::File),
            ("aa", FileKind::Dir),
            ("b", FileKind::File),
            ("c", FileKind::File),
            ("c-1", FileKind::File),
        ];
        let wanted: Vec<_> = wanted.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        same("what is listed", fine(p.disk.list(&p.root))?, wanted)?;
        for file in [p.at("a"), p.at("a/below")] {
            fails("a listing of a file", &p.disk.list(&file))?;
            fails("many stats there", &p.disk.stat_many(&file, &["x"]))?;
        }
        Ok(())
    }),
    ("directories are made with their parents, and it is said which is new", |p| {
        let deep = p.at("a/b/c");
        same("the first time", fine(p.disk.create_dir(&deep))?, true)?;
        same("the second time", fine(p.other.create_dir(&deep))?, false)?;
        same("a parent", fine(p.disk.create_dir(&p.at("a/b")))?, false)?;
        let file = p.put("f", b"")?;
        fails("a directory where a file is", &p.disk.create_dir(&file))?;
        fails("a directory below a file", &p.disk.create_dir(&file.join("x")))
    }),
    ("many stats are the stats of each", |p| {
        p.put("a", b"xyz")?;
        fine(p.disk.create_dir(&p.at("d")))?;
        let names = ["d", "missing", "a"];
        let many = fine(p.disk.stat_many(&p.root, &names))?;
        let each: Result<Vec<_>, _> = names.iter().map(|name| p.disk.stat(&p.at(name))).collect();
        same("what is told", many, fine(each)?)?;
        let below = p.put("d/x", b"1")?;
        same("further down", fine(p.disk.stat_many(&p.root, &["d/x"]))?, vec![Some(p.stat(&below)?)])
    }),
    ("only an empty directory is removed", |p| {
        fine(p.disk.create_dir(&p.at("d")))?;
        p.put("d/f", b"x")?;
        fails("removing one with a file", &p.disk.remove_dir(&p.at("d")))?;
        same("the file", fine(p.disk.read(&p.at("d/f"), 9))?, b"x".to_vec())?;
        fine(p.disk.remove(&p.at("d/f")))?;
        fine(p.disk.remove_dir(&p.at("d")))?;
        same("what is there", fine(p.disk.stat(&p.at("d")))?, None)?;
        fine(p.disk.remove_dir(&p.at("d")))?;
        let file = p.put("f", b"x")?;
        fails("removing a file as a directory", &p.disk.remove_dir(&file))?;
        same("the file then", fine(p.disk.read(&file, 9))?, b"x".to_vec())
    }),
];

/// Whether a disk gets the lock at once.
fn gets(disk: &dyn Disk, path: &Path) -> Result<bool, String> {
    Ok(fine(disk.lock(path, Duration::ZERO))?.is_some())
}

const LOCKS: [Statement<DiskPlace>; 6] = [
    ("a lock excludes another process until it is dropped", |p| {
        let path = p.at("lock");
        let held = fine(p.disk.lock(&path, Duration::ZERO))?;
        ensure(held.is_some(), "a free lock is not given")?;
        same("the other one gets it", gets(&*p.other, &path)?, false)?;
        drop(held);
        same("the other one gets it then", gets(&*p.other, &path)?, true)?;
        same("and it is free again", gets(&*p.disk, &path)?, true)
    }),
    ("a lock excludes a second holder within one process, too", |p| {
        let path = p.at("lock");
        let held = fine(p.disk.lock(&path, Duration::ZERO))?;
        same("it is given twice", gets(&*p.disk, &path)?, false)?;
        drop(held);
        same("it is given then", gets(&*p.disk, &path)?, true)
    }),
    ("locks of different files have nothing to do with each other", |p| {
        let _held = fine(p.disk.lock(&p.at("one"), Duration::ZERO))?;
        same("another one is given", gets(&*p.other, &p.at("two"))?, true)
    }),
    ("a lock file is made with its directory, stays, and keeps its bytes", |p| {
        let path = p.at("orch/locks/x");
        drop(fine(p.disk.lock(&path, Duration::ZERO))?);
        same("its kind", p.stat(&path)?.kind, FileKind::File)?;
        let path = p.put("full", b"bytes")?;
        drop(fine(p.disk.lock(&path, Duration::ZERO))?);
        same("its bytes", fine(p.disk.read(&path, 99))?, b"bytes".to_vec())?;
        fine(p.disk.create_dir(&p.at("d")))?;
        fails("a lock on a directory", &p.disk.lock(&p.at("d"), Duration::ZERO).map(drop))
    }),
    ("a held lock is waited for as long as asked, and no longer than that by much", |p| {
        let path = p.at("lock");
        let _held = fine(p.disk.lock(&path, Duration::ZERO))?;
        let started = p.clock.monotonic();
        let wait = Duration::from_millis(30);
        ensure(fine(p.other.lock(&path, wait))?.is_none(), "it was given twice")?;
        let took = p.clock.monotonic() - started;
        ensure(took >= wait && took < Duration::from_secs(20), &format!("30 ms took {took:?}"))
    }),
    ("a lock file that was removed or replaced never yields two holders of the new one", |p| {
        for replaced in [false, true] {
            let path = p.put("lock", b"")?;
            let old = fine(p.disk.lock(&path, Duration::ZERO))?;
            if replaced {
                p.put("lock", b"new")?;
            } else {
                fine(p.other.remove(&path))?;
            }
            let new = fine(p.other.lock(&path, Duration::ZERO))?;
            ensure(new.is_some(), "the new file's lock is not given")?;
            same("a third one gets it", gets(&*p.disk, &path)?, false)?;
            drop(old);
            same("a third one gets it when the old holder ends", gets(&*p.disk, &path)?, false)?;
            drop(new);
            same("it is free in the end", gets(&*p.disk, &path)?, true)?;
        }
        Ok(())
    }),
];

/// A link, and where it stands.
fn linked(p: &DiskPlace, to: &Path) -> Result<PathBuf, String> {
    let at = p.at("link");
    (p.link)(to, &at)?;
    Ok(at)
}

const LINKS: [Statement<DiskPlace>; 6] = [
    ("a link in the place of a file is not followed", |p| {
        let outside = p.put("outside", b"secret")?;
        let link = &linked(p, &outside)?;
        let (told, file) = (p.stat(link)?, p.stat(&outside)?);
        same("its kind", told.kind, FileKind::Other)?;
        ensure(told.inode != file.inode, "it is the file that it leads to")?;
        let names = ["link", "outside"];
        same("many stats", fine(p.disk.stat_many(&p.root, &names))?, vec![Some(told), Some(file)])?;
        let kinds = [("link", FileKind::Other), ("outside", FileKind::File)];
        let kinds: Vec<_> = kinds.map(|(name, kind)| (name.to_owned(), kind)).into();
        same("what is listed", fine(p.disk.list(&p.root))?, kinds)?;
        let kind = p.disk.read(link, 99).err().map(|error| error.kind());
        same("the kind of error of reading", kind, Some(ErrorKind::InvalidData))?;
        fails("appending through it", &p.disk.append(link, b"x"))?;
        fails("syncing through it", &p.disk.sync_file(link))?;
        fails("locking through it", &p.disk.lock(link, Duration::ZERO).map(drop))?;
        same("what it leads to", fine(p.disk.read(&outside, 99))?, b"secret".to_vec())
    }),
    ("a rename replaces a link itself, and so does a removal", |p| {
        let outside = p.put("outside", b"secret")?;
        let link = &linked(p, &outside)?;
        p.put("link", b"mine")?;
        same("what is there", fine(p.disk.read(link, 99))?, b"mine".to_vec())?;
        same("what it led to", fine(p.disk.read(&outside, 99))?, b"secret".to_vec())?;
        fine(p.disk.remove(link))?;
        linked(p, &outside)?;
        fine(p.disk.remove(link))?;
        same("what is there then", fine(p.other.stat(link))?, None)?;
        same("what it led to then", fine(p.disk.read(&outside, 99))?, b"secret".to_vec())
    }),
    ("a link that is renamed stays a link", |p| {
        let outside = p.put("outside", b"secret")?;
        let (link, there) = (linked(p, &outside)?, p.put("there", b"old")?);
        fine(p.disk.rename(&link, &there))?;
        same("its kind", p.stat(&there)?.kind, FileKind::Other)?;
        same("what is left in its old place", fine(p.disk.stat(&link))?, None)?;
        fails("reading through it", &p.disk.read(&there, 99))?;
        same("what it leads to", fine(p.disk.read(&outside, 99))?, b"secret".to_vec())
    }),
    ("a link in the place of a directory is not entered", |p| {
        fine(p.disk.create_dir(&p.at("d")))?;
        p.put("d/f", b"x")?;
        let link = &linked(p, &p.at("d"))?;
        same("its kind", p.stat(link)?.kind, FileKind::Other)?;
        fails("a listing", &p.disk.list(link))?;
        fails("many stats", &p.disk.stat_many(link, &["f"]))?;
        fails("making it a directory", &p.disk.create_dir(link))?;
        fails("syncing it", &p.disk.sync_dir(link))?;
        fails("syncing its file system", &p.disk.sync_fs(link))?;
        fails("removing it as a directory", &p.disk.remove_dir(link))?;
        fine(p.disk.remove(link))?;
        same("what it led to", p.names(&p.at("d"))?, vec!["f".to_owned()])
    }),
    ("a link on the way to a name is followed", |p| {
        fine(p.disk.create_dir(&p.at("d/e")))?;
        // Relative, and from where the link stands.
        let link = linked(p, Path::new("./d/../d"))?;
        let temp = fine(p.disk.write_temp(&link, b"x"))?;
        fine(p.disk.sync_file(&temp))?;
        fine(p.disk.rename(&temp, &link.join("f")))?;
        same("what is there", fine(p.other.read(&p.at("d/f"), 9))?, b"x".to_vec())?;
        fine(p.disk.append(&link.join("f"), b"y"))?;
        same("its stat", p.stat(&link.join("f"))?, p.stat(&p.at("d/f"))?)?;
        same("many stats", fine(p.disk.stat_many(&p.root, &["link/f"]))?, vec![Some(p.stat(&p.at("d/f"))?)])?;
        same("a directory there is new", fine(p.disk.create_dir(&link.join("e")))?, false)?;
        same("another one is new", fine(p.disk.create_dir(&link.join("e/g/h")))?, true)?;
        same("what is below", p.names(&p.at("d/e/g"))?, vec!["h".to_owned()])?;
        fine(p.disk.sync_dir(&link.join("e")))?;
        fine(p.disk.remove_dir(&link.join("e/g/h")))?;
        fine(p.disk.remove(&link.join("f")))?;
        same("what is left", (p.names(&p.at("d"))?, p.names(&p.at("d/e/g"))?), (vec!["e".to_owned()], vec![]))
    }),
    ("where a link leads nowhere or to itself, nothing is made", |p| {
        for to in ["none", "link"] {
            let link = &linked(p, &p.at(to))?;
            same("its kind", p.stat(link)?.kind, FileKind::Other)?;
            fails("reading through it", &p.disk.read(link, 9))?;
            fails("appending through it", &p.disk.append(link, b"x"))?;
            fails("appending behind it", &p.disk.append(&link.join("f"), b"x"))?;
            fails("a directory in its place", &p.disk.create_dir(link))?;
            fails("a directory behind it", &p.disk.create_dir(&link.join("d")))?;
            same("what is there", p.names(&p.root)?, vec!["link".to_owned()])?;
            fine(p.disk.remove(link))?;
        }
        Ok(())
    }),
];
