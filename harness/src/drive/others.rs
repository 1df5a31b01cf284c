//! What others do to the shared repository: hosts that refuse, people who commit, force, delete and restore. And disks
//! that have become slow. All of it has dice of its own: a seed is otherwise the run that it is without them.

use std::collections::BTreeMap;

use orch::world::{NewCommit, Oid};

use super::Run;
use super::accidents::After;
use crate::sim::kernel::{Forbidden, Kernel, Micros, SECOND};
use crate::sim::oracle::{BRANCH, LEASES};

/// How far somebody goes back on the branch, in commits, at most.
const BACK: u64 = 20;

/// What hosts say when they refuse: the first two forbid, the others pass by themselves.
const REFUSALS: [&str; 4] = [
    "pre-receive hook declined",
    "protected branch hook declined",
    "failed to update ref",
    "cannot lock ref",
];

impl Run {
    /// The phase with faults begins.
    pub(super) fn others_begin(&mut self) {
        self.next_of_others = self.pause_of_others(self.now());
    }

    fn pause_of_others(&mut self, at: Micros) -> Micros {
        let others = self.yard.plan.others;
        let total: f64 = others.rates().iter().sum();
        if total <= 0.0 {
            return Micros::MAX;
        }
        at + (self.others.exponential(3600.0 * SECOND as f64 / total) as Micros).max(1)
    }

    /// One of them does something.
    pub(super) fn others_act(&mut self, at: Micros) {
        let rates = self.yard.plan.others.rates();
        let mut left = self.others.unit() * rates.iter().sum::<f64>();
        let which = rates.iter().position(|rate| {
            left -= rate;
            left < 0.0
        });
        let ttl = self.yard.plan.ttl;
        let span = self.others.exponential(ttl as f64) as Micros % (3 * ttl) + SECOND;
        match which.unwrap_or(0) {
            0 => self.refuse(at, span),
            1 => self.commit_something(at),
            2 | 3 => {
                let machine = self.others.below(self.yard.plan.machines as u64) as usize;
                let call = self.others.between(1_000, 100_000);
                let machine = &mut self.kernel.borrow_mut().machines[machine];
                match which {
                    Some(2) => machine.slow = (at + span, call),
                    _ => machine.refs_locked_until = at + span,
                }
            }
            _ => self.force(at),
        }
        self.next_of_others = self.pause_of_others(at);
    }

    fn refuse(&mut self, at: Micros, span: Micros) {
        let part = *self.others.pick(&["refs/", BRANCH, LEASES]);
        let why = *self.others.pick(&REFUSALS);
        let kernel = &mut *self.kernel.borrow_mut();
        // One rule at a time: the end of one would be that of the other.
        if kernel.forbidden.is_none() {
            kernel.trace.note(at, 0, &format!("the host refuses {part}: {why}"));
            kernel.forbidden = Some(Forbidden { part: part.to_owned(), why: why.to_owned() });
            self.pending.push((at + span, After::Allowed));
        }
    }

    /// Somebody puts a file onto the branch with plain git.
    fn commit_something(&mut self, at: Micros) {
        let number = self.others.below(1000);
        let kernel = &mut *self.kernel.borrow_mut();
        let Some(tip) = kernel.remote.refs.get(BRANCH).copied() else { return };
        if let Some(new) = foreign_commit(kernel, tip, at, number) {
            kernel.probes.hit("somebody committed to the branch");
            kernel.trace.note(at, 0, "somebody commits to the branch");
            kernel.swap_remote(BRANCH, Some(tip), Some(new));
        }
    }

    /// Somebody moves refs back or away.
    fn force(&mut self, at: Micros) {
        let (which, far) = (self.others.below(5), self.others.between(1, BACK));
        let number = self.others.below(1000);
        let kernel = &mut *self.kernel.borrow_mut();
        let mut oracle = self.yard.oracle.borrow_mut();
        oracle.look(kernel);
        let Some(tip) = kernel.remote.refs.get(BRANCH).copied() else { return };
        let leases: Vec<String> =
            kernel.remote.refs.keys().filter(|name| name.starts_with(LEASES)).cloned().collect();
        let mut moves: BTreeMap<String, Option<Oid>> = BTreeMap::new();
        let Some(back) = back_from(kernel, tip, far) else { return };
        match which {
            0 => drop(moves.insert(BRANCH.to_owned(), None)),
            1 => {
                let Some(name) = leases.get(number as usize % leases.len().max(1)) else { return };
                moves.insert(name.clone(), None);
            }
            2 => drop(moves.insert(BRANCH.to_owned(), Some(back))),
            // A backup that has no refs of orch's own.
            3 => {
                moves.insert(BRANCH.to_owned(), Some(back));
                moves.extend(leases.into_iter().map(|name| (name, None)));
            }
            // A clone of somebody who had not looked for a while, pushed by force.
            _ => {
                let Some(other) = foreign_commit(kernel, back, at, number) else { return };
                moves.insert(BRANCH.to_owned(), Some(other));
            }
        }
        kernel.probes.hit(match which {
            0 => "the branch was deleted",
            1 => "a lease ref was deleted",
            _ => "the branch was rewound",
        });
        for (name, new) in moves {
            let to = new.map_or_else(|| "nothing".to_owned(), |oid| oid.to_string());
            kernel.trace.note(at, 0, &format!("somebody forces {name} to {to}"));
            kernel.force_remote(&name, new);
        }
        oracle.forced(kernel, &self.yard.plan.core);
    }
}

/// Some first parents back, if there are as many, and never before the first commits, which are the queue itself.
fn back_from(kernel: &Kernel, tip: Oid, far: u64) -> Option<Oid> {
    let mut at = tip;
    for _ in 0..far {
        let parent = kernel.pool.info(&kernel.remote, at).ok()?.parents.first().copied();
        let Some(parent) = parent.filter(|parent| has_parent(kernel, *parent)) else { break };
        at = parent;
    }
    (at != tip).then_some(at)
}

fn has_parent(kernel: &Kernel, commit: Oid) -> bool {
    kernel.pool.info(&kernel.remote, commit).is_ok_and(|info| !info.parents.is_empty())
}

fn foreign_commit(kernel: &mut Kernel, base: Oid, at: Micros, number: u64) -> Option<Oid> {
    let Kernel { pool, remote, .. } = kernel;
    let name = ["README.md", "tasks/notes.txt", "docs/plan.md"][number as usize % 3];
    let changes = [(name.to_owned(), Some(format!("note {number}\n").into_bytes()))];
    pool.commit(
        remote,
        &NewCommit {
            base: Some(base),
            changes: &changes,
            parents: &[base],
            author: "somebody",
            at_s: (at / SECOND) as i64,
            message: "a note beside the queue\n",
        },
    )
    .ok()
}
