//! Taking over many new files at once: what a rebuilt index, a fresh clone or a restored copy brings.
//!
//! A file that holds exactly what git knows, or that git does not know at all, needs no lock and no look at
//! the repository of its own; one walk of the tree answers for all. The rest goes the careful way.

use std::collections::{HashMap, HashSet};

use crate::protocol::id::TaskId;
use crate::store::bulk::{self, Fit, Raw};
use crate::store::layout;
use crate::store::place::{self, Place};
use crate::store::tasks::Publish;
use crate::sync::names::TRACKING_BRANCH;
use crate::sync::shared;
use crate::world::Oid;

use super::error::{Error, Result};
use super::queue::Queue;

/// Fewer new files than this are looked at one by one.
const MANY: usize = 64;
/// Files that are read, judged and admitted together: a few megabytes.
const CHUNK: usize = 1_024;

/// What is left to do after many files were taken over.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Files to be looked at one by one.
    pub(super) ids: Vec<(TaskId, Place)>,
    /// Whether something that was taken over waits to be published.
    pub(super) waiting: bool,
}

/// Takes over new files as far as that is plain.
pub(super) fn take_over(q: &Queue, ids: Vec<(TaskId, Place)>) -> Result<Left> {
    if ids.len() < MANY {
        return Ok(Left { ids, waiting: false });
    }
    let known = Known::of(q)?;
    let mut left = Left::default();
    let mut judged: Vec<Fit> = Vec::new();
    let mut read: Vec<(Raw, Publish)> = Vec::new();
    let mut chunks = ids.chunks(CHUNK);
    let mut durable = false;
    loop {
        let chunk = chunks.next();
        if chunk.is_none() && read.is_empty() && judged.is_empty() {
            return Ok(left);
        }
        // Decoding takes as long as everything else together, so a second thread does it meanwhile.
        let files = std::mem::take(&mut read);
        let (fits, others) = std::thread::scope(|scope| {
            let judging = scope.spawn(move || bulk::judge(files));
            if left.waiting && !durable {
                // Nobody but this file system has them, and whoever wrote them may have died before its last step.
                q.store.make_durable(&q.world).map_err(|e| Error::from_store(&e))?;
                durable = true;
            }
            q.store.admit_new(&judged).map_err(|e| Error::from_store(&e))?;
            for (id, place) in chunk.unwrap_or_default() {
                match known.classify(q, id, *place) {
                    Some((raw, publish)) => {
                        left.waiting |= publish == Publish::Waiting;
                        read.push((raw, publish));
                    }
                    None => left.ids.push((id.clone(), *place)),
                }
            }
            judging.join().map_err(|_| Error::failure("the thread that reads files has stopped"))
        })?;
        judged = fits;
        left.ids.extend(others);
    }
}

/// What git knows of all tasks.
struct Known {
    blobs: HashMap<String, Oid>,
    leased: HashSet<TaskId>,
    archived: HashSet<TaskId>,
}

impl Known {
    fn of(q: &Queue) -> Result<Known> {
        let failed = |e| Error::failure(format!("{e}"));
        let branch = if q.is_shared() { TRACKING_BRANCH } else { &q.names.branch };
        let head = q.world.objects.get_ref(branch).map_err(failed)?;
        let entries = q.world.objects.diff(None, head).map_err(failed)?;
        // What is no plain file gets an id that no bytes have: such a task is looked at by itself.
        let blobs: HashMap<String, Oid> = entries
            .into_iter()
            .filter_map(|change| Some((change.path, change.new?)))
            .map(|(path, entry)| (path, if entry.is_file { entry.oid } else { Oid::default() }))
            .collect();
        let in_archive = |path: &String| match place::parse(path)?.ok()? {
            (id, Place::Archive(_)) => Some(id),
            (_, Place::Tasks) => None,
        };
        let archived = blobs.keys().filter_map(in_archive).collect();
        let leases = if q.is_shared() {
            shared::known_leases(&q.cx()).map_err(|e| Error::from_sync(&e))?
        } else {
            Vec::new()
        };
        Ok(Known { blobs, archived, leased: leases.into_iter().map(|(id, _)| id).collect() })
    }

    /// Reads a file and says whether it waits to be published; `None` if that takes a closer look.
    fn classify(&self, q: &Queue, id: &TaskId, place: Place) -> Option<(Raw, Publish)> {
        if self.leased.contains(id) || (place == Place::Tasks && self.archived.contains(id)) {
            return None;
        }
        let raw = q.store.read_raw(&q.world, id, place)?;
        match self.blobs.get(&place.tree_path(id)) {
            None if place != Place::Tasks => None,
            None => Some((raw, Publish::Waiting)),
            // A file in both places, here or on the branch, is looked at with care.
            Some(_) if place != Place::Tasks && self.blobs.contains_key(&layout::tree_path(id)) => None,
            Some(oid) if *oid == raw.oid => Some((raw, Publish::Published)),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{self, InitRequest, Options};
    use crate::protocol::task::{Definition, Status};
    use crate::usecase::{add, claim, read};

    fn open(state: &std::path::Path) -> Queue {
        machine::open(&Options {
            state: state.to_owned(),
            session: Some("s".to_owned()),
            no_sync: false,
            ..Default::default()
        })
        .unwrap()
    }

    /// The index of a queue is deleted together with some of what was in it: everything is found again, a
    /// hand edit among many new files is still an edit, and damage is still damage.
    #[test]
    fn a_lost_index_is_rebuilt_from_files_and_git() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        machine::init(&InitRequest { state: state.clone(), ..InitRequest::default() }).unwrap();
        let id = |n: usize| TaskId::parse(&format!("T-{n:03}")).unwrap();
        let task =
            |n: usize| (Some(id(n)), Definition { title: format!("task {n}"), ..Definition::default() });
        let mut q = open(&state);
        add::add_all(&mut q, (0..200).map(task).collect()).unwrap();
        claim::claim(&mut q, &id(7), &claim::Terms::default()).unwrap();
        let before = read::list(&mut q, &read::Filter::default()).unwrap();
        let (file, broken, index) =
            (q.store.layout.task(&id(3)), q.store.layout.task(&id(5)), q.store.layout.index());
        drop(q);
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replacen("title: task 3", "title: task three", 1)).unwrap();
        std::fs::write(&broken, "format: 1\nid: [").unwrap();
        std::fs::remove_file(&index).unwrap();

        let mut q = open(&state);
        let after = read::list(&mut q, &read::Filter::default()).unwrap();
        assert_eq!(after.len(), 199);
        for old in before.iter().filter(|old| *old.id() != id(3) && *old.id() != id(5)) {
            assert!(after.contains(old), "{}", old.id());
        }
        let edited = q.load(&id(3)).unwrap();
        assert_eq!((edited.def().title.as_str(), edited.history().len()), ("task three", 2));
        assert_eq!(q.load(&id(7)).unwrap().status(), Status::InProgress);
        assert!(q.store.problem_of(&id(5)).unwrap().is_some());
        assert_eq!(q.store.unpublished().unwrap(), []);
    }

    /// Files that git has never seen are committed by the command that finds them.
    #[test]
    fn many_files_that_git_does_not_know_are_committed() {
        let dir = tempfile::tempdir().unwrap();
        let (here, there) = (dir.path().join("a/state"), dir.path().join("b/state"));
        for state in [&here, &there] {
            machine::init(&InitRequest { state: state.clone(), ..InitRequest::default() }).unwrap();
        }
        let task = |n| (None, Definition { title: format!("task {n}"), ..Definition::default() });
        let added = add::add_all(&mut open(&here), (0..100).map(task).collect()).unwrap();
        let (from, to) = (open(&here), open(&there));
        for one in &added {
            let target = to.store.layout.task(one.task.id());
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::copy(from.store.layout.task(one.task.id()), target).unwrap();
        }
        drop(to);
        let q = open(&there);
        let head = q.world.objects.get_ref(&q.names.branch).unwrap().unwrap();
        for one in &added {
            assert_eq!(q.load(one.task.id()).unwrap(), one.task);
            assert!(q.world.objects.entry(head, &layout::tree_path(one.task.id())).unwrap().is_some());
        }
        assert_eq!(q.store.unpublished().unwrap(), []);
    }
}
