//! What others force: the branch back or away, a lease ref away, a backup in the place of everything.
//!
//! What was acknowledged may be gone from the remote then, and no program can help it at that moment. What must hold is
//! what SPEC §6 says: no task is lost that a machine still has, and no machine hands out an epoch at or below one
//! that it has seen. So it is noted, at the moment of the force, what each machine had.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use orch::protocol::id::{OpId, TaskId};
use orch::protocol::op::Op;
use orch::protocol::task::Task;
use orch::store::codec;
use orch::store::layout::{self, Layout};
use orch::world::Oid;

use super::{BRANCH, LEASES, Oracle, Told, claim_of, machine_of, task_of};
use crate::sim::kernel::{Kernel, LONGEST, MINUTE, Micros, Moved};

/// Where a machine remembers the branch, and the lease refs.
const KNOWN: &str = "refs/orch/remote/";

/// Within this somebody has noticed the alarm of each machine and has had its state published again.
const DECISION: Micros = 30 * MINUTE;

/// What is known of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Forced {
    last: Option<Micros>,
    touched: BTreeSet<TaskId>,
    /// Operations that went from the remote when no machine had them that comes back.
    nobody_had: HashSet<OpId>,
    /// Operations that a machine had, at the moment of a force, that comes back.
    comes_back: HashSet<OpId>,
    /// What went from the remote since the last reckoning, and which machine alone publishes it again: an act that stood on
    /// a lease ref only is, to others, a claim that was withdrawn.
    gone: HashMap<OpId, Option<usize>>,
    /// The highest epoch of each task that each machine had seen, and the claim that it saw there.
    seen: BTreeMap<usize, BTreeMap<TaskId, Seen>>,
    /// The last renewal of each lease whose ref or task was forced: watchdogs may have seen an older one only.
    beats: HashMap<(TaskId, u64), u64>,
    /// What lease refs have held.
    held: HashSet<Oid>,
}

/// An epoch and its claim.
type Seen = (u64, Option<OpId>);

impl Forced {
    /// Whether a ref was forced that held something of a task.
    pub(super) fn touched(&self, id: &TaskId) -> bool {
        self.touched.contains(id)
    }

    /// Whether it is so recent that a command may end now that has read what was there before.
    pub(super) fn just_now(&self, at: Micros) -> bool {
        self.last.is_some_and(|last| at <= last + LONGEST)
    }

    /// Whether an operation need not come back: nobody had it who could have brought it; or it is a claim, which holds
    /// nothing but a right that whoever forced its lease ref away has ended (its holder is refused when it acts); or it
    /// stood on a lease ref only, which does not fit the branch that somebody published again from an older memory, and
    /// its own machine never came back to publish it or to keep it.
    pub(super) fn excuses(&self, told: &Told, gone: &[bool]) -> bool {
        let stranded = || gone[told.machine] && !self.comes_back.contains(&told.op);
        self.nobody_had.contains(&told.op)
            || (self.touched(&told.task) && (told.verb == "claim" || stranded()))
    }

    /// Whether the renewal of a lease that is known is none that everybody could see since something was forced.
    pub(super) fn hid(&self, lease: &(TaskId, u64), beat: u64) -> bool {
        self.beats.get(lease).is_some_and(|forced| beat <= *forced)
    }

    /// A lease ref holds this now. What it held before, and somebody puts back after a force, renews nothing: a watchdog
    /// may have watched it all the time.
    pub(super) fn holds(&mut self, object: Oid, task: &Task) {
        let again = !self.held.insert(object);
        if let Some(lease) = task.lease().filter(|_| again && self.touched(task.id())) {
            self.hides((task.id().clone(), lease.epoch), lease.beat);
        }
    }

    /// Up to this beat a renewal of a lease is none that everybody could see. It never goes back: an older beat that somebody
    /// published again, and a second force, do not make a new one of what was there before both (seed 721620).
    fn hides(&mut self, lease: (TaskId, u64), beat: u64) {
        let known = self.beats.entry(lease).or_default();
        *known = (*known).max(beat);
    }

    /// When people have decided on every machine.
    pub(super) fn decided(&self) -> Micros {
        self.last.map_or(0, |last| last + DECISION)
    }
}

impl Oracle {
    /// Somebody has just moved refs by force; `core` are the machines that come back for certain.
    pub fn forced(&mut self, kernel: &mut Kernel, core: &[bool]) {
        self.look(kernel);
        self.forced.last = Some(kernel.now);
        let mut gone = std::mem::take(&mut self.forced.gone);
        for (at, core) in core.iter().enumerate() {
            let seen = self.forced.seen.entry(at).or_default();
            for task in had(kernel, at) {
                let before = seen.entry(task.id().clone()).or_default();
                if task.epoch() > before.0 {
                    *before = (task.epoch(), claim_of(&task, task.epoch()));
                }
                if *core {
                    for id in task.history().iter().map(|op| op.id) {
                        drop_if(&mut gone, id, |of| of.is_none_or(|machine| machine == at));
                        self.forced.comes_back.insert(id);
                    }
                }
            }
        }
        self.forced.nobody_had.extend(gone.into_keys());
    }

    /// One ref that was moved by force: what is there now is where everything goes on.
    pub(super) fn was_forced(&mut self, kernel: &Kernel, moved: &Moved) {
        if let Some(id) = moved.name.strip_prefix(LEASES).and_then(|id| TaskId::parse(id).ok()) {
            let before = self.leases.remove(&id);
            let branch = self.branch.get(&id);
            let alone = |op: &&Op| branch.is_none_or(|task| !task.has_op(op));
            for op in before.iter().flat_map(Task::history).filter(alone) {
                self.forced.gone.entry(op.id).or_insert_with(|| machine_of(&op.machine));
            }
            self.touch(id);
        }
        if moved.name != BRANCH {
            return;
        }
        let changes = match kernel.pool.diff(&kernel.remote, moved.old, moved.new) {
            Ok(changes) => changes,
            Err(error) => return self.broken(4, moved.at, format!("the state branch is torn: {error}")),
        };
        for change in &changes {
            let Some(id) = task_of(change) else { continue };
            let before = self.branch.remove(&id);
            self.forced.gone.extend(before.iter().flat_map(Task::history).map(|op| (op.id, None)));
            self.touch(id);
        }
        for change in changes {
            if let (Some(id), Some(entry)) = (task_of(&change), change.new)
                && let Some(task) = self.decode(kernel, moved.at, &change.path, entry.oid)
            {
                task.history().iter().for_each(|op| drop_if(&mut self.forced.gone, op.id, |_| true));
                self.branch.insert(id, task);
            }
        }
    }

    fn touch(&mut self, id: TaskId) {
        for (lease, renewed) in self.renewed.iter().filter(|(lease, _)| lease.0 == id) {
            self.forced.hides(lease.clone(), renewed.beat);
        }
        self.forced.touched.insert(id);
    }

    /// A claim on a task whose past was forced away: above what its machine has seen, whatever others know.
    pub(super) fn above_what_was_seen(&mut self, at: Micros, task: &Task, epoch: u64, machine: usize) {
        let told = (epoch, claim_of(task, epoch));
        let seen = self.forced.seen.entry(machine).or_default().entry(task.id().clone()).or_default();
        // One that nobody was told of was withdrawn, and left its epoch to the next one.
        let void = seen.1.is_none_or(|claim| self.told.iter().all(|told| told.op != claim));
        if seen.0 < epoch || (void && seen.0 == epoch) {
            *seen = told;
        } else if *seen != told {
            let text = format!(
                "{}: epoch {epoch} was told on m{machine}, which had seen another claim with epoch {}",
                task.id(),
                seen.0
            );
            self.broken(1, at, text);
        }
    }
}

fn drop_if(gone: &mut HashMap<OpId, Option<usize>>, op: OpId, comes_back: impl Fn(Option<usize>) -> bool) {
    if gone.get(&op).is_some_and(|of| comes_back(*of)) {
        gone.remove(&op);
    }
}

/// What a machine has of all tasks: what it remembers of the remote, and its files.
fn had(kernel: &Kernel, at: usize) -> Vec<Task> {
    let machine = &kernel.machines[at];
    let mut found = Vec::new();
    let task =
        |oid: Oid| codec::decode(&kernel.pool.blob(&machine.repo, oid).ok()?).ok().map(|read| read.task);
    for (name, commit) in machine.repo.refs.iter().filter(|(name, _)| name.starts_with(KNOWN)) {
        match name.strip_prefix(KNOWN).and_then(|name| name.strip_prefix("leases/")) {
            Some(id) => {
                let Ok(id) = TaskId::parse(id) else { continue };
                let entry = kernel.pool.entry(&machine.repo, *commit, &layout::tree_path(&id));
                found.extend(entry.ok().flatten().and_then(|entry| task(entry.oid)));
            }
            None => {
                let files = kernel.pool.diff(&machine.repo, None, Some(*commit)).unwrap_or_default();
                found.extend(
                    files
                        .iter()
                        .filter(|file| task_of(file).is_some())
                        .filter_map(|file| task(file.new?.oid)),
                );
            }
        }
    }
    let files = machine.disk.files_below(&Layout::new(&machine.state).tasks());
    found.extend(files.values().filter_map(|bytes| codec::decode(bytes).ok()).map(|read| read.task));
    found
}
