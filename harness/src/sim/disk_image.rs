//! What lies on a simulated disk: a live image that every call sees, and a durable one that survives a power loss.
//!
//! The hazards are those of journalling file systems with delayed allocation (Pillai et al., OSDI'14): a name may
//! be durable before the bytes of its file; names of one directory become durable in any order; what was not
//! synced may be there in whole, in part, as zeros, or not at all.
//!
//! Symbolic links are there as far as the calls of a disk can see them: followed on the way to a name, never in its
//! place. Where a link leads is in the same block as the link itself, so it is never torn: only its name can be lost.

mod links;

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, btree_map};
use std::io;
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use orch::world::{FileKind, Stat};

use super::dice::{Dice, Fast};

/// Bytes of a file; versions are shared.
pub type Bytes = Rc<Vec<u8>>;

/// File times have this granularity, in nanoseconds, as on ext4.
const TICK_NS: i64 = 4_000_000;

#[derive(Debug, Clone)]
struct Inode {
    live: Bytes,
    /// What the disk certainly holds; `None` while nothing was synced.
    durable: Option<Bytes>,
    mtime_ns: i64,
    ctime_ns: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    File(u64),
    /// Where it leads is what the file of that number holds.
    Link(u64),
    Dir,
}

#[derive(Debug, Clone, Default)]
struct Dir {
    live: BTreeMap<String, Entry>,
    durable: BTreeMap<String, Entry>,
    inode: u64,
    mtime_ns: i64,
}

/// How two names are ordered. Most are two characters long and were written just now: a call of the library, which
/// reads more than that, takes longer than looking at each.
fn order(one: &str, other: &str) -> Ordering {
    one.bytes().cmp(other.bytes())
}

/// The way through the names of one directory, from the first to the last.
struct Walk<'d, 'n> {
    /// Which directory, below the one that was asked about.
    below: &'n str,
    /// The name that was looked for last.
    last: &'n str,
    entries: Peekable<btree_map::Iter<'d, String, Entry>>,
}

impl<'n> Walk<'_, 'n> {
    /// Goes on to a name, which comes after the last one.
    fn find(&mut self, name: &'n str) -> Option<Entry> {
        self.last = name;
        while let Some((known, entry)) = self.entries.peek() {
            match order(known, name) {
                Ordering::Less => self.entries.next(),
                Ordering::Equal => return Some(**entry),
                Ordering::Greater => return None,
            };
        }
        None
    }
}

/// One disk.
#[derive(Debug, Clone)]
pub struct DiskImage {
    dirs: HashMap<String, Dir, Fast>,
    inodes: HashMap<u64, Inode, Fast>,
    last: u64,
    /// There may be links. Hardly any disk has some, and without them no path needs a second look.
    linked: bool,
}

/// The time that a file gets for something that happens now.
fn tick(now_ns: i64) -> i64 {
    now_ns - now_ns.rem_euclid(TICK_NS)
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{}: no such file or directory", path.display()))
}

fn not_a_directory(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotADirectory, format!("{}: not a directory", path.display()))
}

/// Simulated paths are text: absolute, and without anything that would have to be resolved but links.
fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

/// Directory and name.
fn split(path: &Path) -> (&str, &str) {
    match text(path).rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((dir, name)) => (dir, name),
        None => ("", text(path)),
    }
}

impl Default for DiskImage {
    fn default() -> Self {
        let root = Dir { inode: 2, ..Dir::default() };
        let dirs = HashMap::from_iter([("/".to_owned(), root)]);
        DiskImage { dirs, inodes: HashMap::default(), last: 2, linked: false }
    }
}

impl DiskImage {
    fn new_inode(&mut self, bytes: Vec<u8>, now_ns: i64) -> u64 {
        self.last += 1;
        let at = tick(now_ns);
        let node = Inode { live: Rc::new(bytes), durable: None, mtime_ns: at, ctime_ns: at };
        self.inodes.insert(self.last, node);
        self.last
    }

    fn dir_mut(&mut self, dir: &str) -> io::Result<&mut Dir> {
        self.dirs.get_mut(dir).ok_or_else(|| not_found(Path::new(dir)))
    }

    fn entry(&self, path: &Path) -> Option<Entry> {
        self.at(&self.way(path).ok()?)
    }

    /// What is at a path that leads through no link.
    fn at(&self, path: &Path) -> Option<Entry> {
        let (dir, name) = split(path);
        self.dirs.get(dir)?.live.get(name).copied()
    }

    fn file(&self, path: &Path) -> io::Result<u64> {
        match self.entry(path) {
            Some(Entry::File(inode)) => Ok(inode),
            Some(Entry::Link(_) | Entry::Dir) => {
                let text = format!("{}: not a regular file", path.display());
                Err(io::Error::new(io::ErrorKind::InvalidData, text))
            }
            None => Err(not_found(path)),
        }
    }

    /// The whole file, live.
    ///
    /// # Errors
    /// It is not there or no file.
    pub fn read(&self, path: &Path) -> io::Result<Bytes> {
        Ok(Rc::clone(&self.inodes[&self.file(path)?].live))
    }

    /// `lstat`.
    #[must_use]
    pub fn stat(&self, path: &Path) -> Option<Stat> {
        let path = &*self.way(path).ok()?;
        let (dir, name) = split(path);
        match self.dirs.get(dir).and_then(|dir| dir.live.get(name)) {
            Some(Entry::File(inode)) => Some(self.stat_file(*inode, FileKind::File)),
            Some(Entry::Link(inode)) => Some(self.stat_file(*inode, FileKind::Other)),
            // The root has no name in any directory.
            _ => self.dirs.get(text(path)).map(|dir| Stat {
                size: 4096,
                mtime_ns: dir.mtime_ns,
                ctime_ns: dir.mtime_ns,
                inode: dir.inode,
                kind: FileKind::Dir,
            }),
        }
    }

    fn stat_file(&self, inode: u64, kind: FileKind) -> Stat {
        let node = &self.inodes[&inode];
        Stat { size: node.live.len() as u64, mtime_ns: node.mtime_ns, ctime_ns: node.ctime_ns, inode, kind }
    }

    /// `lstat` of many names below one directory. Every command asks for some hundred of them in the order in which
    /// they stand in their directories, so each directory is gone through once.
    ///
    /// # Errors
    /// Something else is in the place of the directory.
    pub fn stat_many(&self, dir: &Path, names: &[&str]) -> io::Result<Vec<Option<Stat>>> {
        let dir = &*self.way(dir)?;
        if !self.dirs.contains_key(text(dir)) {
            self.nothing_at(dir)?;
        } else if self.linked {
            return Ok(names.iter().map(|name| self.stat(&dir.join(name))).collect());
        }
        let mut path = format!("{}/", text(dir).trim_end_matches('/'));
        let begin = path.len();
        let mut walk: Option<Walk<'_, '_>> = None;
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            let (below, last) = name.rsplit_once('/').unwrap_or(("", name));
            path.truncate(begin);
            if walk
                .as_ref()
                .is_none_or(|walk| order(walk.below, below).is_ne() || order(walk.last, last).is_ge())
            {
                path.push_str(below);
                let dir = if path == "/" { "/" } else { path.trim_end_matches('/') };
                let entries = self.dirs.get(dir).map(|dir| dir.live.iter().peekable());
                walk = entries.map(|entries| Walk { below, last: "", entries });
                path.truncate(begin);
            }
            found.push(walk.as_mut().and_then(|walk| walk.find(last)).and_then(|entry| match entry {
                Entry::File(inode) => Some(self.stat_file(inode, FileKind::File)),
                Entry::Link(inode) => Some(self.stat_file(inode, FileKind::Other)),
                Entry::Dir => {
                    path.push_str(name);
                    self.stat(Path::new(&path))
                }
            }));
        }
        Ok(found)
    }

    /// Names and kinds, sorted; an absent directory is empty.
    ///
    /// # Errors
    /// Something else is in its place.
    pub fn list(&self, dir: &Path) -> io::Result<Vec<(String, FileKind)>> {
        let kind = |entry: &Entry| match entry {
            Entry::File(_) => FileKind::File,
            Entry::Link(_) => FileKind::Other,
            Entry::Dir => FileKind::Dir,
        };
        let dir = &*self.way(dir)?;
        match self.dirs.get(text(dir)) {
            Some(dir) => Ok(dir.live.iter().map(|(name, entry)| (name.clone(), kind(entry))).collect()),
            None => self.nothing_at(dir).map(|()| Vec::new()),
        }
    }

    /// The file that a lock is on, made where it is not there.
    ///
    /// # Errors
    /// It cannot be made, or is no file.
    pub fn lock_file(&mut self, path: &Path, now_ns: i64) -> io::Result<u64> {
        if self.entry(path).is_none() {
            self.create(path, Vec::new(), now_ns)?;
        }
        self.file(path)
    }

    /// Creates a directory and its parents; says whether it is new.
    ///
    /// # Errors
    /// Something else is in its place.
    pub fn create_dir(&mut self, dir: &Path, now_ns: i64) -> io::Result<bool> {
        let above = split(dir).0;
        let dir = &*self.way(dir)?;
        if self.dirs.contains_key(text(dir)) {
            return Ok(false);
        }
        let (parent, name) = split(dir);
        if !self.dirs.contains_key(parent) {
            // By the path that was given: where a link leads nowhere, nothing is made there.
            self.create_dir(Path::new(above), now_ns)?;
        }
        if matches!(self.entry(dir), Some(Entry::File(_) | Entry::Link(_))) {
            return Err(not_a_directory(dir));
        }
        self.link(parent, name, Entry::Dir, now_ns)?;
        self.last += 1;
        let inode = self.last;
        self.dirs.insert(text(dir).to_owned(), Dir { inode, mtime_ns: tick(now_ns), ..Dir::default() });
        Ok(true)
    }

    fn link(&mut self, dir: &str, name: &str, entry: Entry, now_ns: i64) -> io::Result<()> {
        let dir = self.dir_mut(dir)?;
        dir.live.insert(name.to_owned(), entry);
        dir.mtime_ns = tick(now_ns);
        Ok(())
    }

    /// A new file; fails where the name is taken.
    ///
    /// # Errors
    /// The directory is not there, or the name is taken.
    pub fn create(&mut self, path: &Path, bytes: Vec<u8>, now_ns: i64) -> io::Result<()> {
        let path = &*self.way(path)?;
        self.is_free(path)?;
        let inode = self.new_inode(bytes, now_ns);
        let (dir, name) = split(path);
        self.link(dir, name, Entry::File(inode), now_ns)
    }

    fn is_free(&mut self, path: &Path) -> io::Result<()> {
        let (dir, name) = split(path);
        if self.dir_mut(dir)?.live.contains_key(name) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, path.display().to_string()));
        }
        Ok(())
    }

    /// Changes a file in place, as an editor that does not replace it.
    ///
    /// # Errors
    /// It is not there or no file.
    pub fn overwrite(&mut self, path: &Path, bytes: Vec<u8>, now_ns: i64) -> io::Result<()> {
        let inode = self.file(path)?;
        if let Some(node) = self.inodes.get_mut(&inode) {
            node.live = Rc::new(bytes);
            node.mtime_ns = tick(now_ns).max(node.mtime_ns + 1);
            node.ctime_ns = node.mtime_ns;
        }
        Ok(())
    }

    /// Appends, creating the file where it is not there.
    ///
    /// # Errors
    /// The directory is not there.
    pub fn append(&mut self, path: &Path, bytes: &[u8], now_ns: i64) -> io::Result<()> {
        match self.file(path) {
            Ok(inode) => {
                let mut all = self.inodes[&inode].live.to_vec();
                all.extend_from_slice(bytes);
                self.overwrite(path, all, now_ns)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.create(path, bytes.to_vec(), now_ns)
            }
            Err(error) => Err(error),
        }
    }

    /// `fsync` of a file.
    ///
    /// # Errors
    /// It is not there or no file.
    pub fn sync_file(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.file(path)?;
        if let Some(node) = self.inodes.get_mut(&inode) {
            node.durable = Some(Rc::clone(&node.live));
        }
        Ok(())
    }

    /// Replaces `to` by `from`, in one directory.
    ///
    /// # Errors
    /// `from` is not there, they lie in different directories, or one of them is a directory.
    pub fn rename(&mut self, from: &Path, to: &Path, now_ns: i64) -> io::Result<()> {
        let (entry, inode) = match self.entry(from) {
            Some(entry @ (Entry::File(inode) | Entry::Link(inode))) => (entry, inode),
            _ => self.file(from).map(|inode| (Entry::File(inode), inode))?,
        };
        if split(from).0 != split(to).0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not within one directory"));
        }
        if let Some(Entry::Dir) = self.entry(to) {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, to.display().to_string()));
        }
        let (from, to) = (&*self.way(from)?, &*self.way(to)?);
        let ((dir, old), (_, new)) = (split(from), split(to));
        self.dir_mut(dir)?.live.remove(old);
        if let Some(node) = self.inodes.get_mut(&inode) {
            node.ctime_ns = tick(now_ns);
        }
        self.link(dir, new, entry, now_ns)
    }

    /// `fsync` of a directory: its names are durable from now on.
    ///
    /// # Errors
    /// It is not there.
    pub fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        let dir = &*self.way(dir)?;
        let dir = self.dir_mut(text(dir))?;
        dir.durable.clone_from(&dir.live);
        Ok(())
    }

    /// `syncfs`.
    pub fn sync_all(&mut self) {
        for dir in self.dirs.values_mut() {
            dir.durable = dir.live.clone();
        }
        for node in self.inodes.values_mut() {
            node.durable = Some(Rc::clone(&node.live));
        }
    }

    /// Removes a file or a link; absent is fine.
    ///
    /// # Errors
    /// It is a directory.
    pub fn remove(&mut self, path: &Path, now_ns: i64) -> io::Result<()> {
        let path = &*self.way(path)?;
        let (dir, name) = split(path);
        match self.entry(path) {
            None => Ok(()),
            Some(Entry::Dir) => Err(io::Error::new(io::ErrorKind::IsADirectory, path.display().to_string())),
            Some(Entry::File(_) | Entry::Link(_)) => {
                let dir = self.dir_mut(dir)?;
                dir.live.remove(name);
                dir.mtime_ns = tick(now_ns);
                Ok(())
            }
        }
    }

    /// Removes an empty directory; absent is fine.
    ///
    /// # Errors
    /// It is not empty, or no directory.
    pub fn remove_dir(&mut self, path: &Path, now_ns: i64) -> io::Result<()> {
        let path = &*self.way(path)?;
        let Some(dir) = self.dirs.get(text(path)) else { return self.nothing_at(path) };
        if !dir.live.is_empty() {
            return Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, path.display().to_string()));
        }
        self.dirs.remove(text(path));
        let (parent, name) = split(path);
        let parent = self.dir_mut(parent)?;
        parent.live.remove(name);
        parent.mtime_ns = tick(now_ns);
        Ok(())
    }

    /// The power goes: what is left is one of the images that the disk may hold.
    pub fn lose_power(&mut self, dice: &mut Dice) {
        let mut paths: Vec<String> = self.dirs.keys().cloned().collect();
        paths.sort();
        for path in &paths {
            let Some(dir) = self.dirs.get_mut(path) else { continue };
            let names: Vec<String> = dir.live.keys().chain(dir.durable.keys()).cloned().collect();
            for name in names {
                let (live, durable) = (dir.live.get(&name).copied(), dir.durable.get(&name).copied());
                if live != durable && dice.chance(0.5) {
                    match durable {
                        Some(entry) => dir.live.insert(name, entry),
                        None => dir.live.remove(&name),
                    };
                }
            }
            dir.durable = dir.live.clone();
        }
        self.drop_unreachable();
        let mut nodes: Vec<u64> = self.inodes.keys().copied().collect();
        nodes.sort_unstable();
        for inode in nodes {
            let Some(node) = self.inodes.get_mut(&inode) else { continue };
            if node.durable.as_ref() != Some(&node.live) {
                node.live = Rc::new(torn(node.durable.as_deref(), &node.live, dice));
            }
            node.durable = Some(Rc::clone(&node.live));
        }
    }

    /// Forgets directories and files that no name leads to.
    fn drop_unreachable(&mut self) {
        let mut open = vec!["/".to_owned()];
        let (mut dirs, mut files) = (Vec::new(), std::collections::HashSet::new());
        while let Some(path) = open.pop() {
            let Some(dir) = self.dirs.get(&path) else { continue };
            for (name, entry) in &dir.live {
                match entry {
                    Entry::Dir => open.push(format!("{}/{name}", path.trim_end_matches('/'))),
                    Entry::File(inode) | Entry::Link(inode) => {
                        files.insert(*inode);
                    }
                }
            }
            dirs.push(path);
        }
        let keep: std::collections::HashSet<String> = dirs.into_iter().collect();
        self.dirs.retain(|path, _| keep.contains(path));
        self.inodes.retain(|inode, _| files.contains(inode));
    }

    /// Forgets what no name, live or durable, leads to: long runs replace files a hundred thousand times.
    pub fn tidy(&mut self) {
        let used: std::collections::HashSet<u64> = self
            .dirs
            .values()
            .flat_map(|dir| dir.live.values().chain(dir.durable.values()))
            .filter_map(|entry| match entry {
                Entry::File(inode) | Entry::Link(inode) => Some(*inode),
                Entry::Dir => None,
            })
            .collect();
        self.inodes.retain(|inode, _| used.contains(inode));
    }

    /// Every file below a directory with its bytes, by path.
    #[must_use]
    pub fn files_below(&self, dir: &Path) -> BTreeMap<PathBuf, Bytes> {
        let mut found = BTreeMap::new();
        let dirs = self.dirs.iter().map(|(path, one)| (Path::new(path), one));
        for (path, one) in dirs.filter(|(path, _)| path.starts_with(dir)) {
            for (name, entry) in &one.live {
                if let Entry::File(inode) = entry {
                    found.insert(path.join(name), Rc::clone(&self.inodes[inode].live));
                }
            }
        }
        found
    }
}

/// What may be left of a file whose newest bytes were not synced.
fn torn(durable: Option<&Vec<u8>>, live: &[u8], dice: &mut Dice) -> Vec<u8> {
    match dice.below(5) {
        0 => live.to_vec(),
        1 => durable.cloned().unwrap_or_default(),
        2 => live[..dice.below(live.len() as u64 + 1) as usize].to_vec(),
        3 => {
            let cut = dice.below(live.len() as u64 + 1) as usize;
            live.iter().enumerate().map(|(at, byte)| if at < cut { *byte } else { 0 }).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIR: &str = "/a/b";

    fn written(synced_file: bool, synced_dir: bool) -> DiskImage {
        let mut disk = DiskImage::default();
        let dir = Path::new(DIR);
        disk.create_dir(dir, 0).unwrap();
        disk.create(&dir.join("x"), b"old".to_vec(), 0).unwrap();
        disk.sync_all();
        disk.create(&dir.join(".tmp"), b"new bytes".to_vec(), 0).unwrap();
        if synced_file {
            disk.sync_file(&dir.join(".tmp")).unwrap();
        }
        disk.rename(&dir.join(".tmp"), &dir.join("x"), 0).unwrap();
        if synced_dir {
            disk.sync_dir(dir).unwrap();
        }
        disk
    }

    fn after_power_loss(disk: &DiskImage) -> std::collections::BTreeSet<Vec<u8>> {
        (0..300)
            .map(|seed| {
                let mut disk = disk.clone();
                disk.lose_power(&mut Dice::new(seed));
                disk.read(&Path::new(DIR).join("x")).unwrap().to_vec()
            })
            .collect()
    }

    #[test]
    fn each_missing_sync_bites_and_with_both_nothing_is_lost() {
        assert_eq!(after_power_loss(&written(true, true)), [b"new bytes".to_vec()].into());
        assert_eq!(after_power_loss(&written(true, false)), [b"new bytes".to_vec(), b"old".to_vec()].into());
        let torn = after_power_loss(&written(false, true));
        assert!(torn.len() > 5, "a file whose bytes were not synced may be cut anywhere: {}", torn.len());
    }

    #[test]
    fn many_names_at_once_are_what_each_is_alone() {
        let mut disk = DiskImage::default();
        for dir in ["/a/b/00", "/a/b/02", "/a/b/x"] {
            disk.create_dir(Path::new(dir), 0).unwrap();
            disk.create(&Path::new(dir).join("f"), dir.as_bytes().to_vec(), 0).unwrap();
            disk.create(&Path::new(dir).join("h"), b"h".to_vec(), 0).unwrap();
        }
        let names = [
            "00", "01", "02", "02", "x", "y", "00", "00/e", "00/f", "00/g", "00/h", "00/f", "01/f", "02/h",
            "x",
        ];
        let dir = Path::new(DIR);
        let alone: Vec<Option<Stat>> = names.iter().map(|name| disk.stat(&dir.join(name))).collect();
        let many = |dir: &str, names: &[&str]| disk.stat_many(Path::new(dir), names).unwrap();
        assert_eq!(many(DIR, &names), alone);
        assert_eq!(many("/", &["a", "b"]), [disk.stat(Path::new("/a")), None]);
        assert_eq!(many("/none", &["a", "b/c"]), [None, None]);
        let mut linked = disk.clone();
        linked.create_link(Path::new("/link"), Path::new("/a"), 0).unwrap();
        assert_eq!(linked.stat_many(dir, &names).unwrap(), alone);
        assert_eq!(linked.stat_many(Path::new("/link/b"), &names).unwrap(), alone);
    }

    /// The story: the simulated disk had no links, so what the library does with those of a hostile tree was tried on
    /// real disks only, which never lose power.
    #[test]
    fn the_name_of_a_link_can_be_lost_and_come_back_but_where_it_leads_is_never_torn() {
        let link = PathBuf::from("/a/b/link");
        let after = |synced: bool, removed: bool| {
            let mut disk = DiskImage::default();
            disk.create_dir(Path::new(DIR), 0).unwrap();
            disk.sync_all();
            disk.create_link(&link, Path::new("/a"), 0).unwrap();
            if synced {
                disk.sync_dir(Path::new(DIR)).unwrap();
            }
            if removed {
                disk.remove(&link, 0).unwrap();
            }
            let mut seen = std::collections::BTreeSet::new();
            for seed in 0..100 {
                let mut disk = disk.clone();
                disk.lose_power(&mut Dice::new(seed));
                disk.tidy();
                let there = disk.stat(&link).is_some();
                // The way through it is open as long as its name is there.
                assert_eq!(disk.stat(&link.join("b")).map(|stat| stat.kind), there.then_some(FileKind::Dir));
                seen.insert(there);
            }
            Vec::from_iter(seen)
        };
        assert_eq!(after(true, false), [true]);
        assert_eq!(after(false, false), [false, true]);
        assert_eq!(after(true, true), [false, true]);
        assert_eq!(after(false, true), [false]);
    }

    #[test]
    fn a_directory_without_a_durable_name_takes_its_files_along() {
        let mut disk = DiskImage::default();
        disk.sync_all();
        disk.create_dir(Path::new(DIR), 0).unwrap();
        disk.create(&Path::new(DIR).join("x"), b"bytes".to_vec(), 0).unwrap();
        disk.sync_file(&Path::new(DIR).join("x")).unwrap();
        disk.sync_dir(Path::new(DIR)).unwrap();
        let gone = (0..100).filter(|seed| {
            let mut disk = disk.clone();
            disk.lose_power(&mut Dice::new(*seed));
            disk.read(&Path::new(DIR).join("x")).is_err()
        });
        assert!(gone.count() > 10);
    }
}
