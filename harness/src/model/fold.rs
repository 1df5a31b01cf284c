//! Folding, as `sync::publish` does it: the branch first, then the deletion of what was folded.

use orch::protocol::task::Status;

use super::arena::Oid;
use super::procedure::{Label, Moves, Net};
use super::state::{Fold, Folder, State, Update, view_of};
use super::steps::Answer;

fn label(what: &'static str, net: Net) -> Label {
    Label { who: None, what, net }
}

impl Moves<'_> {
    /// The next step of one folder.
    pub(super) fn fold(&mut self, state: &State, at: usize) {
        let folder = state.folders[at].clone();
        if folder != Folder::Idle && state.faults > 0 {
            let mut dead = state.clone();
            dead.faults -= 1;
            self.go(label("the folder dies", Net::Crash), dead, at, Folder::Idle);
        }
        let branch =
            |fold: Fold| Update { is_branch: true, expected: Some(Some(fold.base)), new: Some(fold.commit) };
        match folder {
            Folder::Idle if state.lease.is_none() => {}
            Folder::Idle if self.bound.split => {
                let listed = Folder::Listed(state.branch);
                self.go(label("the folder lists the branch", Net::Done), state.clone(), at, listed);
            }
            Folder::Idle => self.plan_fold(state, at, state.branch),
            Folder::Listed(branch) => self.plan_fold(state, at, branch),
            Folder::Push(fold) => {
                for (net, after, answer) in self.push(state, &branch(fold)) {
                    let then = match answer {
                        Answer::Accepted => Folder::Delete(fold.tip),
                        Answer::Refused => Folder::Idle,
                        Answer::Unknown => Folder::Resolve(fold),
                    };
                    self.go(label("the folder pushes the branch", net), after, at, then);
                }
            }
            Folder::Resolve(fold) => {
                let there = state.branch == fold.commit;
                let then = if there { Folder::Delete(fold.tip) } else { Folder::Idle };
                self.go(label("the folder reads the branch again", Net::Done), state.clone(), at, then);
            }
            Folder::Delete(tip) => {
                let expected = self.guards.deletion_compares.then_some(Some(tip));
                self.delete(state, at, expected, "the folder deletes what it folded");
            }
            Folder::Void(tip) => {
                self.delete(state, at, Some(Some(tip)), "the folder deletes a void lease ref");
            }
            Folder::DeleteFirst(fold) => {
                let deletion = Update { is_branch: false, expected: Some(Some(fold.tip)), new: None };
                for (net, after, answer) in self.push(state, &deletion) {
                    let then = if answer == Answer::Accepted { Folder::Push(fold) } else { Folder::Idle };
                    self.go(label("the folder deletes what it is about to fold", net), after, at, then);
                }
            }
        }
    }

    fn delete(&mut self, state: &State, at: usize, expected: Option<Option<Oid>>, what: &'static str) {
        for (net, after, _) in self.push(state, &Update { is_branch: false, expected, new: None }) {
            self.go(label(what, net), after, at, Folder::Idle);
        }
    }

    /// `Draft::fold` with what was just fetched.
    fn plan_fold(&mut self, state: &State, at: usize, branch: Oid) {
        let what = label("the folder fetches", Net::Done);
        let Some(tip) = state.lease else { return self.go(what, state.clone(), at, Folder::Idle) };
        let (folded, live) = view_of(self.arena, branch, Some(tip));
        let file = self.arena.file(tip);
        let ended = self.arena.facts(file).status != Status::InProgress;
        let then = match (live, ended) {
            (false, _) => Folder::Void(tip),
            (true, true) => {
                let fold = Fold { base: branch, commit: state.fresh_commit(self.arena, folded), tip };
                if self.guards.fold_first { Folder::Push(fold) } else { Folder::DeleteFirst(fold) }
            }
            (true, false) if state.folders[at] == Folder::Idle => return,
            (true, false) => Folder::Idle,
        };
        self.go(what, state.clone(), at, then);
    }

    fn go(&mut self, label: Label, mut after: State, at: usize, then: Folder) {
        after.folders[at] = then;
        self.emit(label, after);
    }
}
