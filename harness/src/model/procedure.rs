//! What a machine does between two network steps: load, decide, commit, tell. The table in the module's
//! documentation says which lines of the program each function stands for.

use std::time::Duration;

use orch::protocol::invariant::Violation;
use orch::protocol::op::Action;
use orch::protocol::task::{Reason, Status};
use orch::protocol::transition::max_attempts;

use super::arena::{Arena, Oid, OpIx, TaskIx};
use super::state::{At, Durable, Machine, Proposal, Run, State, Want, view_of};
use super::{Bound, Guards};

/// How a step of a trace came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Net {
    /// As it should.
    Done,
    /// A push that never arrived, or a read that failed.
    Lost,
    /// A push that was accepted and whose answer was lost.
    AnswerLost,
    /// A push that the network keeps for later.
    Late,
    /// The machine died during it.
    Crash,
}

/// Who did what, and how it came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label {
    /// A machine, or `None` for a folder or the network.
    pub(super) who: Option<u8>,
    pub(super) what: &'static str,
    pub(super) net: Net,
}

/// One way on from a state.
pub(super) struct Move {
    pub(super) label: Label,
    pub(super) state: State,
    /// A promise that was broken by what was told on the way.
    pub(super) broken: Option<Violation>,
}

enum Verdict {
    Do(Action),
    Repeated,
    No,
}

/// Collects the ways on from one state.
pub(super) struct Moves<'a> {
    pub(super) arena: &'a mut Arena,
    pub(super) guards: Guards,
    pub(super) bound: Bound,
    pub(super) out: Vec<Move>,
}

pub(super) fn run(state: &mut State, m: usize) -> &mut Run {
    state.machines[m].run.get_or_insert_with(|| new_run(Want::Sync))
}

fn new_run(want: Want) -> Run {
    Run {
        want,
        at: At::Look,
        looked: false,
        flushed: false,
        doubted: None,
        judged: None,
        last: None,
        proposal: None,
        listed: None,
        brought: None,
    }
}

impl Moves<'_> {
    pub(super) fn emit(&mut self, label: Label, state: State) {
        let state = state.canonical(self.arena);
        self.out.push(Move { label, state, broken: None });
    }

    /// The machine dies here: what is durable stays.
    pub(super) fn crash(&mut self, label: Label, state: &State, m: usize) {
        if state.faults == 0 {
            return;
        }
        let mut after = state.clone();
        after.faults -= 1;
        after.machines[m].run = None;
        after.machines[m].told = None;
        self.emit(Label { net: Net::Crash, ..label }, after);
    }

    /// A command begins with what the machine knows; a sync and a watchdog's round begin with a look.
    pub(super) fn begin(&mut self, state: &State, m: usize, want: Want) {
        let label = Label { who: Some(m as u8), what: want.word(), net: Net::Done };
        let mut after = state.clone();
        if matches!(want, Want::Claim | Want::Cancel | Want::Retry | Want::Replan) {
            after.machines[m].begins -= 1;
        }
        if matches!(want, Want::Beat(_)) {
            after.machines[m].beats -= 1;
        }
        after.machines[m].run = Some(new_run(want));
        if matches!(want, Want::Sync | Want::Recover(_)) {
            run(&mut after, m).looked = true;
            return self.step(&after, m);
        }
        self.round(label, after, m);
    }

    /// One turn of the loop, up to the next network step.
    pub(super) fn round(&mut self, label: Label, mut state: State, m: usize) {
        let me = m as u8;
        loop {
            let durable = state.machines[m].durable.clone();
            let (shared, live) = view_of(self.arena, durable.branch, durable.lease);
            let (view, _) = self.replayed(shared, &durable, me);
            let now = run(&mut state, m).clone();
            if let Some(op) = now.last.filter(|op| now.looked && self.arena.has(shared, *op)) {
                return self.absorb_and_tell(label, state, m, view, op);
            }
            let kept = !self.arena.missing(shared, view).is_empty();
            if kept && !now.flushed {
                run(&mut state, m).flushed = true;
                if self.plan_flush(&mut state, m) {
                    return self.emit(label, state);
                }
                self.absorb(&mut state, m);
                continue;
            }
            if now.want == Want::Sync {
                state.machines[m].run = None;
                return self.emit(label, state);
            }
            let lease = self.arena.facts(view).lease;
            if let Some((_, epoch, _)) =
                lease.filter(|(by, epoch, _)| *by == me && durable.held != Some(*epoch))
                && self.guards.doubt_unconfirmed
            {
                if now.doubted != Some(durable.lease) {
                    run(&mut state, m).doubted = Some(durable.lease);
                    return self.look(label, state, m);
                }
                state.machines[m].durable.held = Some(epoch);
                self.crash(label, &state, m);
            }
            if now.want == Want::Recover(None) {
                let Some((_, epoch, _)) = lease else {
                    state.machines[m].run = None;
                    return self.emit(label, state);
                };
                run(&mut state, m).want = Want::Recover(Some(epoch));
                run(&mut state, m).judged = Some(durable.lease);
            }
            for (verdict, judged) in self.decide(&state, m, view) {
                let mut after = state.clone();
                run(&mut after, m).judged = judged;
                self.act(label, after, m, (view, live, kept), verdict);
            }
            return;
        }
    }

    fn act(
        &mut self,
        label: Label,
        mut state: State,
        m: usize,
        known: (TaskIx, bool, bool),
        verdict: Verdict,
    ) {
        let (view, live, kept) = known;
        let now = run(&mut state, m).clone();
        match verdict {
            Verdict::Do(action) => {
                let op = state.fresh_op(self.arena, m as u8, &action);
                let lease = state.machines[m].durable.lease;
                let base = lease.filter(|_| live).map_or(view, |tip| self.arena.file(tip));
                let Some(file) = self.arena.next(base, op) else {
                    return if now.looked {
                        self.refuse(label, state, m);
                    } else {
                        self.look(label, state, m);
                    };
                };
                // What was sent before and did not stand is given up for good.
                state.ghost.refused.extend(now.last);
                let commit = state.fresh_commit(self.arena, file);
                let on_branch =
                    !self.guards.status_on_lease && !now.want.is_holders() && now.want != Want::Claim;
                let run = run(&mut state, m);
                run.last = Some(op);
                run.proposal = Some(Proposal { expected: lease, commit, op, on_live: live });
                run.at = if on_branch { At::BranchPush } else { At::Swap };
                self.emit(label, state);
            }
            Verdict::Repeated if now.want.is_holders() => {
                let ends = self.arena.facts(view).ops.iter().rev().find(|op| {
                    let op = self.arena.op(**op);
                    op.machine == self.arena.name(m as u8) && matches!(op.action, Action::Done { .. })
                });
                let acked = ends.copied().filter(|_| !kept);
                state.ghost.acked.extend(acked);
                state.machines[m].told = None;
                state.machines[m].run = None;
                self.emit(label, state);
            }
            Verdict::Repeated => {
                // What was to be repeated is what was decided upon, not what the read brings.
                let commit = self.arena.commit(view, 0);
                let claim = self.arena.facts(view).claim;
                let run = run(&mut state, m);
                run.proposal = claim.map(|op| Proposal { expected: None, commit, op, on_live: live });
                run.at = At::StillStands;
                self.emit(label, state);
            }
            Verdict::No if !now.looked => self.look(label, state, m),
            Verdict::No => self.refuse(label, state, m),
        }
    }

    pub(super) fn look(&mut self, label: Label, mut state: State, m: usize) {
        let run = run(&mut state, m);
        run.looked = true;
        run.at = At::Look;
        run.listed = None;
        run.brought = None;
        run.proposal = None;
        self.emit(label, state);
    }

    /// The command ends with "no": what it had sent must never take effect.
    fn refuse(&mut self, label: Label, mut state: State, m: usize) {
        let now = run(&mut state, m).clone();
        state.ghost.refused.extend(now.last);
        state.machines[m].run = None;
        if now.want.is_holders() {
            state.machines[m].told = None;
        }
        self.emit(label, state);
    }

    fn decide(&mut self, state: &State, m: usize, view: TaskIx) -> Vec<(Verdict, Option<Option<Oid>>)> {
        let Machine { durable, run: Some(run), .. } = &state.machines[m] else { return Vec::new() };
        let facts = self.arena.facts(view).clone();
        let judged = run.judged;
        let (me, epoch, notes) = (m as u8, facts.epoch, || "why".to_owned());
        let one = |action: Action| vec![(Verdict::Do(action), judged)];
        match run.want {
            Want::Claim => self.decide_claim(durable, judged, view, me),
            Want::Beat(named) => {
                self.decide_act(view, me, named, judged, |epoch| Action::Heartbeat { epoch, progress: None })
            }
            Want::Done(named) => self.decide_act(view, me, named, judged, |epoch| Action::Done {
                epoch,
                notes: notes(),
                artifacts: Vec::new(),
                bundle: None,
            }),
            Want::Fail(named) => self.decide_act(view, me, named, judged, |epoch| Action::Fail {
                epoch,
                reason: Reason::Error,
                notes: notes(),
                permanent: false,
                retry_at: None,
                bundle: None,
            }),
            Want::Release(named) => self.decide_act(view, me, named, judged, |epoch| Action::Release {
                epoch,
                reason: None,
                notes: None,
            }),
            Want::Cancel => one(Action::Cancel { epoch, notes: notes() }),
            Want::Retry => one(Action::Retry { epoch, notes: None }),
            Want::Replan => {
                one(Action::Replan { epoch, notes: notes(), description: None, success_criteria: None })
            }
            Want::Recover(seen) => match facts.lease {
                Some((_, epoch, beat)) if Some(epoch) == seen && judged == Some(durable.lease) => {
                    one(Action::Recover { epoch, beat, retry_at: None })
                }
                _ => vec![(Verdict::No, judged)],
            },
            Want::Sync => Vec::new(),
        }
    }

    /// `usecase::claim::decide`. A lease may be found stale at the first sight of it; one that has moved since is
    /// fresh.
    fn decide_claim(
        &mut self,
        durable: &Durable,
        judged: Option<Option<Oid>>,
        view: TaskIx,
        me: u8,
    ) -> Vec<(Verdict, Option<Option<Oid>>)> {
        let facts = self.arena.facts(view);
        let base = facts.epoch;
        let seen = durable.floor.max(self.arena.facts(durable.file).epoch);
        let claim = |over| {
            let (epoch, ttl) = (base.max(seen) + 1, Duration::from_secs(900));
            Verdict::Do(Action::Claim { base, epoch, ttl, process: None, over })
        };
        let Some((by, _, beat)) = facts.lease else {
            let verdict = if facts.status == Status::Pending { claim(None) } else { Verdict::No };
            return vec![(verdict, judged)];
        };
        let task = self.arena.task(view);
        let token = Some(durable.lease);
        let may = self.bound.takeover
            && task.attempt() < max_attempts(task)
            && (judged.is_none() || judged == token);
        let mut found = Vec::new();
        if judged.is_none() || !may {
            found.push((if by == me { Verdict::Repeated } else { Verdict::No }, judged));
        }
        if may {
            found.push((claim(Some(beat)), token));
        }
        found
    }

    /// `usecase::held::check`, without the deadline.
    fn decide_act(
        &self,
        view: TaskIx,
        me: u8,
        named: Option<u64>,
        judged: Option<Option<Oid>>,
        action: impl Fn(u64) -> Action,
    ) -> Vec<(Verdict, Option<Option<Oid>>)> {
        let facts = self.arena.facts(view);
        let mine = |op: &OpIx| self.arena.op(*op).machine == self.arena.name(me);
        let claimed =
            facts.ops.iter().enumerate().rev().find_map(|(at, op)| match self.arena.op(*op).action {
                Action::Claim { epoch, .. } if mine(op) => Some((at, epoch)),
                _ => None,
            });
        let verdict = match (claimed, facts.lease) {
            (None, _) => Verdict::No,
            (Some(_), Some((by, epoch, _))) if by == me && named.is_none_or(|named| named == epoch) => {
                Verdict::Do(action(epoch))
            }
            (Some(_), Some(_)) => Verdict::No,
            (Some((at, held)), None) => {
                let ends = |op: &&OpIx| self.arena.op(**op).action.based_on() == Some(held);
                let end = facts.ops[at + 1..].iter().find(ends);
                let older = named.is_some_and(|named| named < held) || held < facts.epoch;
                let same = action(held).verb() == "done"
                    && end.is_some_and(|op| mine(op) && self.arena.op(*op).action.verb() == "done");
                if same && !older { Verdict::Repeated } else { Verdict::No }
            }
        };
        vec![(verdict, judged)]
    }

    /// `sync::absorb::replayed`.
    fn replayed(&mut self, shared: TaskIx, durable: &Durable, me: u8) -> (TaskIx, Vec<OpIx>) {
        let without = self.unconfirmed(shared, durable, me);
        self.arena.rebase(shared, durable.file, me, without)
    }

    /// `sync::absorb::unconfirmed`.
    fn unconfirmed(&mut self, shared: TaskIx, durable: &Durable, me: u8) -> Option<OpIx> {
        let facts = self.arena.facts(durable.file);
        let (_, epoch, _) = facts.lease.filter(|(by, ..)| *by == me)?;
        if durable.held == Some(epoch) {
            return None;
        }
        let claim = facts.claim?;
        (!self.arena.has(shared, claim)).then_some(claim)
    }

    /// `sync::absorb::merge_in`: what all machines share, with what this one has kept on top. What no longer fits
    /// is kept under `rejected/` and reported.
    pub(super) fn absorb(&mut self, state: &mut State, m: usize) {
        let durable = state.machines[m].durable.clone();
        let (shared, _) = view_of(self.arena, durable.branch, durable.lease);
        let (file, refused) = self.replayed(shared, &durable, m as u8);
        for op in refused {
            state.ghost.kept.retain(|(_, kept)| *kept != op);
            state.ghost.refused.push(op);
        }
        let (before, after) = (self.arena.facts(durable.file).epoch, self.arena.facts(file).epoch);
        let durable = &mut state.machines[m].durable;
        if before > after {
            durable.floor = durable.floor.max(before);
        }
        durable.file = file;
    }

    /// `usecase::held::renewed`.
    fn renewed(&self, state: &mut State, m: usize, task: TaskIx) {
        if let Some((_, epoch, _)) = self.arena.facts(task).lease.filter(|(by, ..)| usize::from(*by) == m) {
            state.machines[m].durable.held = Some(epoch);
        }
    }

    pub(super) fn absorb_and_tell(
        &mut self,
        label: Label,
        mut state: State,
        m: usize,
        view: TaskIx,
        op: OpIx,
    ) {
        self.absorb(&mut state, m);
        self.crash(label, &state, m);
        self.renewed(&mut state, m, view);
        self.crash(label, &state, m);
        self.tell(label, state, m, view, op);
    }

    /// The command ends with "yes".
    pub(super) fn tell(&mut self, label: Label, mut state: State, m: usize, view: TaskIx, op: OpIx) {
        let me = m as u8;
        let want = run(&mut state, m).want;
        state.machines[m].run = None;
        let mut broken = None;
        match want {
            Want::Claim => {
                let facts = self.arena.facts(view);
                let own = |by: u8| by == me || !self.guards.own_lease_only;
                if let Some((by, epoch, _)) = facts.lease.filter(|(by, ..)| own(*by)) {
                    state.ghost.acked.extend(facts.claim);
                    broken = self.double(&state, me, by, epoch);
                    state.ghost.told = state.ghost.told.max(Some((epoch, me)));
                    state.machines[m].told = Some(epoch);
                }
            }
            Want::Beat(_) | Want::Sync => {}
            Want::Done(_) | Want::Fail(_) | Want::Release(_) => {
                state.ghost.acked.push(op);
                state.machines[m].told = None;
            }
            Want::Cancel | Want::Retry | Want::Replan | Want::Recover(_) => state.ghost.acked.push(op),
        }
        let state = state.canonical(self.arena);
        self.out.push(Move { label, state, broken });
    }

    /// Promises 1 and 2 over what sessions were told.
    fn double(&self, state: &State, me: u8, by: u8, epoch: u64) -> Option<Violation> {
        let name = |machine| self.arena.name(machine);
        let what = match state.ghost.told {
            _ if by != me => {
                format!("{} was told that it holds epoch {epoch}, which is {}'s", name(me), name(by))
            }
            Some((highest, other)) if epoch == highest && other != me => {
                format!("{} and {} were both told that they hold epoch {epoch}", name(other), name(me))
            }
            Some((highest, other)) if epoch < highest => {
                return Some(Violation {
                    promise: 2,
                    what: format!(
                        "{} was told that it holds epoch {epoch} after {} was told {highest}",
                        name(me),
                        name(other)
                    ),
                });
            }
            _ => return None,
        };
        Some(Violation { promise: 1, what })
    }

    /// The remote cannot be asked. A holder's act is kept; everybody else is told that nothing is known.
    pub(super) fn unreachable(&mut self, label: Label, mut state: State, m: usize) {
        let now = run(&mut state, m).clone();
        let file = state.machines[m].durable.file;
        let mut after = state.clone();
        after.machines[m].run = None;
        if !now.want.is_holders() {
            return self.emit(label, after);
        }
        let Some((verdict, _)) = self.decide(&state, m, file).pop() else { return self.emit(label, after) };
        let Verdict::Do(action) = verdict else {
            after.machines[m].told = None;
            return self.emit(label, after);
        };
        if matches!(action, Action::Heartbeat { .. }) {
            return self.emit(label, after);
        }
        after.machines[m].told = None;
        let same = |op: &OpIx| {
            let sent = &self.arena.op(*op).action;
            (sent.verb(), sent.based_on()) == (action.verb(), action.based_on())
        };
        let op = match now.last.filter(same) {
            Some(op) => op,
            None => state.fresh_op(self.arena, m as u8, &action),
        };
        if let Some(file) = self.arena.next(file, op) {
            after.machines[m].durable.file = file;
            self.crash(label, &after, m);
            after.ghost.kept.push((m as u8, op));
        }
        self.emit(label, after);
    }

    /// `sync::publish::Draft::register_part`: what this machine has kept, as a push of the lease ref.
    pub(super) fn plan_flush(&mut self, state: &mut State, m: usize) -> bool {
        let durable = state.machines[m].durable.clone();
        let (shared, live) = view_of(self.arena, durable.branch, durable.lease);
        if self.unconfirmed(shared, &durable, m as u8).is_some() {
            return false;
        }
        let base = durable.lease.filter(|_| live).map_or(shared, |tip| self.arena.file(tip));
        let merged = self.arena.rebase_acts(base, durable.file, m as u8);
        let Some(op) = self.arena.missing(base, merged).last().copied() else { return false };
        let commit = state.fresh_commit(self.arena, merged);
        let run = run(state, m);
        run.proposal = Some(Proposal { expected: durable.lease, commit, op, on_live: live });
        run.at = At::Flush;
        true
    }
}
