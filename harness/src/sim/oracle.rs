//! What must hold: SPEC §14, checked against the shared repository whenever one of its refs moves, against what
//! sessions were told, and against the files of machines.
//!
//! The remote's refs are the witness: the order in which they moved is the order in which things happened, so nothing
//! has to be searched for.

mod by_position;
mod files;
mod forced;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use orch::protocol::id::{OpId, TaskId};
use orch::protocol::invariant;
use orch::protocol::op::{Action, Op};
use orch::protocol::task::{Status, Task};
use orch::store::{codec, layout};
use orch::world::{Oid, TreeChange};

use self::forced::Forced;
use super::kernel::{Awake, Kernel, MINUTE, Micros, Moved, SECOND};

/// The state branch on the simulated remote.
pub const BRANCH: &str = "refs/heads/orch-state";
/// Lease refs on the simulated remote.
pub const LEASES: &str = "refs/orch/leases/";

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// Number of the promise in SPEC §14; 0 is liveness, 9 a panic, 10 a rule of §7.
    pub promise: u8,
    /// When, in microseconds of true time.
    pub at: Micros,
    /// What was seen.
    pub what: String,
}

/// Something that a session was told to have happened.
#[derive(Debug, Clone)]
struct Told {
    task: TaskId,
    op: OpId,
    by: String,
    verb: &'static str,
    machine: usize,
    published: bool,
}

#[derive(Debug, Clone)]
struct Holder {
    session: String,
    machine: usize,
}

/// How old a lease certainly is.
#[derive(Debug, Clone)]
struct Renewed {
    /// The ref that carries it moved at this time.
    landed: Micros,
    /// Time to live, microseconds.
    ttl: Micros,
    /// Which heartbeat it was, after which claim: a claim that was withdrawn leaves its epoch to the next one.
    beat: u64,
    claim: Option<OpId>,
    /// For how long each machine had been awake.
    seen: Vec<Awake>,
}

/// An act that a session was told to have happened.
pub struct Act<'a> {
    /// When its command began.
    pub begun: Micros,
    /// The task after it, as it was told.
    pub task: &'a Task,
    /// Whose it is.
    pub session: &'a str,
    /// Where it was made.
    pub machine: usize,
    /// Whether everybody sees it.
    pub published: bool,
    /// Whether it had happened before.
    pub repeated: bool,
}

/// Watches a simulation.
#[derive(Clone, Default)]
pub struct Oracle {
    /// Broken promises, in the order in which they were seen.
    pub violations: Vec<Violation>,
    branch: BTreeMap<TaskId, Task>,
    leases: BTreeMap<TaskId, Task>,
    told: Vec<Told>,
    holders: HashMap<(TaskId, u64), Holder>,
    renewed: HashMap<(TaskId, u64), Renewed>,
    dead: BTreeSet<(usize, u32, u64)>,
    /// Whose each operation is.
    ops: HashMap<OpId, (TaskId, String, &'static str)>,
    /// What others have forced.
    forced: Forced,
    /// Claims confirmed.
    pub claims: u64,
    /// Tasks that ended as done on the branch.
    pub finished: BTreeSet<TaskId>,
    /// Operations that were acknowledged.
    pub acknowledged: u64,
}

impl Oracle {
    /// Notes a broken promise.
    pub fn broken(&mut self, promise: u8, at: Micros, what: impl Into<String>) {
        if self.violations.len() < 20 {
            self.violations.push(Violation { promise, at, what: what.into() });
        }
    }

    /// Looks at every ref that moved since the last look.
    pub fn look(&mut self, kernel: &mut Kernel) {
        let written = kernel.written.as_mut().map(std::mem::take).unwrap_or_default();
        for file in written {
            self.file_written(kernel, &file);
        }
        for moved in std::mem::take(&mut kernel.moved) {
            if moved.forced {
                self.was_forced(kernel, &moved);
            } else if moved.name == BRANCH {
                self.branch_moved(kernel, &moved);
            } else if let Some(id) = moved.name.strip_prefix(LEASES).and_then(|id| TaskId::parse(id).ok()) {
                self.lease_moved(kernel, &id, &moved);
            }
        }
    }

    fn note_renewal(&mut self, at: Micros, awake: &[Awake], task: &Task) {
        let Some(lease) = task.lease() else { return };
        let key = (task.id().clone(), lease.epoch);
        // An operation that is withdrawn puts back what was there before, and renews nothing.
        let claim = claim_of(task, lease.epoch);
        // Where something was forced the ref may have begun anew with a beat that it had long before.
        let known = self.renewed.get(&key).filter(|known| !self.forced.hid(&key, known.beat));
        if known.is_some_and(|known| known.claim == claim && known.beat >= lease.beat) {
            return;
        }
        let claimed = matches!(task.history().last().map(|op| &op.action), Some(Action::Claim { .. }));
        if claimed && lease.beat > 0 && !self.renewed.contains_key(&key) {
            self.broken(6, at, format!("{}: the claim of epoch {} inherits a beat", task.id(), lease.epoch));
        }
        let seen = awake.to_vec();
        let ttl = lease.ttl.as_micros() as u64;
        self.renewed.insert(key, Renewed { landed: at, ttl, beat: lease.beat, claim, seen });
    }

    fn branch_moved(&mut self, kernel: &Kernel, moved: &Moved) {
        let Some(new) = moved.new else {
            return self.broken(4, moved.at, "the state branch was deleted");
        };
        if let Some(old) = moved.old
            && !matches!(kernel.pool.is_ancestor(&kernel.remote, old, new), Ok(true))
        {
            self.broken(4, moved.at, format!("the state branch did not move forward: {old} to {new}"));
        }
        let changes = match kernel.pool.diff(&kernel.remote, moved.old, Some(new)) {
            Ok(changes) => changes,
            Err(error) => return self.broken(4, moved.at, format!("the state branch is torn: {error}")),
        };
        let written: BTreeSet<TaskId> =
            changes.iter().filter(|change| change.new.is_some()).filter_map(task_of).collect();
        for change in changes {
            let Some(id) = task_of(&change) else { continue };
            let Some(entry) = change.new else {
                // Into the archive or out of it: the same commit has it in the other place.
                if written.contains(&id) {
                    continue;
                }
                self.broken(4, moved.at, format!("{id} vanished from the state branch"));
                continue;
            };
            let Some(task) = self.decode(kernel, moved.at, &change.path, entry.oid) else { continue };
            self.grew(moved.at, self.branch.get(&id).cloned().as_ref(), &task);
            if task.status() == Status::Done {
                self.finished.insert(id.clone());
            }
            self.branch.insert(id, task);
        }
    }

    fn lease_moved(&mut self, kernel: &Kernel, id: &TaskId, moved: &Moved) {
        let before = self.leases.remove(id);
        let Some(new) = moved.new else {
            // What it held must be on the branch, or have been void.
            if let Some(before) = before {
                self.nothing_lost(moved.at, id, &before);
            }
            return;
        };
        let path = layout::tree_path(id);
        let Ok(Some(entry)) = kernel.pool.entry(&kernel.remote, new, &path) else {
            return self.broken(6, moved.at, format!("the lease ref of {id} holds no file"));
        };
        let Some(task) = self.decode(kernel, moved.at, &path, entry.oid) else { return };
        if moved.old.is_some() {
            self.grew_or_withdrawn(moved.at, before.as_ref(), &task);
        }
        self.not_too_early(kernel, moved.at, &moved.sent, before.as_ref(), &task);
        self.forced.holds(new, &task);
        self.note_renewal(moved.at, &moved.awake, &task);
        self.leases.insert(id.clone(), task);
    }

    /// A claim that does not stand is withdrawn by putting back what was there before.
    fn grew_or_withdrawn(&mut self, at: Micros, before: Option<&Task>, after: &Task) {
        let withdrawn = before.is_some_and(|before| {
            before.history().len() == after.history().len() + 1
                && before.history().starts_with(after.history())
                && before.history().last().is_some_and(|op| !self.was_told(op))
        });
        // What was pushed late is void where the branch has gone on meanwhile: the next one begins on the branch.
        let void = before.is_some_and(|before| {
            let mut lost = before.history().iter().filter(|op| !after.has_op(op));
            let branch = self.branch.get(after.id());
            // After a force the branch may have gone another way with what was told: the end shows whether it was kept.
            lost.all(|op| !self.was_told(op) || self.forced.touched(after.id()))
                && branch.is_some_and(|branch| after.history().starts_with(branch.history()))
        });
        if withdrawn {
            return;
        }
        self.grew(at, if void { None } else { before }, after);
    }

    fn was_told(&self, op: &Op) -> bool {
        self.told.iter().any(|told| told.published && told.op == op.id && told.by == op.by)
    }

    fn decode(&mut self, kernel: &Kernel, at: Micros, path: &str, oid: Oid) -> Option<Task> {
        let bytes = match kernel.pool.blob(&kernel.remote, oid) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.broken(4, at, format!("{path}: {error}"));
                return None;
            }
        };
        match codec::decode(&bytes) {
            Ok(decoded) => Some(decoded.task),
            Err(problem) => {
                self.broken(6, at, format!("{path} on the remote: {}", problem.message));
                None
            }
        }
    }

    fn grew(&mut self, at: Micros, before: Option<&Task>, after: &Task) {
        for violation in invariant::check(after) {
            self.broken(violation.promise, at, format!("{}: {}", after.id(), violation.what));
        }
        self.named_once(at, before, after);
        for what in by_position::check(after) {
            self.broken(3, at, format!("{}: {what}", after.id()));
        }
        for violation in before.map(|before| invariant::check_progress(before, after)).unwrap_or_default() {
            self.broken(violation.promise, at, format!("{}: {}", after.id(), violation.what));
        }
    }

    /// Whoever reads a ref after a lost answer knows its own operation by its id: nobody else's may have it.
    fn named_once(&mut self, at: Micros, before: Option<&Task>, after: &Task) {
        let known = before.map_or(0, |before| before.history().len());
        for op in after.history().iter().skip(known) {
            let this = (after.id().clone(), op.by.clone(), op.action.verb());
            let first = self.ops.entry(op.id).or_insert_with(|| this.clone()).clone();
            if first.1 != this.1 || first.2 != this.2 {
                self.broken(4, at, format!("operation {} is {first:?} and {this:?}", op.id));
            }
        }
    }

    /// A lease is not taken from its holder before it has lapsed in true time, nor by a machine that has not been
    /// awake for so long since it was renewed.
    fn not_too_early(
        &mut self,
        kernel: &Kernel,
        at: Micros,
        awake: &[Awake],
        before: Option<&Task>,
        after: &Task,
    ) {
        let Some(op) = after.history().last() else { return };
        let hidden = |epoch| {
            let lease = (after.id().clone(), epoch);
            self.renewed.get(&lease).is_some_and(|known| self.forced.hid(&lease, known.beat))
        };
        if taken(op).is_some_and(hidden) {
            return;
        }
        self.nobody_at_work(kernel, at, before, after, op);
        let was = before.and_then(Task::lease).or_else(|| self.branch.get(after.id()).and_then(Task::lease));
        let Some(epoch) = taken(op) else { return };
        if before.is_some_and(|before| before.has_op(op)) {
            return;
        }
        let Some(renewed) = self.renewed.get(&(after.id().clone(), epoch)).cloned() else { return };
        let died = was
            .and_then(|lease| Some((machine_of(&lease.machine)?, lease.process.as_ref()?)))
            .is_some_and(|(machine, process)| self.dead.contains(&(machine, process.pid, process.start)));
        let again = was.is_some_and(|lease| lease.session == op.by && lease.machine == op.machine);
        if died || again {
            return;
        }
        if let Some(observer) = machine_of(&op.machine) {
            let awake = awake[observer].since(renewed.seen[observer]);
            if awake < renewed.ttl {
                let text = format!(
                    "{}: epoch {epoch} was taken by {} on m{observer}, which had been awake for {:.1} s since its last \
                     renewal; its lease lasts {} s",
                    after.id(),
                    op.by,
                    awake as f64 / 1e6,
                    renewed.ttl as f64 / 1e6
                );
                self.broken(10, at, text);
            }
        }
        if at < renewed.landed + renewed.ttl {
            let (id, gone) = (after.id(), (at - renewed.landed) as f64 / 1e6);
            let ttl = renewed.ttl as f64 / 1e6;
            self.broken(
                10,
                at,
                format!("{id}: epoch {epoch} was taken by {} {gone:.1} s after its last renewal, its lease lasts {ttl} s", op.by),
            );
        }
    }

    /// When a lease is taken from its holder, no program of that holder is at work any more: whoever takes the task over
    /// works alone.
    fn nobody_at_work(&mut self, kernel: &Kernel, at: Micros, before: Option<&Task>, after: &Task, op: &Op) {
        let Some(epoch) = taken(op).filter(|_| before.is_none_or(|before| !before.has_op(op))) else {
            return;
        };
        if let Some((machine, until)) = kernel.at_work(after.id().as_str(), epoch, at) {
            let (id, by, left) = (after.id(), &op.by, (until - at) as f64 / 1e6);
            let text = format!(
                "{id}: epoch {epoch} was taken by {by} while a program works for it on m{machine}, {left:.1} s more"
            );
            self.broken(10, at, text);
        }
    }

    /// Whatever was acknowledged of a version that goes away stands elsewhere.
    fn nothing_lost(&mut self, at: Micros, id: &TaskId, gone: &Task) {
        if self.forced.touched(id) {
            // The branch may have had it and was forced back; the end shows whether it comes back.
            return;
        }
        let branch = self.branch.get(id);
        let lost: Vec<String> = gone
            .history()
            .iter()
            .filter(|op| self.was_told(op) && !branch.is_some_and(|task| task.has_op(op)))
            .map(|op| format!("{} {} by {}", op.action.verb(), op.id, op.by))
            .collect();
        if !lost.is_empty() {
            let text = format!("{id}: the lease ref went before the branch had {}", lost.join(", "));
            self.broken(4, at, text);
        }
    }

    /// Whether the register shows an operation of a task.
    fn shows(&self, id: &TaskId, told: &Told) -> bool {
        let holds = |task: &Task| task.history().iter().any(|op| op.id == told.op && op.by == told.by);
        self.branch.get(id).is_some_and(holds) || self.leases.get(id).is_some_and(holds)
    }

    /// A claim was told to a session. `process` is the number of the process that stands for it.
    pub fn claimed(
        &mut self,
        at: Micros,
        task: &Task,
        epoch: u64,
        session: &str,
        machine: usize,
        repeated: bool,
    ) {
        let key = (task.id().clone(), epoch);
        self.claims += u64::from(!repeated);
        let touched = self.forced.touched(task.id());
        if let Some(other) = self.holders.get(&key).filter(|_| !touched)
            && (other.session != session || other.machine != machine)
        {
            let text = format!(
                "{}: epoch {epoch} was given to {} on m{} and to {session} on m{machine}",
                task.id(),
                other.session,
                other.machine
            );
            self.broken(1, at, text);
        }
        let newest = self.holders.keys().filter(|(id, _)| id == task.id()).map(|(_, epoch)| *epoch).max();
        if touched && !repeated {
            self.above_what_was_seen(at, task, epoch, machine);
        } else if !repeated && newest.is_some_and(|newest| newest >= epoch) {
            let text = format!("{}: epoch {epoch} was told after epoch {newest:?}", task.id());
            self.broken(1, at, text);
        }
        let claim = task
            .history()
            .iter()
            .find(|op| matches!(op.action, Action::Claim { epoch: e, .. } if e == epoch));
        if let Some(op) = claim {
            let told = Told {
                task: task.id().clone(),
                op: op.id,
                by: session.to_owned(),
                verb: "claim",
                machine,
                published: true,
            };
            if !self.shows(task.id(), &told) && !self.forced.just_now(at) {
                let text =
                    format!("{}: the claim of {session} was told and is not in the register", task.id());
                self.broken(2, at, text);
            }
            self.told.push(told);
        }
        self.holders.insert(key, Holder { session: session.to_owned(), machine });
    }

    /// A process has ended.
    pub fn process_ended(&mut self, machine: usize, pid: u32, start: u64) {
        self.dead.insert((machine, pid, start));
    }

    /// An act was acknowledged.
    pub fn acted(&mut self, kernel: &Kernel, act: &Act<'_>) {
        self.acknowledged += 1;
        let &Act { task, session, machine, published, .. } = act;
        // What somebody has changed in the file by hand stands behind the act, in the name of whoever noticed it.
        let own = |op: &&Op| !matches!(op.action, Action::Edit(_)) || session.starts_with("operator");
        let mut all = task.history().iter().rev().filter(|op| op.by == session);
        let Some(op) = all.find(own) else { return };
        let (verb, by) = (op.action.verb(), session.to_owned());
        let told = Told { task: task.id().clone(), op: op.id, by, verb, machine, published };
        if published && !self.shows(task.id(), &told) && !self.forced.just_now(kernel.now) {
            let text = format!("{}: {verb} by {session} was told as published and is not", task.id());
            self.broken(4, kernel.now, text);
        }
        if let Some(epoch) = op.action.based_on().filter(|_| op.action.is_holders() && !act.repeated) {
            self.held_still(kernel, task.id(), epoch, act.begun, machine, &format!("{verb} by {session}"));
        }
        self.told.push(told);
    }

    /// A holder stops by itself when its lease is over by its own clock, whether anybody has taken it or not. It counts
    /// from the moment before its renewal was sent, so never from later than when that landed.
    pub fn held_still(
        &mut self,
        kernel: &Kernel,
        id: &TaskId,
        epoch: u64,
        begun: Micros,
        machine: usize,
        what: &str,
    ) {
        let Some(renewed) = self.renewed.get(&(id.clone(), epoch)) else { return };
        let (landed, ttl) = (renewed.landed, renewed.ttl);
        // Where its process died before it had noted the renewal only the wall clock is left to go by, and somebody
        // may have set it since the renewal before, which is all that the holder knows of. Clocks run up to a twentieth
        // too slow.
        let over = ttl + ttl * 6 / 100 + SECOND;
        if begun > landed + over && kernel.machines[machine].stepped + over < landed {
            let text = format!(
                "{id}: {what} was accepted {:.0} s after the last renewal, although its lease lasts {:.0} s",
                (begun - landed) as f64 / 1e6,
                ttl as f64 / 1e6
            );
            self.broken(10, kernel.now, text);
        }
    }

    /// Once faults have stopped, a lease that nobody renews is taken back within its time to live, as observers wait
    /// for it, and two rounds of their watchdogs.
    pub fn recovered_in_time(&mut self, now: Micros, calm_since: Micros) {
        let calm_since = calm_since.max(self.forced.decided());
        let held =
            self.leases.values().chain(self.branch.values().filter(|t| !self.leases.contains_key(t.id())));
        let late = held.filter(|task| task.status() == Status::InProgress).find_map(|task| {
            let renewed = self.renewed.get(&(task.id().clone(), task.epoch()))?;
            let stands = now.saturating_sub(renewed.landed.max(calm_since));
            let most = (renewed.ttl as f64 * 1.25 / 0.95) as Micros + renewed.ttl + 3 * MINUTE;
            (stands > most)
                .then(|| format!("{}: its lease has stood still for {} s", task.id(), stands / SECOND))
        });
        if let Some(text) = late {
            self.broken(0, now, text);
        }
    }

    /// At the end: everything acknowledged stands on the branch, or was kept as rejected where it was made.
    /// `rejected` holds the texts of those, by machine; `gone` are machines that never came back.
    pub fn nothing_acknowledged_is_lost(&mut self, at: Micros, rejected: &[String], gone: &[bool]) {
        // A lease that is still there holds what will be folded.
        let all = self.branch.values().chain(self.leases.values()).flat_map(|task| task.history());
        let ops: BTreeSet<(OpId, &str)> = all.map(|op| (op.id, op.by.as_str())).collect();
        let lost: Vec<String> = self
            .told
            .iter()
            .filter(|told| {
                !ops.contains(&(told.op, told.by.as_str())) && (told.published || !gone[told.machine])
            })
            .filter(|told| told.verb != "heartbeat" && !self.forced.excuses(told, gone))
            .filter(|told| !self.was_kept(told, rejected))
            .map(|told| format!("{}: {} {} on m{}", told.task, told.verb, told.op, told.machine))
            .collect();
        if let Some(first) = lost.first() {
            self.broken(4, at, format!("{} acknowledged operations are gone, {first} first", lost.len()));
        }
    }

    /// Whether an operation that does not stand was kept as rejected: where it was made, or, where somebody forced the
    /// branch away from under it, by whoever published it again.
    fn was_kept(&self, told: &Told, rejected: &[String]) -> bool {
        let kept = |texts: &String| texts.contains(&told.op.to_string());
        match told.published {
            false => kept(&rejected[told.machine]),
            true => self.forced.touched(&told.task) && rejected.iter().any(kept),
        }
    }

    /// Whether the register has every operation of a task's file.
    #[must_use]
    pub fn has_all_of(&self, bytes: &[u8]) -> bool {
        let Ok(decoded) = codec::decode(bytes) else { return false };
        let id = decoded.task.id();
        let known: Vec<&Task> = self.branch.get(id).into_iter().chain(self.leases.get(id)).collect();
        decoded.task.history().iter().all(|op| known.iter().any(|task| task.has_op(op)))
    }

    /// Whether somebody has forced a ref that held something of a task, also under the id that it had until another task
    /// of that id was published in its place.
    #[must_use]
    pub fn was_touched(&self, task: &Task) -> bool {
        let touched = |op: &Op| self.ops.get(&op.id).is_some_and(|(id, ..)| self.forced.touched(id));
        self.forced.touched(task.id()) || task.history().iter().any(touched)
    }

    /// Tasks of the branch.
    #[must_use]
    pub fn tasks(&self) -> &BTreeMap<TaskId, Task> {
        &self.branch
    }

    /// Lease refs that exist.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.leases.len()
    }
}

/// The claim of an epoch.
fn claim_of(task: &Task, epoch: u64) -> Option<OpId> {
    let claims = |op: &&Op| matches!(op.action, Action::Claim { epoch: e, .. } if e == epoch);
    task.history().iter().rfind(claims).map(|op| op.id)
}

/// The task whose file changed.
fn task_of(change: &TreeChange) -> Option<TaskId> {
    layout::parse_tree_path(&change.path)?.ok()
}

/// The epoch whose lease an operation takes from its holder.
fn taken(op: &Op) -> Option<u64> {
    match &op.action {
        Action::Recover { epoch, .. } => Some(*epoch),
        Action::Claim { over: Some(_), base, .. } => Some(*base),
        _ => None,
    }
}

/// Which task a file holds, by its name.
fn id_of(path: &Path) -> Option<TaskId> {
    if path.components().all(|part| part.as_os_str() != "tasks") {
        return None;
    }
    TaskId::parse(path.file_stem()?.to_str()?).ok()
}

/// Which machine has this id.
fn machine_of(id: &str) -> Option<usize> {
    id.strip_prefix("m-")?.parse().ok()
}
