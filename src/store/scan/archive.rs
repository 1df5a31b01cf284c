//! The archive: a few folders that hardly ever change, with files that nobody has a reason to touch.
//!
//! A folder whose stamp is the recorded one is not looked into, so that the size of the archive costs an
//! ordinary command nothing; an edit in place, which leaves the folder as it was, is found by a full scan.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use super::{Scan, Suspect, What, differs, is_private, is_racy};
use crate::protocol::id::TaskId;
use crate::protocol::time::Timestamp;
use crate::store::atomic::TEMP_PREFIX;
use crate::store::index::{Dir, DirStamp, IndexError, Known};
use crate::store::place::{Month, Place, parse_entry};
use crate::world::{FileKind, Stat};

impl Scan<'_> {
    /// Compares the archive with the index.
    pub(super) fn archive(
        &mut self,
        recorded: &HashMap<Dir, DirStamp>,
        now: Timestamp,
        full: bool,
        clean: &mut Vec<(Dir, DirStamp)>,
    ) -> Result<(), IndexError> {
        let before = self.found.len();
        let root = self.layout.archive();
        let Some(stat) = self.folder(&root) else { return Ok(()) };
        let stamp = stat.map(DirStamp::from);
        let mut months: BTreeSet<Month> = self.index.months()?.into_iter().collect();
        months.extend(recorded.keys().filter_map(|dir| match dir {
            Dir::Month(month) => Some(*month),
            _ => None,
        }));
        let changed = full || differs(recorded, Dir::Archive, stamp);
        if changed && stamp.is_some() {
            months.extend(self.listed_months());
        }
        for month in months {
            self.month(month, recorded, now, full, clean)?;
        }
        // While a month needs a person or the caller, the list of months is not yet known to be complete.
        if let Some(stamp) = stamp.filter(|stamp| changed && !is_racy(stamp, now))
            && self.found.len() == before
        {
            clean.push((Dir::Archive, stamp));
        }
        Ok(())
    }

    /// A folder, or its absence; anything else is reported and passed over.
    fn folder(&mut self, path: &std::path::Path) -> Option<Option<Stat>> {
        let what = match self.disk.stat(path) {
            Ok(Some(stat)) if stat.kind != FileKind::Dir => What::NotAFile,
            Ok(stat) => return Some(stat),
            Err(e) => What::Unreadable(e.to_string()),
        };
        self.note(path.to_owned(), None, what);
        None
    }

    fn listed_months(&mut self) -> Vec<Month> {
        let root = self.layout.archive();
        let entries = match self.disk.list(&root) {
            Ok(entries) => entries,
            Err(e) => {
                self.note(root, None, What::Unreadable(e.to_string()));
                return Vec::new();
            }
        };
        let mut months = Vec::new();
        for (name, _) in entries.into_iter().filter(|(name, _)| !is_private(name)) {
            match Month::parse(&name) {
                Some(month) => months.push(month),
                None => {
                    let reason = "folders of the archive are named `yyyy-mm`".to_owned();
                    self.note(root.join(name), None, What::Misnamed(reason));
                }
            }
        }
        months
    }

    fn month(
        &mut self,
        month: Month,
        recorded: &HashMap<Dir, DirStamp>,
        now: Timestamp,
        full: bool,
        clean: &mut Vec<(Dir, DirStamp)>,
    ) -> Result<(), IndexError> {
        let dir = self.layout.month(month);
        let Some(stat) = self.folder(&dir) else { return Ok(()) };
        let stamp = stat.map(DirStamp::from);
        // A folder that is not there is compared in any case: all that is known of it has vanished.
        if !full && stamp.is_some() && !differs(recorded, Dir::Month(month), stamp) {
            return Ok(());
        }
        let before = self.found.len();
        let known = self.index.known_of_month(month)?;
        self.archived_files(&known);
        if let Some(stamp) = stamp {
            self.archived_entries(month, &known);
            if self.found.len() == before && !is_racy(&stamp, now) {
                clean.push((Dir::Month(month), stamp));
            }
        }
        Ok(())
    }

    /// Compares known files of the archive; those that lie elsewhere are passed over.
    pub(super) fn archived_files(&mut self, files: &[Known]) {
        let mut folders = HashMap::new();
        let files: Vec<&Known> = files
            .iter()
            .filter(|known| {
                // A link in the place of a folder is never followed.
                known.place.month().is_some_and(|month| {
                    *folders.entry(month).or_insert_with(|| self.is_month_or_absent(month))
                })
            })
            .collect();
        if files.is_empty() {
            return;
        }
        let root = self.layout.state().to_owned();
        let names: Vec<String> = files.iter().map(|known| known.place.tree_path(&known.id)).collect();
        let looks = self.look(&root, &names.iter().map(String::as_str).collect::<Vec<_>>());
        for ((known, name), look) in files.iter().zip(&names).zip(looks) {
            let what = match look {
                super::Look::At(Some(stat)) if stat == known.stat => continue,
                super::Look::At(Some(stat)) if stat.kind != FileKind::File => What::NotAFile,
                super::Look::At(Some(_)) => What::Changed,
                super::Look::At(None) => What::Vanished,
                super::Look::Failed => continue,
            };
            self.note_at(root.join(name), known.id.clone(), known.place, what);
        }
    }

    fn is_month_or_absent(&self, month: Month) -> bool {
        let plain = |stat: &Option<Stat>| stat.is_none_or(|stat| stat.kind == FileKind::Dir);
        [self.layout.archive(), self.layout.month(month)]
            .iter()
            .all(|dir| self.disk.stat(dir).is_ok_and(|stat| plain(&stat)))
    }

    /// Looks for entries of one month that are not known files.
    fn archived_entries(&mut self, month: Month, known: &[Known]) {
        let dir = self.layout.month(month);
        let entries = match self.disk.list(&dir) {
            Ok(entries) => entries,
            Err(e) => return self.note(dir, None, What::Unreadable(e.to_string())),
        };
        let mut owners: HashMap<String, (TaskId, bool)> =
            known.iter().map(|known| (known.id.folded(), (known.id.clone(), true))).collect();
        for (name, kind) in entries {
            let path = dir.join(&name);
            if name.starts_with(TEMP_PREFIX) {
                self.note(path, None, What::Temporary);
                continue;
            }
            if is_private(&name) {
                continue;
            }
            let id = match parse_entry(month, &name) {
                Ok(id) => id,
                Err(e) => {
                    self.note(path, None, What::Misnamed(e.reason));
                    continue;
                }
            };
            let (owner, is_known) = owners.entry(id.folded()).or_insert_with(|| (id.clone(), false)).clone();
            let what = match kind {
                _ if owner != id => What::Misnamed(format!("it differs from {owner}.yaml in case only")),
                _ if is_known => continue,
                FileKind::File => What::New,
                FileKind::Dir | FileKind::Other => What::NotAFile,
            };
            self.note_at(path, id, Place::Archive(month), what);
        }
    }

    fn note_at(&mut self, path: PathBuf, id: TaskId, place: Place, what: What) {
        self.found.push(Suspect { path, id: Some(id), place, what });
    }
}
