//! The network steps: each with every way in which it can come out.

use super::procedure::{Label, Moves, Net, run};
use super::state::{At, Folder, Run, State, Update, Want, view_of};

/// What the sender of a push learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Accepted,
    Refused,
    Unknown,
}

/// Compare and swap.
fn apply(state: &mut State, update: &Update) -> bool {
    let now = if update.is_branch { Some(state.branch) } else { state.lease };
    if update.expected.is_some_and(|expected| expected != now) {
        return false;
    }
    match (update.is_branch, update.new) {
        (true, Some(new)) => state.branch = new,
        (true, None) => return false,
        (false, new) => state.lease = new,
    }
    true
}

impl Moves<'_> {
    /// Everything that can happen next.
    pub(super) fn all(&mut self, state: &State) {
        let claimers = usize::from(self.bound.claimers);
        for m in 0..state.machines.len() {
            let label = Label { who: Some(m as u8), what: "dies", net: Net::Done };
            if state.machines[m].run.is_some() {
                self.step(state, m);
                self.crash(label, state, m);
                continue;
            }
            if state.machines[m].told.is_some() {
                self.crash(label, state, m);
            }
            if m < claimers {
                self.begin_claimer(state, m);
            } else if m == claimers && state.machines[m].begins > 0 {
                for want in [Want::Cancel, Want::Retry, Want::Replan] {
                    self.begin(state, m, want);
                }
            } else if m > claimers && self.bound.watchdog && self.in_progress(state) {
                self.begin(state, m, Want::Recover(None));
            }
        }
        for at in 0..state.folders.len() {
            // Folders that stand at the same place are one and the same.
            if at == 0 || state.folders[at] != state.folders[at - 1] {
                self.fold(state, at);
            }
        }
        if let Some(late) = &state.late {
            let mut after = state.clone();
            after.late = None;
            apply(&mut after, late);
            self.emit(Label { who: None, what: "the late push arrives", net: Net::Done }, after);
        }
    }

    fn in_progress(&mut self, state: &State) -> bool {
        let view = state.view(self.arena);
        self.arena.facts(view).lease.is_some()
    }

    fn begin_claimer(&mut self, state: &State, m: usize) {
        let machine = &state.machines[m];
        let durable = &machine.durable;
        if machine.begins > 0 && machine.told.is_none() {
            self.begin(state, m, Want::Claim);
        }
        let (shared, _) = view_of(self.arena, durable.branch, durable.lease);
        let mine = self.arena.facts(shared).lease.is_some_and(|(by, ..)| usize::from(by) == m);
        if machine.told.is_some() || mine {
            let named = machine.told;
            self.begin(state, m, Want::Done(named));
            if self.bound.all_ends {
                self.begin(state, m, Want::Fail(named));
                self.begin(state, m, Want::Release(named));
            }
            if machine.beats > 0 {
                self.begin(state, m, Want::Beat(named));
            }
        }
        if !self.arena.missing(shared, durable.file).is_empty() {
            self.begin(state, m, Want::Sync);
        }
    }

    /// A push with every way in which it can come out.
    pub(super) fn push(&mut self, state: &State, update: &Update) -> Vec<(Net, State, Answer)> {
        let mut done = state.clone();
        let accepted = apply(&mut done, update);
        let mut ways = Vec::with_capacity(4);
        if state.faults > 0 {
            let mut lost = state.clone();
            lost.faults -= 1;
            if self.bound.late && state.late.is_none() {
                let late = State { late: Some(update.clone()), ..lost.clone() };
                ways.push((Net::Late, late, Answer::Unknown));
            }
            if accepted {
                let mut unseen = done.clone();
                unseen.faults -= 1;
                ways.push((Net::AnswerLost, unseen, Answer::Unknown));
            }
            ways.push((Net::Lost, lost, Answer::Unknown));
        }
        ways.push((Net::Done, done, if accepted { Answer::Accepted } else { Answer::Refused }));
        ways
    }

    pub(super) fn step(&mut self, state: &State, m: usize) {
        let Some(now) = state.machines[m].run.clone() else { return };
        let label = |what, net| Label { who: Some(m as u8), what, net };
        match now.at {
            At::Look | At::FlushLook | At::Stands | At::StillStands | At::FlushRead | At::SwapRead(_) => {
                self.read(state, m, &now);
            }
            At::Swap => {
                let Some(proposal) = now.proposal else { return };
                let holder = now.want.is_holders() && proposal.on_live && !self.guards.holder_compares;
                let watchdog = matches!(now.want, Want::Recover(_)) && !self.guards.watchdog_compares;
                let expected = (!holder && !watchdog).then_some(proposal.expected);
                let update = Update { is_branch: false, expected, new: Some(proposal.commit) };
                for (net, mut after, answer) in self.push(state, &update) {
                    let label = label("pushes the lease ref", net);
                    match answer {
                        Answer::Accepted => self.accepted(label, after, m),
                        Answer::Unknown if !self.guards.resolve_unknown => self.accepted(label, after, m),
                        _ => {
                            run(&mut after, m).at = At::SwapRead(answer == Answer::Unknown);
                            self.emit(label, after);
                        }
                    }
                }
            }
            At::Withdraw(failed) => self.withdraw(state, m, &now, failed),
            At::Flush => {
                let Some(proposal) = now.proposal else { return };
                let update = Update {
                    is_branch: false,
                    expected: Some(proposal.expected),
                    new: Some(proposal.commit),
                };
                for (net, mut after, answer) in self.push(state, &update) {
                    let label = label("pushes what it had kept", net);
                    if answer == Answer::Accepted {
                        self.flushed(label, after, m);
                    } else {
                        run(&mut after, m).at = At::FlushRead;
                        self.emit(label, after);
                    }
                }
            }
            At::BranchPush => self.push_to_branch(state, m),
        }
    }

    /// A read: it brings what the remote holds, or fails.
    fn read(&mut self, state: &State, m: usize, now: &Run) {
        let what = match now.at {
            At::Look | At::FlushLook => "fetches",
            At::Stands => "reads the branch again after its push",
            At::StillStands => "reads whether its claim still stands",
            _ => "reads the ref again after a push without a plain answer",
        };
        let label = Label { who: Some(m as u8), what, net: Net::Done };
        if state.faults > 0 {
            let mut failed = state.clone();
            failed.faults -= 1;
            let lost = Label { net: Net::Lost, ..label };
            if now.at == At::Stands && self.may_withdraw(now) {
                run(&mut failed, m).at = At::Withdraw(true);
                self.emit(lost, failed);
            } else {
                self.unreachable(lost, failed, m);
            }
        }
        let mut after = state.clone();
        if matches!(now.at, At::SwapRead(_) | At::FlushRead) {
            return self.resolve(label, after, m, now);
        }
        if self.bound.split && now.listed.is_none() {
            run(&mut after, m).listed = Some(state.branch);
            return self.emit(Label { what: "lists the branch", ..label }, after);
        }
        let (branch, lease) = (now.listed.unwrap_or(state.branch), state.lease);
        run(&mut after, m).listed = None;
        match now.at {
            At::Look | At::FlushLook => {
                if self.guards.branch_memory_first {
                    after.machines[m].durable.branch = branch;
                    self.crash(label, &after, m);
                }
                after.machines[m].durable.lease = lease;
                self.crash(label, &after, m);
                after.machines[m].durable.branch = branch;
                self.crash(label, &after, m);
                self.absorb(&mut after, m);
                self.crash(label, &after, m);
                if now.at == At::FlushLook && self.plan_flush(&mut after, m) {
                    return self.emit(label, after);
                }
                self.round(label, after, m);
            }
            At::Stands => self.stands(label, after, m, branch, lease),
            _ => self.still_stands(label, after, m, branch, lease),
        }
    }

    /// What has ended a folder may be folding at this moment: taken back, it would come back with the branch.
    fn may_withdraw(&self, now: &Run) -> bool {
        let in_flight = matches!(now.want, Want::Claim | Want::Beat(_));
        in_flight || !self.guards.withdraw_unfolded_only
    }

    /// Whose object does the ref hold?
    fn resolve(&mut self, label: Label, mut after: State, m: usize, now: &Run) {
        let Some(proposal) = now.proposal else { return };
        if now.at == At::FlushRead {
            if after.lease == Some(proposal.commit) {
                return self.flushed(label, after, m);
            }
            run(&mut after, m).proposal = None;
            run(&mut after, m).at = At::FlushLook;
            return self.emit(label, after);
        }
        if after.lease == Some(proposal.commit) {
            return self.accepted(label, after, m);
        }
        let silent = now.at == At::SwapRead(true) && self.guards.fresh_after_silence;
        if after.lease == proposal.expected && !silent {
            run(&mut after, m).at = At::Swap;
            return self.emit(label, after);
        }
        if !self.guards.moved_is_lost && after.lease != proposal.expected {
            return self.accepted(label, after, m);
        }
        self.look(label, after, m);
    }

    /// The remote holds our object.
    fn accepted(&mut self, label: Label, mut after: State, m: usize) {
        let now = run(&mut after, m).clone();
        let Some(proposal) = now.proposal else { return };
        self.crash(label, &after, m);
        after.machines[m].durable.lease = Some(proposal.commit);
        self.crash(label, &after, m);
        let trusted = now.want.is_holders() && proposal.on_live;
        let guard = if now.want == Want::Claim {
            self.guards.read_after_claim
        } else {
            now.want.is_holders() || self.guards.read_after_operator
        };
        if trusted || !guard {
            let durable = after.machines[m].durable.clone();
            let (view, _) = view_of(self.arena, durable.branch, durable.lease);
            return self.absorb_and_tell(label, after, m, view, proposal.op);
        }
        run(&mut after, m).at = At::Stands;
        self.emit(label, after);
    }

    /// The memory of the refs after a read. The branch comes first: a fold moves it before the lease ref goes.
    fn remember(&mut self, label: Label, after: &mut State, m: usize, branch: u32, lease: Option<u32>) {
        if self.guards.read_moves_both {
            after.machines[m].durable.branch = branch;
            self.crash(label, after, m);
        }
        after.machines[m].durable.lease = lease;
        self.crash(label, after, m);
    }

    fn stands(&mut self, label: Label, mut after: State, m: usize, branch: u32, lease: Option<u32>) {
        let now = run(&mut after, m).clone();
        let Some(proposal) = now.proposal else { return };
        self.remember(label, &mut after, m, branch, lease);
        let (view, _) = view_of(self.arena, branch, lease);
        let holds = match now.want {
            Want::Beat(_) => {
                let epoch = self.arena.op(proposal.op).action.based_on();
                let lease = self.arena.facts(view).lease;
                lease.is_some_and(|(by, held, _)| usize::from(by) == m && Some(held) == epoch)
            }
            _ => self.arena.has(view, proposal.op),
        };
        if holds {
            return self.absorb_and_tell(label, after, m, view, proposal.op);
        }
        run(&mut after, m).brought = Some(branch);
        run(&mut after, m).at = At::Withdraw(false);
        self.emit(label, after);
    }

    fn still_stands(&mut self, label: Label, mut after: State, m: usize, branch: u32, lease: Option<u32>) {
        let Some(proposal) = run(&mut after, m).proposal else { return };
        self.remember(label, &mut after, m, branch, lease);
        let (view, _) = view_of(self.arena, branch, lease);
        let still =
            self.arena.facts(view).claim == Some(proposal.op) && self.arena.facts(view).lease.is_some();
        if !self.arena.has(view, proposal.op) || (self.guards.repeat_needs_lease && !still) {
            return self.look(label, after, m);
        }
        self.absorb(&mut after, m);
        self.crash(label, &after, m);
        // Told is what was decided upon: the lease whose claim was looked for.
        let told = self.arena.file(proposal.commit);
        self.tell(label, after, m, told, proposal.op);
    }

    fn withdraw(&mut self, state: &State, m: usize, now: &Run, failed: bool) {
        let Some(proposal) = now.proposal else { return };
        let newest = now.brought.unwrap_or(state.machines[m].durable.branch);
        let waiting = proposal.expected.filter(|before| view_of(self.arena, newest, Some(*before)).1);
        let expected = self.guards.withdrawal_compares.then_some(Some(proposal.commit));
        for (net, mut after, answer) in self.push(state, &Update { is_branch: false, expected, new: waiting })
        {
            let label = Label { who: Some(m as u8), what: "takes its push back", net };
            if answer == Answer::Accepted {
                self.crash(label, &after, m);
                after.machines[m].durable.lease = waiting;
                self.crash(label, &after, m);
            }
            if failed {
                self.unreachable(label, after, m);
                continue;
            }
            self.absorb(&mut after, m);
            self.crash(label, &after, m);
            self.look(label, after, m);
        }
    }

    /// What was kept is out. A ref that had to be made anew stands under the rules of a claim.
    fn flushed(&mut self, label: Label, mut after: State, m: usize) {
        let Some(proposal) = run(&mut after, m).proposal.take() else { return };
        self.crash(label, &after, m);
        after.machines[m].durable.lease = Some(proposal.commit);
        self.crash(label, &after, m);
        self.absorb(&mut after, m);
        self.crash(label, &after, m);
        if proposal.expected.is_none() {
            run(&mut after, m).at = At::FlushLook;
            return self.emit(label, after);
        }
        if self.plan_flush(&mut after, m) {
            return self.emit(label, after);
        }
        self.round(label, after, m);
    }

    /// Only in a variant: an operator's operation is pushed onto the branch like an edit.
    fn push_to_branch(&mut self, state: &State, m: usize) {
        let Some(proposal) = state.machines[m].run.as_ref().and_then(|run| run.proposal) else { return };
        let base = state.machines[m].durable.branch;
        let file = self.arena.file(base);
        let Some(after) = self.arena.next(file, proposal.op) else { return };
        let commit = state.fresh_commit(self.arena, after);
        let update = Update { is_branch: true, expected: Some(Some(base)), new: Some(commit) };
        for (net, mut after, answer) in self.push(state, &update) {
            let label = Label { who: Some(m as u8), what: "pushes the branch", net };
            if answer != Answer::Accepted {
                self.look(label, after, m);
                continue;
            }
            after.machines[m].durable.branch = commit;
            let file = self.arena.file(commit);
            self.absorb_and_tell(label, after, m, file, proposal.op);
        }
    }
}

/// Whether nothing is under way, nothing waits for its fold and nobody keeps anything.
pub(super) fn at_rest(state: &State) -> bool {
    state.lease.is_none()
        && state.late.is_none()
        && state.ghost.kept.is_empty()
        && state.machines.iter().all(|machine| machine.run.is_none())
        && state.folders.iter().all(|folder| *folder == Folder::Idle)
}
