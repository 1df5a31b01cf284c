//! Everything that a state of the model points to: operations, tasks and commits, each kept once, and the answers
//! of the real functions of [`orch::protocol`] about them.
//!
//! A state holds small numbers only, so it is cheap to compare and to keep; whether two states are the same is
//! a comparison of numbers because equal things have equal numbers.

use std::collections::HashMap;

use orch::protocol::id::{OpId, TaskId};
use orch::protocol::invariant;
use orch::protocol::merge::{last_claim, missing, overlay, rebase, rebase_acts, rebase_without};
use orch::protocol::op::{Action, Op, Role};
use orch::protocol::task::{Definition, RetryPolicy, Status, Task};
use orch::protocol::time::Timestamp;
use orch::protocol::transition::next;

use super::promises;

/// A task's file, heartbeats included.
pub(super) type TaskIx = u32;
/// An operation.
pub(super) type OpIx = u32;
/// A commit: a file and a number that tells commits with the same file apart.
pub(super) type Oid = u32;

/// What is looked at most about a task.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) status: Status,
    pub(super) epoch: u64,
    /// Machine, epoch and beat of its lease.
    pub(super) lease: Option<(u8, u64, u64)>,
    /// Operations of its history after the `add`.
    pub(super) ops: Vec<OpIx>,
    /// The claim that its newest lease rests on.
    pub(super) claim: Option<OpIx>,
    /// The first promise that the file breaks by itself.
    pub(super) broken: Option<invariant::Violation>,
}

type Rebased = (TaskIx, Vec<OpIx>);

/// The store of everything that states point to.
pub(super) struct Arena {
    id: TaskId,
    names: Vec<String>,
    ops: Vec<Op>,
    op_index: HashMap<OpId, OpIx>,
    issued: HashMap<(u8, String, u8), OpIx>,
    tasks: Vec<Task>,
    task_index: HashMap<String, TaskIx>,
    facts: Vec<Facts>,
    commits: Vec<(TaskIx, u8)>,
    commit_index: HashMap<(TaskIx, u8), Oid>,
    nexts: HashMap<(TaskIx, OpIx), Option<TaskIx>>,
    overlays: HashMap<(TaskIx, TaskIx), (TaskIx, bool)>,
    rebases: HashMap<(TaskIx, TaskIx, u8, Option<OpIx>), Rebased>,
    acts: HashMap<(TaskIx, TaskIx, u8), TaskIx>,
    missings: HashMap<(TaskIx, TaskIx), Vec<OpIx>>,
    progress: HashMap<(TaskIx, TaskIx), bool>,
}

impl Arena {
    /// An arena with one task that has just been added, as number 0.
    pub(super) fn new(names: Vec<String>, max_attempts: u32) -> Result<Arena, String> {
        let id = TaskId::parse("T-1").map_err(|e| e.to_string())?;
        let definition = Definition {
            title: "the task".to_owned(),
            retry: RetryPolicy { max_attempts: Some(max_attempts), ..RetryPolicy::default() },
            ..Definition::default()
        };
        let add = Op {
            id: OpId::new(0, [0; 10]),
            at: Timestamp(0),
            by: "author".to_owned(),
            machine: "author".to_owned(),
            role: Role::Author,
            action: Action::Add(Box::new(definition)),
        };
        let task = next(None, &id, &add).map_err(|e| e.to_string())?;
        let mut arena = Arena {
            id,
            names,
            ops: Vec::new(),
            op_index: HashMap::new(),
            issued: HashMap::new(),
            tasks: Vec::new(),
            task_index: HashMap::new(),
            facts: Vec::new(),
            commits: Vec::new(),
            commit_index: HashMap::new(),
            nexts: HashMap::new(),
            overlays: HashMap::new(),
            rebases: HashMap::new(),
            acts: HashMap::new(),
            missings: HashMap::new(),
            progress: HashMap::new(),
        };
        arena.keep(task);
        arena.commit(0, 0);
        Ok(arena)
    }

    fn keep(&mut self, task: Task) -> TaskIx {
        let key = format!(
            "{:?}{:?}{}",
            task.history().iter().map(|op| op.id).collect::<Vec<_>>(),
            task.state(),
            task.epoch()
        );
        if let Some(known) = self.task_index.get(&key) {
            return *known;
        }
        let at = self.tasks.len() as TaskIx;
        let lease = task.lease().map(|lease| (self.machine(&lease.machine), lease.epoch, lease.beat));
        let op_of = |id: &OpId| self.op_index.get(id).copied();
        self.facts.push(Facts {
            status: task.status(),
            epoch: task.epoch(),
            lease,
            ops: task.history().iter().filter_map(|op| op_of(&op.id)).collect(),
            claim: last_claim(&task).and_then(|id| op_of(&id)),
            broken: promises::of_file(&task),
        });
        self.tasks.push(task);
        self.task_index.insert(key, at);
        at
    }

    fn machine(&self, name: &str) -> u8 {
        self.names.iter().position(|known| known == name).map_or(u8::MAX, |at| at as u8)
    }

    /// The name of a machine, which is its session's as well.
    pub(super) fn name(&self, machine: u8) -> &str {
        self.names.get(usize::from(machine)).map_or("somebody", String::as_str)
    }

    pub(super) fn facts(&self, task: TaskIx) -> &Facts {
        &self.facts[task as usize]
    }

    pub(super) fn task(&self, task: TaskIx) -> &Task {
        &self.tasks[task as usize]
    }

    pub(super) fn op(&self, op: OpIx) -> &Op {
        &self.ops[op as usize]
    }

    pub(super) fn file(&self, oid: Oid) -> TaskIx {
        self.commits[oid as usize].0
    }

    pub(super) fn has(&self, task: TaskIx, op: OpIx) -> bool {
        self.facts[task as usize].ops.contains(&op)
    }

    /// How many different operations, files and commits there were.
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        (self.ops.len(), self.tasks.len(), self.commits.len())
    }

    /// The commit of a file under a number of its own.
    pub(super) fn commit(&mut self, task: TaskIx, nonce: u8) -> Oid {
        if let Some(known) = self.commit_index.get(&(task, nonce)) {
            return *known;
        }
        let oid = self.commits.len() as Oid;
        self.commits.push((task, nonce));
        self.commit_index.insert((task, nonce), oid);
        oid
    }

    /// An operation of a machine; `serial` stands for its random id.
    pub(super) fn issue(&mut self, machine: u8, action: &Action, serial: u8) -> OpIx {
        let key = (machine, format!("{action:?}"), serial);
        if let Some(known) = self.issued.get(&key) {
            return *known;
        }
        let at = self.ops.len() as OpIx;
        let mut random = [1; 10];
        random[..4].copy_from_slice(&at.to_be_bytes());
        let name = self.name(machine).to_owned();
        let op = Op {
            id: OpId::new(1, random),
            at: Timestamp(0),
            by: name.clone(),
            machine: name,
            role: Role::Author,
            action: action.clone(),
        };
        self.op_index.insert(op.id, at);
        self.ops.push(op);
        self.issued.insert(key, at);
        at
    }

    /// The real `transition::next`.
    pub(super) fn next(&mut self, task: TaskIx, op: OpIx) -> Option<TaskIx> {
        if let Some(known) = self.nexts.get(&(task, op)) {
            return *known;
        }
        let after = next(Some(&self.tasks[task as usize]), &self.id, &self.ops[op as usize]).ok();
        let after = after.map(|task| self.keep(task));
        self.nexts.insert((task, op), after);
        after
    }

    /// The real `merge::overlay`; also whether the tip is live, as `sync::shared::Shared::live_tip` decides it.
    pub(super) fn overlay(&mut self, base: TaskIx, tip: TaskIx) -> (TaskIx, bool) {
        if let Some(known) = self.overlays.get(&(base, tip)) {
            return *known;
        }
        let before = &self.tasks[base as usize];
        let merged = overlay(before, &self.tasks[tip as usize]);
        let live = merged.refused.is_empty() && merged.task.history().len() > before.history().len();
        let answer = (self.keep(merged.task), live);
        self.overlays.insert((base, tip), answer);
        answer
    }

    /// The real `merge::rebase`, or `rebase_without` a claim: the file, and what was refused.
    pub(super) fn rebase(
        &mut self,
        view: TaskIx,
        file: TaskIx,
        machine: u8,
        without: Option<OpIx>,
    ) -> Rebased {
        let key = (view, file, machine, without);
        if let Some(known) = self.rebases.get(&key) {
            return known.clone();
        }
        let (base, local) = (&self.tasks[view as usize], &self.tasks[file as usize]);
        let merged = match without {
            Some(op) => rebase_without(base, local, self.name(machine), self.ops[op as usize].id),
            None => rebase(base, local, self.name(machine)),
        };
        let refused =
            merged.refused.iter().filter_map(|(op, _)| self.op_index.get(&op.id).copied()).collect();
        let answer = (self.keep(merged.task), refused);
        self.rebases.insert(key, answer.clone());
        answer
    }

    /// The real `merge::rebase_acts`.
    pub(super) fn rebase_acts(&mut self, base: TaskIx, file: TaskIx, machine: u8) -> TaskIx {
        if let Some(known) = self.acts.get(&(base, file, machine)) {
            return *known;
        }
        let merged = rebase_acts(&self.tasks[base as usize], &self.tasks[file as usize], self.name(machine));
        let answer = self.keep(merged.task);
        self.acts.insert((base, file, machine), answer);
        answer
    }

    /// The real `merge::missing`.
    pub(super) fn missing(&mut self, base: TaskIx, other: TaskIx) -> Vec<OpIx> {
        if let Some(known) = self.missings.get(&(base, other)) {
            return known.clone();
        }
        let found: Vec<OpIx> = missing(&self.tasks[base as usize], &self.tasks[other as usize])
            .filter_map(|op| self.op_index.get(&op.id).copied())
            .collect();
        self.missings.insert((base, other), found.clone());
        found
    }

    /// Whether the branch may go from one file to another: the real `invariant::check_progress`.
    pub(super) fn grows(&mut self, before: TaskIx, after: TaskIx) -> bool {
        let tasks = &self.tasks;
        *self.progress.entry((before, after)).or_insert_with(|| {
            invariant::check_progress(&tasks[before as usize], &tasks[after as usize]).is_empty()
        })
    }
}
