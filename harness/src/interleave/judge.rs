//! The judgement after an execution, and of what each process was told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;

use orch::protocol::op::{Action, Op};
use orch::protocol::task::Task;
use orch::store::codec;
use orch::store::layout::Layout;
use orch::usecase::error::{Error, Kind};
use orch::usecase::sync;

use super::scenes::Part;
use super::seat::{Harm, Seat};
use super::stage::{Execution, Told, open};
use crate::sim::kernel::{Kernel, SECOND};
use crate::sim::oracle;

impl Execution {
    pub(super) fn broken(&self, promise: u8, what: impl Into<String>) {
        self.oracle.borrow_mut().broken(promise, self.prepared.now, what);
    }

    /// Passes on to the judge what a process was told.
    pub(super) fn note(&self, part: Part, seat: &Rc<Seat>, told: &Told) {
        let oracle = &mut *self.oracle.borrow_mut();
        oracle.look(&mut self.kernel.borrow_mut());
        let begun = if part.behind { self.prepared.held } else { self.prepared.now };
        let at = seat.now();
        let op = match told {
            Told::Claimed(claimed) => {
                if self.prepared.scene.shared {
                    let Part { session, machine, .. } = part;
                    oracle.claimed(at, &claimed.task, claimed.epoch, session, machine, claimed.repeated);
                }
                let mine =
                    |op: &&Op| matches!(op.action, Action::Claim { epoch, .. } if epoch == claimed.epoch);
                claimed.task.history().iter().find(mine)
            }
            Told::Changed(task, published) => {
                if self.prepared.scene.shared {
                    let Part { session, machine, .. } = part;
                    let published = *published;
                    let act = oracle::Act { task, session, machine, published, begun, repeated: false };
                    oracle.acted(&self.kernel.borrow(), &act);
                }
                task.history().iter().rev().find(|op| op.by == part.session)
            }
            Told::Beat(..) | Told::Plain(_) => None,
        };
        self.told.borrow_mut().extend(op.map(|op| (op.clone(), part.machine)));
    }

    /// Races are lost in known ways; whatever else a command says here is wrong.
    pub(super) fn expect(&self, part: Part, error: &Error) {
        let harmed =
            self.prepared.harm != Harm::default() && part.session == self.prepared.scene.cast[0].session;
        let known = match error.kind {
            Kind::Conflict | Kind::Nothing | Kind::Fenced => true,
            Kind::Unreachable | Kind::Timeout => harmed,
            _ => false,
        };
        if !known {
            let text = format!("{} was told {}: {}", part.session, error.code, error.message);
            self.broken(0, text);
        }
    }

    /// After the processes have ended: files are whole, everybody exchanges what there is, and then all hold the
    /// same, and everything that anybody was told.
    pub(super) fn judge(&self) {
        self.oracle.borrow_mut().look(&mut self.kernel.borrow_mut());
        self.files_are_whole();
        if self.prepared.scene.shared {
            self.settle();
            self.files_are_whole();
        }
        let kernel = self.kernel.borrow();
        let contents: Vec<_> = (0..kernel.machines.len()).map(|machine| files(&kernel, machine)).collect();
        if contents.iter().any(|other| *other != contents[0]) {
            self.broken(7, "machines that have exchanged everything hold different files");
        }
        let tasks: Vec<Task> = contents[0]
            .values()
            .filter_map(|bytes| codec::decode(bytes).ok())
            .map(|found| found.task)
            .collect();
        for (op, machine) in &*self.told.borrow() {
            let kept = || {
                let rejected = Layout::new(&kernel.machines[*machine].state).rejected();
                let texts = kernel.machines[*machine].disk.files_below(&rejected);
                texts.values().any(|bytes| String::from_utf8_lossy(bytes).contains(&op.id.to_string()))
            };
            if !tasks.iter().any(|task| task.has_op(op)) && !kept() {
                self.broken(4, format!("{} by {} was acknowledged and is gone", op.action.verb(), op.by));
            }
        }
        // Two claims of one epoch: told to two sessions, whether there is a remote or not.
        let told = self.told.borrow();
        let epochs = told.iter().filter_map(|(op, _)| match op.action {
            Action::Claim { epoch, .. } => Some((epoch, op.id)),
            _ => None,
        });
        let epochs: BTreeSet<_> = epochs.collect();
        if epochs.iter().zip(epochs.iter().skip(1)).any(|(one, two)| one.0 == two.0) {
            self.broken(1, "one epoch was told to two sessions");
        }
    }

    fn settle(&self) {
        let machines = self.prepared.scene.machines;
        // The first exchanges once more, to hear of what the others had.
        for machine in (0..machines).chain(0..machines - 1) {
            let now = self.seats.iter().map(|seat| seat.now()).max().unwrap_or_default() + 10 * SECOND;
            let seat = Seat::new(&self.kernel, 0, machine, now, Harm::default());
            let answer = open(&seat, &self.prepared.settings, "end").and_then(|mut q| sync::sync(&mut q));
            if let Err(error) = answer {
                self.broken(0, format!("a sync at the end was told {}: {}", error.code, error.message));
            }
            seat.end();
        }
        self.oracle.borrow_mut().look(&mut self.kernel.borrow_mut());
    }

    fn files_are_whole(&self) {
        let kernel = self.kernel.borrow();
        for machine in 0..kernel.machines.len() {
            for (path, bytes) in files(&kernel, machine) {
                if let Err(problem) = codec::decode(&bytes) {
                    self.broken(8, format!("m{machine}: {}: {}", path.display(), problem.message));
                }
            }
        }
    }
}

/// The task files of a machine.
fn files(kernel: &Kernel, machine: usize) -> BTreeMap<PathBuf, Rc<Vec<u8>>> {
    let machine = &kernel.machines[machine];
    let tasks = Layout::new(&machine.state).tasks();
    let all = machine.disk.files_below(&tasks).into_iter();
    all.filter(|(path, _)| path.extension().is_some_and(|ext| ext == "yaml"))
        .filter_map(|(path, bytes)| Some((path.strip_prefix(&tasks).ok()?.to_owned(), bytes)))
        .collect()
}
