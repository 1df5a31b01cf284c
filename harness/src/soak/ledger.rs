//! What agents were told, written down by themselves as it was told: the record against which the queue is judged.
//! It knows nothing of how orch works.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::server::lock;

/// Something that an agent was told has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// Milliseconds of load since the run began.
    pub at: u64,
    /// The machine.
    pub machine: usize,
    /// The session.
    pub session: String,
    /// `add`, `claim`, `checkpoint`, `done`, `fail`, `edit`; `tampered` and `rolled_back` when the
    /// harness itself broke an assumption of orch.
    pub verb: String,
    /// The task.
    pub task: String,
    /// The epoch, 0 for additions.
    pub epoch: u64,
    /// Text that stands in the operation and nowhere else; empty for claims.
    pub token: String,
    /// Whether the remote had it already.
    pub published: bool,
}

/// All that was told.
pub struct Ledger {
    inner: Mutex<Inner>,
}

struct Inner {
    file: File,
    claims: BTreeMap<(String, u64), (usize, String)>,
    acknowledged: BTreeMap<String, Vec<Told>>,
    tampered: BTreeSet<String>,
    rolled_back: BTreeSet<String>,
}

impl Ledger {
    /// Opens the file and reads what an earlier part of the run wrote. A last line that is cut off was told to nobody
    /// that is still alive.
    ///
    /// # Errors
    /// The file cannot be read or written, or is not ours.
    pub fn open(path: &Path) -> Result<Ledger, String> {
        let shown = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let before = super::files::whole_lines(path)?;
        let file = File::options().create(true).append(true).open(path).map_err(|why| shown(&why))?;
        let (claims, acknowledged) = (BTreeMap::new(), BTreeMap::new());
        let (tampered, rolled_back) = (BTreeSet::new(), BTreeSet::new());
        let mut inner = Inner { file, claims, acknowledged, tampered, rolled_back };
        for line in before.lines() {
            let told: Told = serde_json::from_str(line).map_err(|why| shown(&why))?;
            inner.take(told);
        }
        Ok(Ledger { inner: Mutex::new(inner) })
    }

    /// Writes down what was told. What is wrong with it, if it contradicts what was told before.
    pub fn tell(&self, told: Told) -> Option<String> {
        let mut inner = lock(&self.inner);
        let mut line = serde_json::to_string(&told).unwrap_or_default();
        line.push('\n');
        // The record in memory is what this run is judged by; the file serves a resumed one.
        drop(inner.file.write_all(line.as_bytes()));
        inner.take(told)
    }

    /// The harness has broken an assumption of orch for a task: who held it is not judged any more.
    pub fn tamper(&self, task: &str, at: u64) {
        self.broke("tampered", task, at);
    }

    /// The harness has rolled the branch back over changes of a task: machines that had not seen them may give its epochs
    /// once more. Everything else is judged as ever.
    pub fn roll_back(&self, task: &str, at: u64) {
        self.broke("rolled_back", task, at);
    }

    fn broke(&self, verb: &str, task: &str, at: u64) {
        let text = String::new;
        let (session, token, verb) = (text(), text(), verb.to_owned());
        self.tell(Told {
            at,
            machine: 0,
            session,
            verb,
            task: task.to_owned(),
            epoch: 0,
            token,
            published: true,
        });
    }

    /// Whether the harness has deleted the lease ref of a task.
    #[must_use]
    pub fn tampered(&self, task: &str) -> bool {
        lock(&self.inner).tampered.contains(task)
    }

    /// Whether the harness made the remote forget who held an epoch of a task, by either of the above.
    #[must_use]
    pub fn forgotten(&self, task: &str) -> bool {
        lock(&self.inner).forgotten(task)
    }

    /// Whether a change that was told may lie under `rejected/` of its machine instead of the history of its task: what
    /// the register refused after it was kept without it, which is the promise for it; and where the remote was made to
    /// forget who held an epoch, and it was given again before those who remember could publish theirs: two histories of
    /// one epoch, of which one can stay.
    #[must_use]
    pub fn may_be_refused(&self, told: &Told) -> bool {
        !told.published || self.forgotten(&told.task)
    }

    /// Everything acknowledged that must stand in the history of its task, by task.
    #[must_use]
    pub fn acknowledged(&self) -> BTreeMap<String, Vec<Told>> {
        lock(&self.inner).acknowledged.clone()
    }
}

impl Inner {
    fn forgotten(&self, task: &str) -> bool {
        self.tampered.contains(task) || self.rolled_back.contains(task)
    }

    fn take(&mut self, told: Told) -> Option<String> {
        match told.verb.as_str() {
            "tampered" => {
                self.tampered.insert(told.task);
                None
            }
            "rolled_back" => {
                self.rolled_back.insert(told.task);
                None
            }
            "claim" => self.claim(&told),
            _ => {
                self.acknowledged.entry(told.task.clone()).or_default().push(told);
                None
            }
        }
    }

    fn claim(&mut self, told: &Told) -> Option<String> {
        let mine = (told.machine, told.session.clone());
        let key = (told.task.clone(), told.epoch);
        let other = self.claims.get(&key).filter(|other| **other != mine);
        if let Some((machine, session)) = other.filter(|_| !self.forgotten(&told.task)) {
            return Some(format!(
                "{} epoch {} was confirmed to {session} on m{machine} and to {} on m{}",
                told.task, told.epoch, told.session, told.machine
            ));
        }
        self.claims.insert(key, mine);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(verb: &str, session: &str, epoch: u64) -> Told {
        let (task, token) = ("T1".to_owned(), format!("token-{epoch}"));
        let (session, verb) = (session.to_owned(), verb.to_owned());
        Told { at: 1, machine: 1, session, verb, task, epoch, token, published: true }
    }

    #[test]
    fn one_epoch_given_to_two_sessions_is_seen_also_across_a_resume() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let ledger = Ledger::open(&path).unwrap();
        assert_eq!(ledger.tell(told("claim", "a", 1)), None);
        assert_eq!(ledger.tell(told("claim", "a", 1)), None, "claiming again is no second claim");
        assert_eq!(ledger.tell(told("done", "a", 1)), None);
        assert_eq!(ledger.tell(told("claim", "b", 2)), None);
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{\"at\": 3, \"mach")
            .unwrap();
        let ledger = Ledger::open(&path).unwrap();
        assert_eq!(ledger.acknowledged()["T1"].len(), 1);
        let twice = ledger.tell(told("claim", "c", 2)).unwrap();
        assert!(twice.contains("T1 epoch 2") && twice.contains("to b") && twice.contains("to c"), "{twice}");
        Ledger::open(&path).unwrap();
    }

    #[test]
    fn a_task_whose_ref_the_harness_deleted_is_not_judged_for_two_holders() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("l")).unwrap();
        ledger.tell(told("claim", "a", 1));
        ledger.tamper("T1", 5);
        assert!(ledger.tampered("T1"));
        assert_eq!(ledger.tell(told("claim", "b", 1)), None);
    }

    #[test]
    fn a_task_that_the_harness_rolled_back_may_have_two_holders_and_is_known_as_such_after_a_resume() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("l")).unwrap();
        ledger.tell(told("claim", "a", 1));
        ledger.roll_back("T1", 5);
        let ledger = Ledger::open(&dir.path().join("l")).unwrap();
        assert!(ledger.forgotten("T1") && !ledger.tampered("T1"));
        assert_eq!(ledger.tell(told("claim", "b", 1)), None);
        let other = Told { task: "T2".to_owned(), ..told("claim", "a", 1) };
        assert_eq!(ledger.tell(other.clone()), None);
        assert!(ledger.tell(Told { session: "b".to_owned(), ..other }).is_some(), "of others it is judged");
    }

    /// A run of ten minutes called a finish lost: it was on the remote, its lease ref was deleted by the harness before
    /// the fold, the next claim got the same epoch, and the machine of the first kept its finish under `rejected/`.
    #[test]
    fn a_finish_may_be_kept_aside_where_the_harness_deleted_a_ref_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("l")).unwrap();
        let done = told("done", "a", 1);
        assert!(!ledger.may_be_refused(&done), "the remote had it: it stays");
        assert!(ledger.may_be_refused(&Told { published: false, ..done.clone() }));
        ledger.tamper("T1", 5);
        assert!(ledger.may_be_refused(&done));
        assert!(!ledger.may_be_refused(&Told { task: "T2".to_owned(), ..done.clone() }));
        ledger.roll_back("T3", 6);
        assert!(ledger.may_be_refused(&Told { task: "T3".to_owned(), ..done }));
    }
}
