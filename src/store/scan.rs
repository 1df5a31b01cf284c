//! Notices what happened to task files behind our back: edits, new files, files that vanished.
//!
//! Our own writes put the stat of the file into the index, so a file whose stat is another one was touched
//! by somebody else. A small queue is looked at as a whole. In a large one the directories show what was
//! added, removed or replaced (every careful editor replaces), and a slice of the files is looked at in
//! turn for edits in place. What cannot be looked at is unknown, never absent. The archive is compared month by
//! month, and only where a folder changed.

mod archive;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::index::{Dir, DirStamp, Index, IndexError, Known};
use super::layout::{Layout, parse_entry, shard_name, shard_of};
use super::place::Place;
use crate::protocol::id::TaskId;
use crate::protocol::time::Timestamp;
use crate::world::{Disk, FileKind, Stat};

/// Up to so many known tasks every file is looked at by every scan.
pub const ALWAYS: usize = 2_000;
/// Directories in the slice that a scan of a larger queue looks at in any case…
const SLICE_DIRS: usize = 8;
/// … as long as they hold not many more files than this.
const SLICE_FILES: usize = 512;
/// A directory that changed so recently may change again within the same tick of the file system's clock.
const RACY_NS: i64 = 20_000_000;

/// How much to look at.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// What an ordinary command looks at.
    Usual {
        /// Tasks that the command is about: their files are looked at in any case.
        named: &'a [TaskId],
        /// Any number that differs from scan to scan (random, or a counter): it chooses the slice.
        turn: u64,
    },
    /// Only the files of these tasks: the rest was looked at a moment ago.
    Named(&'a [TaskId]),
    /// Only what the folders show, which is all but edits in place: the files were looked at a moment ago.
    Folders,
    /// Everything.
    Full,
}

/// Something below `tasks/` or `archive/` that is not as the index knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// Where.
    pub path: PathBuf,
    /// Whose file it is or claims to be.
    pub id: Option<TaskId>,
    /// Where the file of a task would lie that has this path.
    pub place: Place,
    /// What was noticed.
    pub what: What,
}

/// What was noticed about a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A task's file of which the index knows nothing.
    New,
    /// A file with another stat: its bytes may have changed.
    Changed,
    /// A known file is certainly not there.
    Vanished,
    /// Not where or how a task's file is named; the text says why.
    Misnamed(String),
    /// A directory, link, pipe or device in the place of a file, or no directory in the place of one.
    NotAFile,
    /// It could not be looked at, so nothing is known; the text says why.
    Unreadable(String),
    /// A file that is being written, or that a killed process left behind.
    Temporary,
}

/// What a scan found.
#[derive(Debug, Default)]
pub struct Seen {
    /// What is not as the index knows it, one report per path, in the order of the paths.
    pub suspects: Vec<Suspect>,
    /// Folders that changed and in which everything is as the index knows it, as they were before they were
    /// listed: once that is recorded ([`Index::put_dir_stamps`]), a scan does not list them again.
    pub clean: Vec<(Dir, DirStamp)>,
}

/// Compares the files below `tasks/` and `archive/` with the index. `now` is the wall clock, compared only with the times of
/// directories. The caller puts what it finds about each suspect into the index.
///
/// # Errors
/// [`IndexError`]; what the disk refuses is reported as [`What::Unreadable`].
pub fn scan(
    disk: &dyn Disk,
    layout: &Layout,
    index: &mut Index,
    now: Timestamp,
    scope: Scope<'_>,
) -> Result<Seen, IndexError> {
    let mut scan = Scan { disk, layout, index, found: Vec::new() };
    if let Scope::Named(ids) = scope {
        scan.named(ids)?;
        return Ok(Seen { suspects: tidy(scan.found), clean: Vec::new() });
    }
    let recorded = scan.index.dir_stamps()?.into_iter().collect();
    let dirs = scan.directories();
    let everything = match scope {
        Scope::Full => true,
        Scope::Folders => false,
        Scope::Usual { .. } | Scope::Named(_) => !scan.index.knows_more_than(ALWAYS)?,
    };
    let mut known = if everything { scan.known_by_dir()? } else { BTreeMap::new() };
    let slice = match scope {
        Scope::Usual { turn, .. } if !everything => scan.slice(turn)?,
        _ => BTreeSet::new(),
    };
    let mut jobs = Vec::new();
    for (shard, stat) in dirs.iter().enumerate() {
        let shard = shard as u8;
        let Look::At(stat) = stat else { continue };
        let stamp = stat.map(DirStamp::from);
        let changed = matches!(scope, Scope::Full) || differs(&recorded, Dir::Shard(shard), stamp);
        let files = match (everything, changed || slice.contains(&shard)) {
            (true, _) => known.remove(&shard).unwrap_or_default(),
            (false, true) => scan.index.known_in(shard)?,
            (false, false) => continue,
        };
        jobs.push(Job { shard, stamp: stamp.filter(|_| changed), files });
    }
    let mut strange = scan.files(jobs.iter().flat_map(|job| job.files.iter().map(|file| (job.shard, file))));
    let mut clean = Vec::new();
    for Job { shard, stamp, files } in &jobs {
        let Some(stamp) = stamp else { continue };
        if scan.entries(*shard, files) {
            strange.insert(*shard);
        }
        // Recorded only when nothing was found: the next scan must find it again if we die before the
        // caller has dealt with it, and what stays wrong is reported by every command.
        if !strange.contains(shard) && !is_racy(stamp, now) {
            clean.push((Dir::Shard(*shard), *stamp));
        }
    }
    scan.root(&recorded, now, matches!(scope, Scope::Full), &mut clean);
    scan.archive(&recorded, now, matches!(scope, Scope::Full), &mut clean)?;
    if let Scope::Usual { named, .. } = scope
        && !everything
    {
        scan.named(named)?;
    }
    Ok(Seen { suspects: tidy(scan.found), clean })
}

/// Whether an entry could be looked at, and what was there.
#[derive(Debug, Clone, Copy)]
enum Look {
    At(Option<Stat>),
    Failed,
}

/// One of the 256 directories that is looked into.
struct Job {
    shard: u8,
    /// Its present stamp, if its entries are to be compared too.
    stamp: Option<DirStamp>,
    /// Known files that are looked at.
    files: Vec<Known>,
}

struct Scan<'a> {
    disk: &'a dyn Disk,
    layout: &'a Layout,
    index: &'a mut Index,
    found: Vec<Suspect>,
}

impl Scan<'_> {
    /// The 256 directories; whatever is there but no directory is reported and passed over.
    fn directories(&mut self) -> Vec<Look> {
        let names: Vec<String> = (0..=u8::MAX).map(shard_name).collect();
        let root = self.layout.tasks();
        let looks = self.look(&root, &names.iter().map(String::as_str).collect::<Vec<_>>());
        let strange = |look: &Look| matches!(look, Look::At(Some(stat)) if stat.kind != FileKind::Dir);
        let mut sorted = Vec::with_capacity(looks.len());
        for (name, look) in names.iter().zip(looks) {
            if strange(&look) {
                self.note(root.join(name), None, What::NotAFile);
                sorted.push(Look::Failed);
            } else {
                sorted.push(look);
            }
        }
        sorted
    }

    /// Stats many names in a directory. If that fails, each name alone, so that one bad entry hides no other.
    fn look(&mut self, dir: &Path, names: &[&str]) -> Vec<Look> {
        if let Ok(stats) = self.disk.stat_many(dir, names)
            && stats.len() == names.len()
        {
            return stats.into_iter().map(Look::At).collect();
        }
        let mut looks = Vec::with_capacity(names.len());
        for name in names {
            let path = dir.join(name);
            looks.push(match self.disk.stat(&path) {
                Ok(stat) => Look::At(stat),
                Err(e) => {
                    self.note(path, None, What::Unreadable(e.to_string()));
                    Look::Failed
                }
            });
        }
        looks
    }

    fn known_by_dir(&self) -> Result<BTreeMap<u8, Vec<Known>>, IndexError> {
        let mut by_dir: BTreeMap<u8, Vec<Known>> = BTreeMap::new();
        for (shard, known) in self.index.all_known()? {
            by_dir.entry(shard).or_default().push(known);
        }
        Ok(by_dir)
    }

    /// The directories whose turn it is: neighbours, fewer of them the fuller they are.
    fn slice(&self, turn: u64) -> Result<BTreeSet<u8>, IndexError> {
        let first = (turn % 256) as u8;
        let size = self.index.known_in(first)?.len().max(1);
        let count = (SLICE_FILES / size).clamp(1, SLICE_DIRS);
        Ok((0..count).map(|step| first.wrapping_add(step as u8)).collect())
    }

    /// Compares known files, all through one handle on `tasks/`; gives the directories in which one differs.
    /// The directories themselves have been looked at: a link in place of one is never followed.
    fn files<'k>(&mut self, files: impl Iterator<Item = (u8, &'k Known)>) -> BTreeSet<u8> {
        let mut strange = BTreeSet::new();
        let files: Vec<(u8, &Known)> = files.collect();
        if files.is_empty() {
            return strange;
        }
        let names: Vec<String> =
            files.iter().map(|(shard, known)| format!("{shard:02x}/{}.yaml", known.id)).collect();
        let root = self.layout.tasks();
        let looks = self.look(&root, &names.iter().map(String::as_str).collect::<Vec<_>>());
        for (((shard, known), name), look) in files.iter().zip(&names).zip(looks) {
            let what = match look {
                Look::At(Some(stat)) if stat == known.stat => continue,
                Look::At(Some(stat)) if stat.kind != FileKind::File => What::NotAFile,
                Look::At(Some(_)) => What::Changed,
                Look::At(None) => What::Vanished,
                Look::Failed => continue,
            };
            strange.insert(*shard);
            self.note(root.join(name), Some(known.id.clone()), what);
        }
        strange
    }

    /// Looks for entries of one directory that are not known files; says whether there are any.
    fn entries(&mut self, shard: u8, files: &[Known]) -> bool {
        let before = self.found.len();
        let dir = self.layout.shard(shard);
        let entries = match self.disk.list(&dir) {
            Ok(entries) => entries,
            Err(e) => {
                self.note(dir, None, What::Unreadable(e.to_string()));
                return true;
            }
        };
        let mut owners: HashMap<String, (&TaskId, bool)> =
            files.iter().map(|known| (known.id.folded(), (&known.id, true))).collect();
        let mut arrived = Vec::new();
        for (name, _) in entries.iter().filter(|(name, _)| name.starts_with(super::atomic::TEMP_PREFIX)) {
            self.note(dir.join(name), None, What::Temporary);
        }
        for (name, kind) in entries.iter().filter(|(name, _)| !is_private(name)) {
            match parse_entry(&shard_name(shard), name) {
                Ok(id) => arrived.push((name, *kind, id)),
                Err(e) => self.note(dir.join(name), None, What::Misnamed(e.reason)),
            }
        }
        for (name, kind, id) in &arrived {
            let (owner, is_known) = *owners.entry(id.folded()).or_insert((id, false));
            let what = match kind {
                _ if owner != id => What::Misnamed(format!("it differs from {owner}.yaml in case only")),
                _ if is_known => continue,
                FileKind::File => What::New,
                FileKind::Dir | FileKind::Other => What::NotAFile,
            };
            self.note(dir.join(name), Some(id.clone()), what);
        }
        self.found.len() > before
    }

    /// Looks for entries of `tasks/` that are none of the 256 directories.
    fn root(
        &mut self,
        recorded: &HashMap<Dir, DirStamp>,
        now: Timestamp,
        full: bool,
        clean: &mut Vec<(Dir, DirStamp)>,
    ) {
        let root = self.layout.tasks();
        let stamp = match self.disk.stat(&root) {
            Ok(stat) => stat.map(DirStamp::from),
            Err(e) => return self.note(root, None, What::Unreadable(e.to_string())),
        };
        let Some(stamp) = stamp.filter(|stamp| full || differs(recorded, Dir::Tasks, Some(*stamp))) else {
            return;
        };
        let entries = match self.disk.list(&root) {
            Ok(entries) => entries,
            Err(e) => return self.note(root, None, What::Unreadable(e.to_string())),
        };
        let is_shard = |name: &str| u8::from_str_radix(name, 16).is_ok_and(|shard| shard_name(shard) == name);
        let strange: Vec<_> =
            entries.into_iter().filter(|(name, _)| !is_shard(name) && !is_private(name)).collect();
        if strange.is_empty() && !is_racy(&stamp, now) {
            clean.push((Dir::Tasks, stamp));
        }
        for (name, _) in strange {
            let reason = "tasks lie in `tasks/<xx>/<id>.yaml`".to_owned();
            self.note(root.join(name), None, What::Misnamed(reason));
        }
    }

    /// Looks at the files that a command is about, as far as they are known.
    fn named(&mut self, ids: &[TaskId]) -> Result<(), IndexError> {
        let known = self.index.known_of(ids)?;
        let inside: Vec<(u8, &Known)> = known
            .iter()
            .filter(|file| file.place == Place::Tasks)
            .map(|file| (shard_of(&file.id), file))
            .filter(|(shard, _)| self.is_directory_or_absent(*shard))
            .collect();
        self.files(inside.into_iter());
        self.archived_files(&known);
        Ok(())
    }

    fn is_directory_or_absent(&self, shard: u8) -> bool {
        let stat = self.disk.stat(&self.layout.shard(shard));
        matches!(stat, Ok(stat) if stat.is_none_or(|stat| stat.kind == FileKind::Dir))
    }

    fn note(&mut self, path: PathBuf, id: Option<TaskId>, what: What) {
        self.found.push(Suspect { path, id, place: Place::Tasks, what });
    }
}

fn differs(recorded: &HashMap<Dir, DirStamp>, dir: Dir, now: Option<DirStamp>) -> bool {
    recorded.get(&dir).copied() != now
}

fn is_racy(stamp: &DirStamp, now: Timestamp) -> bool {
    let now_ns = now.0.saturating_mul(1_000_000);
    stamp.mtime_ns.max(stamp.ctime_ns) > now_ns.saturating_sub(RACY_NS)
}

/// Names that editors and atomic writes use for a moment, and that nobody takes for a task.
fn is_private(name: &str) -> bool {
    name.starts_with(['.', '#']) || name.ends_with('~')
}

/// One report per path, in the order of the paths.
fn tidy(mut found: Vec<Suspect>) -> Vec<Suspect> {
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.dedup_by(|a, b| a.path == b.path);
    found
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
