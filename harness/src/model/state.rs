//! A state of the model: the remote, what each machine remembers, where its command stands, and what was
//! told to whom.

use orch::protocol::op::Action;

use super::arena::{Arena, Oid, OpIx, TaskIx};

/// The commit of the task as it was added; every machine knows it from the start.
pub(super) const FIRST: Oid = 0;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// The state branch on the remote.
    pub(super) branch: Oid,
    /// The lease ref on the remote.
    pub(super) lease: Option<Oid>,
    /// Claimers, then the operator, then the watchdog.
    pub(super) machines: Vec<Machine>,
    pub(super) folders: Vec<Folder>,
    /// A push that the network still carries although its sender has given up waiting.
    pub(super) late: Option<Update>,
    /// Faults that may still happen.
    pub(super) faults: u8,
    pub(super) ghost: Ghost,
}

/// What was told, for the checks only. Nothing that acts reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Ghost {
    /// Acknowledged operations that the branch does not hold yet; those that it holds are safe because it grows.
    pub(super) acked: Vec<OpIx>,
    /// Acts of holders that were kept on their machine.
    pub(super) kept: Vec<(u8, OpIx)>,
    /// Operations that were given up or reported as refused.
    pub(super) refused: Vec<OpIx>,
    /// The highest epoch that anybody was told to hold, and who was told.
    pub(super) told: Option<(u64, u8)>,
}

/// One ref of a push.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Update {
    pub(super) is_branch: bool,
    /// `None` at the outside pushes whatever the ref holds: only variants do that.
    pub(super) expected: Option<Option<Oid>>,
    pub(super) new: Option<Oid>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Machine {
    pub(super) durable: Durable,
    /// Commands that it may still begin: claims of a claimer, acts of the operator.
    pub(super) begins: u8,
    pub(super) beats: u8,
    /// The epoch that its session was told, as long as its process lives.
    pub(super) told: Option<u64>,
    pub(super) run: Option<Run>,
}

/// What survives a crash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Durable {
    /// `refs/orch/…`: the branch as of the last fetch.
    pub(super) branch: Oid,
    /// The lease ref as of the last look.
    pub(super) lease: Option<Oid>,
    /// The task's file.
    pub(super) file: TaskIx,
    /// `usecase::held`: the epoch of the last confirmed claim.
    pub(super) held: Option<u64>,
    /// The highest epoch that was seen and dropped.
    pub(super) floor: u64,
}

impl Durable {
    pub(super) fn fresh() -> Durable {
        Durable { branch: FIRST, lease: None, file: 0, held: None, floor: 0 }
    }
}

/// A command on its way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Run {
    pub(super) want: Want,
    pub(super) at: At,
    pub(super) looked: bool,
    pub(super) flushed: bool,
    pub(super) doubted: Option<Option<Oid>>,
    /// The lease (by its object) that was judged stale.
    pub(super) judged: Option<Option<Oid>>,
    /// The operation that was last sent.
    pub(super) last: Option<OpIx>,
    pub(super) proposal: Option<Proposal>,
    /// The branch as it was listed, while the lease ref is listed.
    pub(super) listed: Option<Oid>,
    /// The branch as the read after a swap brought it.
    pub(super) brought: Option<Oid>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Proposal {
    pub(super) expected: Option<Oid>,
    pub(super) commit: Oid,
    pub(super) op: OpIx,
    /// Whether it was built on a lease ref that was live.
    pub(super) on_live: bool,
}

/// What a command is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Want {
    Claim,
    /// Acts of a holder name the epoch that it was told, if it remembers one.
    Beat(Option<u64>),
    Done(Option<u64>),
    Fail(Option<u64>),
    Release(Option<u64>),
    Cancel,
    Retry,
    Replan,
    /// Epoch that was judged.
    Recover(Option<u64>),
    Sync,
}

impl Want {
    pub(super) fn is_holders(self) -> bool {
        matches!(self, Want::Beat(_) | Want::Done(_) | Want::Fail(_) | Want::Release(_))
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Want::Claim => "claim",
            Want::Beat(_) => "heartbeat",
            Want::Done(_) => "done",
            Want::Fail(_) => "fail",
            Want::Release(_) => "release",
            Want::Cancel => "cancel",
            Want::Retry => "retry",
            Want::Replan => "replan",
            Want::Recover(_) => "recover",
            Want::Sync => "sync",
        }
    }
}

/// The network step that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum At {
    Look,
    Swap,
    /// Whether no answer came, so that the object may have been seen.
    SwapRead(bool),
    Stands,
    StillStands,
    /// Whether the read after the swap failed, so that the command ends with it.
    Withdraw(bool),
    Flush,
    FlushRead,
    FlushLook,
    /// Only in a variant: the operation goes to the branch.
    BranchPush,
}

/// A round of folding. It begins with a fetch, so it remembers nothing between rounds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Folder {
    Idle,
    /// The branch was listed, the lease ref not yet.
    Listed(Oid),
    Push(Fold),
    Resolve(Fold),
    Delete(Oid),
    Void(Oid),
    /// Only in a variant: the ref is deleted before the branch is pushed.
    DeleteFirst(Fold),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Fold {
    pub(super) base: Oid,
    pub(super) commit: Oid,
    pub(super) tip: Oid,
}

impl State {
    /// The task as a machine that reads everything now would see it.
    pub(super) fn view(&self, arena: &mut Arena) -> TaskIx {
        view_of(arena, self.branch, self.lease).0
    }

    /// An operation that nothing in this state mentions yet.
    pub(super) fn fresh_op(&self, arena: &mut Arena, machine: u8, action: &Action) -> OpIx {
        let mut serial = 0;
        loop {
            let op = arena.issue(machine, action, serial);
            if !self.mentions(arena, op, true) {
                return op;
            }
            serial += 1;
        }
    }

    /// A commit that nothing in this state points to yet.
    pub(super) fn fresh_commit(&self, arena: &mut Arena, file: TaskIx) -> Oid {
        let mut nonce = 0;
        loop {
            let oid = arena.commit(file, nonce);
            let mut used = false;
            self.oids(|known| used |= known == oid);
            if !used {
                return oid;
            }
            nonce += 1;
        }
    }

    fn oids(&self, mut each: impl FnMut(Oid)) {
        each(self.branch);
        self.lease.into_iter().for_each(&mut each);
        for machine in &self.machines {
            each(machine.durable.branch);
            machine.durable.lease.into_iter().for_each(&mut each);
            if let Some(run) = &machine.run {
                run.doubted.flatten().into_iter().for_each(&mut each);
                run.judged.flatten().into_iter().for_each(&mut each);
                run.listed.into_iter().chain(run.brought).for_each(&mut each);
                if let Some(proposal) = &run.proposal {
                    each(proposal.commit);
                    proposal.expected.into_iter().for_each(&mut each);
                }
            }
        }
        for folder in &self.folders {
            match folder {
                Folder::Idle => {}
                Folder::Listed(oid) | Folder::Delete(oid) | Folder::Void(oid) => each(*oid),
                Folder::Push(fold) | Folder::Resolve(fold) | Folder::DeleteFirst(fold) => {
                    [fold.base, fold.commit, fold.tip].into_iter().for_each(&mut each);
                }
            }
        }
        if let Some(late) = &self.late {
            late.expected.flatten().into_iter().chain(late.new).for_each(&mut each);
        }
    }

    fn mentions(&self, arena: &Arena, op: OpIx, also_ghost: bool) -> bool {
        let ghost = &self.ghost;
        if also_ghost && (ghost.acked.contains(&op) || ghost.refused.contains(&op)) {
            return true;
        }
        let mut found = ghost.kept.iter().any(|(_, kept)| *kept == op);
        self.oids(|oid| found = found || arena.has(arena.file(oid), op));
        found
            || self.machines.iter().any(|machine| {
                arena.has(machine.durable.file, op)
                    || machine.run.as_ref().is_some_and(|run| {
                        run.last == Some(op) || run.proposal.is_some_and(|proposal| proposal.op == op)
                    })
            })
    }

    /// The same state in the one form in which it is compared: what can make no difference any more goes.
    pub(super) fn canonical(mut self, arena: &mut Arena) -> State {
        let claimers = self.machines.len() - 2;
        for (at, machine) in self.machines.iter_mut().enumerate() {
            if machine.run.is_some() || machine.told.is_some() || (machine.begins > 0 && at <= claimers) {
                continue;
            }
            if at >= claimers || is_finished(arena, &machine.durable, at as u8) {
                machine.durable = Durable::fresh();
                machine.beats = 0;
            }
        }
        self.folders.sort();
        let branch = arena.file(self.branch);
        self.ghost.acked.retain(|op| !arena.has(branch, *op));
        self.ghost.acked.sort_unstable();
        self.ghost.acked.dedup();
        self.ghost.kept.retain(|(_, op)| !arena.has(branch, *op));
        self.ghost.kept.sort_unstable();
        self.ghost.kept.dedup();
        let mut refused = std::mem::take(&mut self.ghost.refused);
        refused.retain(|op| self.mentions(arena, *op, false));
        refused.sort_unstable();
        refused.dedup();
        self.ghost.refused = refused;
        self
    }
}

/// Whether a machine holds nothing, keeps nothing, and so has nothing left to do.
fn is_finished(arena: &mut Arena, durable: &Durable, machine: u8) -> bool {
    let (view, _) = view_of(arena, durable.branch, durable.lease);
    let mine = |arena: &Arena, task| arena.facts(task).lease.is_some_and(|(by, ..)| by == machine);
    let keeps = !arena.missing(view, durable.file).is_empty();
    !keeps && !mine(arena, view) && !mine(arena, durable.file)
}

/// `sync::shared::Shared::view`, and whether the lease ref is live (`Shared::live_tip`).
pub(super) fn view_of(arena: &mut Arena, branch: Oid, lease: Option<Oid>) -> (TaskIx, bool) {
    let base = arena.file(branch);
    match lease {
        Some(tip) => {
            let tip = arena.file(tip);
            arena.overlay(base, tip)
        }
        None => (base, false),
    }
}
