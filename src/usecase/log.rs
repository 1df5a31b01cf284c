//! What was done, task by task or in the whole queue: the histories of the files, with what the register
//! refused.
//!
//! Operations of one task stand in the order in which they were applied. Between tasks they are ordered by
//! the clocks of those who acted, which only people read.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use crate::protocol::id::{OpId, TaskId};
use crate::protocol::op::Op;
use crate::protocol::task::Task;
use crate::protocol::time::Timestamp;
use crate::store::codec;
use crate::store::tasks::FileState;
use crate::sync::rejected;
use crate::world::Oid;

use super::error::{Error, Result};
use super::queue::Queue;
use super::{change, notice, read};

/// One operation of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The task.
    pub task: TaskId,
    /// What was done, by whom and when.
    pub op: Op,
    /// Why the register refused it, if it did: then it changed nothing.
    pub rejected: Option<String>,
}

/// Which operations to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Only those of this task.
    pub id: Option<TaskId>,
    /// Only those since this moment, by the clock of the one who acted.
    pub since: Option<Timestamp>,
    /// Only the newest ones, so many.
    pub limit: Option<usize>,
}

/// Where an operation stands between those of other tasks. A clock that stepped back does not move it
/// before its own predecessor.
type Place = (Timestamp, OpId);

/// Operations, newest last. With a limit only as many tasks are read as are needed for it.
///
/// # Errors
/// Not found (3) and damaged (8) for a named task; local files cannot be read.
pub fn log(q: &mut Queue, request: &Request) -> Result<Vec<Entry>> {
    let mut found = Newest { request, entries: Vec::new(), newest: BinaryHeap::new() };
    for one in rejected::operations(&q.cx()).map_err(|e| Error::from_sync(&e))? {
        let place = (one.op.at, one.op.id);
        found.put(place, Entry { task: one.task, op: one.op, rejected: Some(one.reason) });
    }
    match &request.id {
        Some(id) => found.task(&read::show(q, id)?),
        None => {
            // A file has no operations to stand among the others.
            for one in rejected::all(&q.cx()).map_err(|e| Error::from_sync(&e))? {
                if one.file.is_some() {
                    q.warn(format!("refused: {}: {}", one.what(), one.reason));
                }
            }
            for brief in q.store.briefs().map_err(|e| Error::from_store(&e))? {
                if found.is_older(brief.updated_at) {
                    break;
                }
                if let Some(task) = readable(q, &brief.id)? {
                    found.task(&task);
                }
            }
        }
    }
    Ok(found.finish())
}

/// The task in a file that can be read; what is wrong with others every command reports.
fn readable(q: &Queue, id: &TaskId) -> Result<Option<Task>> {
    match q.store.read(&q.world, id).map_err(|e| Error::from_store(&e))? {
        FileState::Task { task, .. } => Ok(Some(*task)),
        _ => Ok(None),
    }
}

/// The newest operations that were seen so far.
struct Newest<'r> {
    request: &'r Request,
    entries: Vec<(Place, Entry)>,
    /// The places of the newest ones, as many as the limit allows, oldest on top.
    newest: BinaryHeap<Reverse<Place>>,
}

impl Newest<'_> {
    fn task(&mut self, task: &Task) {
        for (place, op) in placed(task.history()) {
            self.put(place, Entry { task: task.id().clone(), op: op.clone(), rejected: None });
        }
    }

    fn put(&mut self, place: Place, entry: Entry) {
        let other = self.request.id.as_ref().is_some_and(|id| *id != entry.task);
        if other || self.request.since.is_some_and(|since| entry.op.at < since) {
            return;
        }
        if let Some(limit) = self.request.limit {
            self.newest.push(Reverse(place));
            if self.newest.len() > limit {
                self.newest.pop();
            }
            if self.newest.peek().is_none_or(|Reverse(oldest)| place < *oldest) {
                return;
            }
        }
        self.entries.push((place, entry));
    }

    /// Whether nothing of a task whose last operation was then can be among those to show.
    fn is_older(&self, updated: Timestamp) -> bool {
        let full = self.request.limit.is_some_and(|limit| self.newest.len() >= limit);
        let beaten = full && self.newest.peek().is_none_or(|Reverse((oldest, _))| updated < *oldest);
        beaten || self.request.since.is_some_and(|since| updated < since)
    }

    fn finish(mut self) -> Vec<Entry> {
        self.entries.sort_by_key(|(place, _)| *place);
        let excess = self.entries.len().saturating_sub(self.request.limit.unwrap_or(usize::MAX));
        self.entries.drain(..excess);
        self.entries.into_iter().map(|(_, entry)| entry).collect()
    }
}

fn placed(history: &[Op]) -> impl Iterator<Item = (Place, &Op)> {
    history.iter().scan((Timestamp(i64::MIN), None::<OpId>), |last, op| {
        let at = op.at.max(last.0);
        // Within one moment the order of the history counts, not that of random ids.
        let id = match last.1 {
            Some(before) if at == last.0 => op.id.max(before),
            _ => op.id,
        };
        *last = (at, Some(id));
        Some(((at, id), op))
    })
}

/// A place in the log of the queue from which one goes on: it tells what is new since the last look.
pub struct Cursor {
    id: Option<TaskId>,
    files: HashMap<TaskId, Oid>,
    /// Operations that were told, of tasks that changed since the start.
    told: HashMap<TaskId, HashSet<OpId>>,
    rejected: HashSet<OpId>,
    start: Timestamp,
}

impl Cursor {
    /// A cursor behind everything that is known now.
    ///
    /// # Errors
    /// Local files cannot be read.
    pub fn at_end(q: &mut Queue, id: Option<TaskId>) -> Result<Cursor> {
        let rejected = rejected::operations(&q.cx()).map_err(|e| Error::from_sync(&e))?;
        Ok(Cursor {
            files: files(q, id.as_ref())?,
            id,
            told: HashMap::new(),
            rejected: rejected.into_iter().map(|one| one.op.id).collect(),
            start: q.now(),
        })
    }

    /// Operations that are new since the last look, in the order of the log.
    ///
    /// # Errors
    /// Local files cannot be read.
    pub fn next(&mut self, q: &mut Queue) -> Result<Vec<Entry>> {
        notice::look(q, self.id.as_slice())?;
        let mut found = Vec::new();
        for (id, oid) in files(q, self.id.as_ref())? {
            let before = self.files.insert(id.clone(), oid);
            if before == Some(oid) {
                continue;
            }
            let Some(task) = readable(q, &id)? else { continue };
            let told = match self.told.remove(&id) {
                Some(told) => told,
                None => self.before_start(q, before, &task),
            };
            let fresh = placed(task.history()).filter(|(_, op)| !told.contains(&op.id));
            found.extend(
                fresh.map(|(at, op)| (at, Entry { task: id.clone(), op: op.clone(), rejected: None })),
            );
            self.told.insert(id, task.history().iter().map(|op| op.id).collect());
        }
        for one in rejected::operations(&q.cx()).map_err(|e| Error::from_sync(&e))? {
            if self.id.as_ref().is_none_or(|id| *id == one.task) && self.rejected.insert(one.op.id) {
                let place = (one.op.at, one.op.id);
                found.push((place, Entry { task: one.task, op: one.op, rejected: Some(one.reason) }));
            }
        }
        found.sort_by_key(|(place, _)| *place);
        Ok(found.into_iter().map(|(_, entry)| entry).collect())
    }

    /// What the file of a task had told when the cursor was made: git holds that version, as a rule. Where
    /// it does not (only the lease had moved), the time of the operations decides.
    fn before_start(&self, q: &Queue, before: Option<Oid>, task: &Task) -> HashSet<OpId> {
        let Some(oid) = before else { return HashSet::new() };
        let known = q.world.objects.blob(oid).ok().and_then(|bytes| codec::decode(&bytes).ok());
        match known {
            Some(known) => known.task.history().iter().map(|op| op.id).collect(),
            None => task.history().iter().filter(|op| op.at < self.start).map(|op| op.id).collect(),
        }
    }
}

/// Brings what other machines did, for a follower that waits on a quiet machine.
///
/// # Errors
/// Unreachable (75).
pub fn refresh(q: &mut Queue) -> Result<()> {
    if q.is_shared() && !q.no_sync {
        change::fetch_now(q).map_err(|e| Error::from_sync(&e))?;
    }
    Ok(())
}

/// The object of every file, or of one.
fn files(q: &Queue, id: Option<&TaskId>) -> Result<HashMap<TaskId, Oid>> {
    let all = q.store.briefs().map_err(|e| Error::from_store(&e))?;
    let wanted = all.into_iter().filter(|b| !b.quarantined && id.is_none_or(|id| *id == b.id));
    Ok(wanted.map(|brief| (brief.id, brief.oid)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usecase::testing::{Yard, add, claim, file, finish, id, replace};
    use crate::usecase::{edit, holder};

    fn told(entries: &[Entry]) -> Vec<String> {
        entries
            .iter()
            .map(|e| {
                let mark = if e.rejected.is_some() { "!" } else { "" };
                format!("{mark}{} {}", e.op.action.verb(), e.task)
            })
            .collect()
    }

    #[test]
    fn operations_of_one_task_and_of_all_stand_newest_last() {
        let yard = Yard::local();
        let mut q = yard.queue("a");
        add(&mut q, "A", &[]);
        add(&mut q, "B", &[]);
        finish(&mut q, "A");
        edit::note(&mut q, &id("B"), "hello").unwrap();
        let all = log(&mut q, &Request::default()).unwrap();
        assert_eq!(told(&all), ["add A", "add B", "claim A", "done A", "note B"]);
        let one = Request { id: Some(id("A")), ..Request::default() };
        assert_eq!(told(&log(&mut q, &one).unwrap()), ["add A", "claim A", "done A"]);
        let last = Request { limit: Some(2), ..Request::default() };
        assert_eq!(told(&log(&mut q, &last).unwrap()), ["done A", "note B"]);
        assert!(log(&mut q, &Request { limit: Some(0), ..Request::default() }).unwrap().is_empty());
        let since = Request { since: Some(all[3].op.at), ..Request::default() };
        let newer = log(&mut q, &since).unwrap();
        assert!(newer.len() < 5 && newer.ends_with(&all[3..]), "{newer:?}");
        let unknown = Request { id: Some(id("Z")), ..Request::default() };
        assert_eq!(log(&mut q, &unknown).unwrap_err().code, "not_found");
    }

    #[test]
    fn with_a_limit_only_the_tasks_that_matter_are_read() {
        let yard = Yard::local();
        let mut q = yard.queue("a");
        for n in 0..20 {
            add(&mut q, &format!("T{n}"), &[]);
        }
        // A file that cannot be read would show up if it were opened: its directory entry is a surprise.
        std::fs::remove_file(file(&q, "T0")).unwrap();
        std::fs::create_dir(file(&q, "T0")).unwrap();
        let last = Request { limit: Some(3), ..Request::default() };
        assert_eq!(told(&log(&mut q, &last).unwrap()), ["add T17", "add T18", "add T19"]);
    }

    #[test]
    fn a_cursor_tells_every_operation_once() {
        let yard = Yard::local();
        let mut q = yard.queue("a");
        add(&mut q, "A", &[]);
        claim(&mut q, "A");
        let mut cursor = Cursor::at_end(&mut q, None).unwrap();
        assert!(cursor.next(&mut q).unwrap().is_empty());
        let mut other = yard.queue("a");
        holder::heartbeat(&mut other, &id("A"), None, None).unwrap();
        assert!(cursor.next(&mut q).unwrap().is_empty(), "a heartbeat is no operation");
        add(&mut other, "B", &[]);
        replace(&file(&other, "A"), "\ntitle: title of A", "\ntitle: another");
        assert_eq!(told(&cursor.next(&mut q).unwrap()), ["add B", "edit A"]);
        assert!(cursor.next(&mut q).unwrap().is_empty());
        edit::note(&mut other, &id("A"), "x").unwrap();
        assert_eq!(told(&cursor.next(&mut q).unwrap()), ["note A"]);
    }

    #[test]
    fn what_the_register_refused_is_marked() {
        let yard = Yard::local();
        let mut q = yard.queue("a");
        add(&mut q, "A", &[]);
        let op = q.op(crate::protocol::op::Action::Note { text: "too late".to_owned() });
        rejected::keep(&q.cx(), &id("A"), &op, "it has ended").unwrap();
        assert_eq!(told(&log(&mut q, &Request::default()).unwrap()), ["add A", "!note A"]);
    }
}
