//! Every session that ever acted on this queue, as the histories of the tasks tell it.

use std::collections::BTreeMap;

use crate::protocol::id::TaskId;
use crate::protocol::op::{Action, Op};
use crate::protocol::task::Task;
use crate::protocol::time::Timestamp;
use crate::store::tasks::FileState;

use super::error::Result;
use super::queue::Queue;
use super::survey::{self, Progress};

/// A session and what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub session: String,
    /// Its machine.
    pub machine: String,
    /// Its first operation, by its own clock.
    pub first_at: Timestamp,
    /// Its last operation, or its last heartbeat if that is newer, by its own clock.
    pub last_at: Timestamp,
    /// The word for its last operation.
    pub last_act: &'static str,
    /// Operations.
    pub operations: u64,
    /// Tasks that it holds now.
    pub held: u64,
    /// Those tasks, with their epochs.
    pub holds: Vec<(TaskId, u64)>,
    /// The last checkpoint that it left, on whatever task.
    pub checkpoint: Option<Left>,
    /// Claims.
    pub claimed: u64,
    /// Tasks that it finished.
    pub done: u64,
    /// Attempts that it reported as failed.
    pub failed: u64,
    /// Attempts that were taken from it because it had vanished.
    pub lost: u64,
}

/// A checkpoint that a session left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// On which task.
    pub task: TaskId,
    /// In which epoch.
    pub epoch: u64,
    /// When, by its own clock.
    pub at: Timestamp,
    /// What it said.
    pub note: String,
}

/// Every session that ever acted, the one that acted last first. Reads every task.
///
/// # Errors
/// A file cannot be read.
pub fn sessions(q: &Queue, progress: Progress<'_>) -> Result<Vec<Session>> {
    let mut known = Known::default();
    survey::each(q, progress, &mut |_, state| {
        if let FileState::Task { task, .. } | FileState::Edited { task } = state {
            known.task(&task);
        }
        Ok(())
    })?;
    let mut all: Vec<Session> = known.0.into_values().collect();
    all.sort_by(|a, b| b.last_at.cmp(&a.last_at).then_with(|| a.session.cmp(&b.session)));
    Ok(all)
}

#[derive(Default)]
struct Known(BTreeMap<(String, String), Session>);

impl Known {
    fn task(&mut self, task: &Task) {
        let mut holder: Option<(String, String)> = None;
        for op in task.history() {
            let session = self.acted(op);
            if let Action::Checkpoint { epoch, note, .. } = &op.action
                && session.checkpoint.as_ref().is_none_or(|last| last.at <= op.at)
            {
                let (task, note) = (task.id().clone(), note.clone());
                session.checkpoint = Some(Left { task, epoch: *epoch, at: op.at, note });
            }
            match op.action {
                Action::Claim { .. } => session.claimed += 1,
                Action::Done { .. } => session.done += 1,
                Action::Fail { .. } => session.failed += 1,
                _ => {}
            }
            self.lost(op, holder.as_ref());
            match op.action {
                Action::Claim { .. } => holder = Some((op.by.clone(), op.machine.clone())),
                Action::Checkpoint { .. } => {}
                _ if op.action.based_on().is_some() => holder = None,
                _ => {}
            }
        }
        let Some(lease) = task.lease() else { return };
        if let Some(session) = self.0.get_mut(&(lease.session.clone(), lease.machine.clone())) {
            session.held += 1;
            session.holds.push((task.id().clone(), lease.epoch));
            if lease.renewed_at > session.last_at {
                session.last_at = lease.renewed_at;
                session.last_act = "heartbeat";
            }
        }
    }

    /// A takeover or a recovery takes the task from whoever held it.
    fn lost(&mut self, op: &Op, holder: Option<&(String, String)>) {
        if matches!(op.action, Action::Claim { .. } | Action::Recover { .. })
            && let Some(session) = holder.and_then(|holder| self.0.get_mut(holder))
        {
            session.lost += 1;
        }
    }

    fn acted(&mut self, op: &Op) -> &mut Session {
        let key = (op.by.clone(), op.machine.clone());
        let session = self.0.entry(key).or_insert_with(|| Session {
            session: op.by.clone(),
            machine: op.machine.clone(),
            first_at: op.at,
            last_at: op.at,
            last_act: op.action.verb(),
            operations: 0,
            held: 0,
            holds: Vec::new(),
            checkpoint: None,
            claimed: 0,
            done: 0,
            failed: 0,
            lost: 0,
        });
        session.operations += 1;
        session.first_at = session.first_at.min(op.at);
        if op.at >= session.last_at {
            session.last_at = op.at;
            session.last_act = op.action.verb();
        }
        session
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::task::Reason;
    use crate::usecase::holder::{self, Checkpoint, Failure};
    use crate::usecase::testing::{Yard, add, claim, finish, id};
    use crate::usecase::{gc, read, sync};

    /// What a session is in the middle of is shared with the next commit, by itself only, until it has ended that.
    #[test]
    fn a_session_leaves_its_checkpoint_for_itself() {
        let yard = Yard::shared();
        let (mut a, mut b) = (yard.queue("a"), yard.queue("b"));
        let note = |text: &str| Checkpoint { note: text.to_owned(), percent: None, file: None };
        add(&mut a, "A", &[]);
        add(&mut a, "B", &[]);
        assert_eq!(read::held_by_me(&mut a).unwrap_err().code, "holds_nothing");
        claim(&mut a, "A");
        assert_eq!(read::held_by_me(&mut a).unwrap(), id("A"));
        holder::checkpoint(&mut a, &id("A"), None, &note("half of it")).unwrap();
        let mine = |q: &Queue| q.store.session(&q.world, &a_session(), &a_machine(&yard));
        let files = |q: &Queue| q.store.list_local(&q.world, &q.store.layout.sessions()).unwrap().len();
        sync::sync(&mut b).unwrap();
        assert_eq!((mine(&a).map(|file| file.note), files(&b)), (Some("half of it".to_owned()), 0));
        add(&mut a, "C", &[]);
        sync::sync(&mut b).unwrap();
        assert_eq!((mine(&b), files(&b)), (mine(&a), 1));
        let told = mine(&b).unwrap();
        assert_eq!((told.task, told.epoch), (id("A"), 1));
        // The other machine does not write it, also not when it has another version.
        b.set_session(a_session());
        claim(&mut b, "B");
        holder::checkpoint(&mut b, &id("B"), None, &note("somebody else")).unwrap();
        finish(&mut b, "C");
        sync::sync(&mut b).unwrap();
        sync::sync(&mut a).unwrap();
        assert_eq!((mine(&a).unwrap().note.as_str(), files(&a)), ("half of it", 2));
        holder::release(&mut a, &id("A"), None, None, None).unwrap();
        add(&mut a, "D", &[]);
        for q in [&mut b, &mut a] {
            sync::sync(q).unwrap();
            assert_eq!((mine(q), files(q)), (None, 1));
        }
    }

    /// The lease of a session was taken from it while it was away: it still finds what it was in the middle of, until
    /// that is long ago.
    #[test]
    fn a_session_finds_what_it_has_lost() {
        let yard = Yard::local();
        let mut q = yard.queue("a");
        add(&mut q, "A", &[]);
        claim(&mut q, "A");
        let note = Checkpoint { note: "half of it".to_owned(), percent: None, file: None };
        holder::checkpoint(&mut q, &id("A"), None, &note).unwrap();
        crate::usecase::operator::block(&mut q, &id("A"), None, "wait").unwrap();
        assert_eq!(read::held_by_me(&mut q).unwrap(), id("A"));
        assert!(q.notices().iter().any(|notice| notice.contains("no longer holds A")));
        assert_eq!(gc::gc(&mut q, false).unwrap().sessions, 0);
        q.settings.retention.runs = std::time::Duration::ZERO;
        while q.store.session(&q.world, &q.session, &q.machine).is_some() {
            gc::gc(&mut q, false).unwrap();
        }
        assert!(read::held_by_me(&mut q).is_err());
    }

    fn a_session() -> String {
        "agent:a".to_owned()
    }

    fn a_machine(yard: &Yard) -> String {
        let text = std::fs::read_to_string(yard.state("a").join(".git/orch/machine")).unwrap();
        text.trim().to_owned()
    }

    #[test]
    fn sessions_are_told_by_what_the_histories_hold() {
        let yard = Yard::local();
        let mut q = yard.queue("a");
        for name in ["A", "B", "C"] {
            add(&mut q, name, &[]);
        }
        q.set_session("worker:1");
        finish(&mut q, "A");
        claim(&mut q, "B");
        let note = Checkpoint { note: "half of it".to_owned(), percent: None, file: None };
        holder::checkpoint(&mut q, &id("B"), None, &note).unwrap();
        claim(&mut q, "C");
        let how = Failure {
            notes: "no".to_owned(),
            reason: Reason::Error,
            permanent: false,
            retry_after: None,
            bundle: None,
        };
        holder::fail(&mut q, &id("C"), None, &how).unwrap();
        let mut heard = Vec::new();
        let found = sessions(&q, &mut |at, of| heard.push((at, of))).unwrap();
        assert_eq!(heard, [(0, 3), (3, 3)]);
        let one = |name: &str| found.iter().find(|s| s.session == name).unwrap();
        let worker = one("worker:1");
        assert_eq!((worker.claimed, worker.done, worker.failed, worker.held), (3, 1, 1, 1));
        assert_eq!((worker.operations, worker.lost, worker.last_act), (6, 0, "fail"));
        assert_eq!(worker.holds, [(id("B"), 1)]);
        let left = worker.checkpoint.as_ref().unwrap();
        assert_eq!((&left.task, left.epoch, left.note.as_str()), (&id("B"), 1, "half of it"));
        assert_eq!((one("agent:a").operations, one("agent:a").last_act), (3, "add"));
        assert_eq!(found[0].session, "worker:1");
    }
}
