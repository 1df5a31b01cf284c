//! `doctor`: tests everything that a queue stands on, says what is wrong and what to do, and mends with
//! `--repair` what can be mended without losing anything.
//!
//! One file per check. The first group needs no queue, because a queue may be what does not open.

mod alarm;
mod clock;
mod code;
mod damaged;
mod disk;
mod files;
mod fleet;
mod git;
mod index;
mod leftovers;
mod locks;
mod maintenance;
mod remote;
mod repository;
mod settings;
mod state;
mod unpublished;
mod work;

use std::path::PathBuf;

use crate::store::layout::Layout;
use crate::store::settings::Settings;
use crate::world::inspect::{FileSystem, Permissions};
use crate::world::{Clock, Disk, Objects};

use super::error::{Error, Kind, Result};
use super::queue::Queue;

pub use alarm::publish_again;

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name: one word.
    pub name: &'static str,
    /// Whether nothing is wrong. A check that is fine may still have a hint: advice.
    pub ok: bool,
    /// What was seen, in one sentence.
    pub detail: String,
    /// What to do.
    pub hint: Option<String>,
    /// Each single thing that is wrong; the detail alone if there is only one.
    pub problems: Vec<String>,
}

impl Check {
    pub(super) fn fine(name: &'static str, detail: impl Into<String>) -> Self {
        Check { name, ok: true, detail: detail.into(), hint: None, problems: Vec::new() }
    }

    pub(super) fn wrong(name: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Check { name, ok: false, problems: vec![detail.clone()], detail, hint: None }
    }

    /// Fine if the list is empty.
    pub(super) fn list(name: &'static str, fine: impl Into<String>, problems: Vec<String>) -> Self {
        match problems.len() {
            0 => Check::fine(name, fine),
            1 => Check::wrong(name, problems[0].clone()),
            many => Check { problems, ..Check::wrong(name, format!("{many} problems")) },
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn hint_if_wrong(self, hint: impl Into<String>) -> Self {
        if self.ok { self } else { self.hint(hint) }
    }
}

/// What the doctor found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Whether every check is fine, after repairs.
    pub ok: bool,
    /// Each thing that is wrong, beginning with the name of its check.
    pub problems: Vec<String>,
    /// Every check, in order.
    pub checks: Vec<Check>,
    /// What was mended.
    pub repaired: Vec<String>,
}

/// What the doctor wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Request {
    /// Mend what can be mended without losing anything.
    pub repair: bool,
    /// Leave the network alone.
    pub no_sync: bool,
}

/// What is known about the code repository around the state directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CodeRepository {
    /// Its root.
    pub root: PathBuf,
    /// Whether its `.git/info/exclude` leaves the state directory out.
    pub excluded: bool,
    /// Whether its `origin` is the remote of the queue.
    pub shares_remote: bool,
    /// The refspecs by which it fetches from `origin`.
    pub fetches: Vec<String>,
}

/// What the doctor needs from whoever puts a machine together: the parts, before there is a queue.
pub trait Patient {
    /// Where everything lies.
    fn layout(&self) -> &Layout;
    /// Files and locks.
    fn disk(&self) -> &dyn Disk;
    /// Clocks.
    fn clock(&self) -> &dyn Clock;
    /// The file system of the state directory.
    fn file_system(&self) -> std::result::Result<FileSystem, String>;
    /// Permissions of a path.
    fn permissions(&self, path: &std::path::Path) -> std::result::Result<Permissions, String>;
    /// Version of `git`, or why it cannot be used.
    fn git_version(&self) -> std::result::Result<String, String>;
    /// Processes of `git` in the repository, or that have this file open; `None` if that cannot be known.
    fn at_work(&self, file: &std::path::Path) -> Option<Vec<u32>>;
    /// Effective settings.
    ///
    /// # Errors
    /// Configuration (78) with file, line and column.
    fn settings(&self) -> Result<Settings>;
    /// Opens the local repository as it is; nothing is created.
    fn repository(&self) -> std::result::Result<Box<dyn Objects>, String>;
    /// Creates the local repository, or completes it.
    fn create_repository(&self, settings: &Settings) -> std::result::Result<(), String>;
    /// Opens the queue.
    ///
    /// # Errors
    /// As for any command.
    fn open(&self) -> Result<Queue>;
    /// The remote as a path on this machine, if it is one.
    fn remote_path(&self, settings: &Settings) -> Option<PathBuf>;
    /// Adds the objects that this machine shares with others to the remote at this path; no ref of it moves.
    fn lend_objects(&self, remote: &std::path::Path) -> std::result::Result<(), String>;
    /// The code repository around the state directory, if there is one.
    fn code_repository(&self, settings: &Settings) -> Option<CodeRepository>;
    /// Leaves the state directory out of the sight of the code repository.
    fn exclude(&self, code: &CodeRepository) -> std::result::Result<(), String>;
}

/// Checks everything, and mends on request. What is wrong stands in the report.
///
/// # Errors
/// Not found (3) where no queue is.
pub fn examine(patient: &dyn Patient, request: Request) -> Result<Report> {
    let mut visit = Visit { request, report: Report::default() };
    let machine = patient.layout().machine();
    if patient.disk().stat(&machine).map_err(|e| Error::failure(e.to_string()))?.is_none() {
        let message = format!("{} holds no queue of this machine", patient.layout().state().display());
        return Err(Error::new(Kind::NotFound, "no_queue", message).hint("`orch init` makes one here"));
    }
    visit.add(state::check(patient));
    visit.add(disk::check(patient));
    visit.add(locks::check(patient));
    visit.add(clock::check(patient));
    visit.add(git::check(patient));
    let settings = visit.settings(patient);
    if let Some(settings) = &settings {
        leftovers::git_locks(patient, &mut visit);
        repository::check(patient, settings, &mut visit);
        visit.queue(patient, settings);
        code::check(patient, settings, &mut visit);
    }
    visit.report.ok = visit.report.checks.iter().all(|check| check.ok);
    let told = |check: &Check| {
        check.problems.iter().map(|text| format!("{}: {text}", check.name)).collect::<Vec<_>>()
    };
    visit.report.problems = visit.report.checks.iter().flat_map(told).collect();
    Ok(visit.report)
}

/// A report in the making.
struct Visit {
    request: Request,
    report: Report,
}

impl Visit {
    fn add(&mut self, check: Check) {
        self.report.checks.push(check);
    }

    fn repaired(&mut self, what: impl Into<String>) {
        self.report.repaired.push(what.into());
    }

    fn settings(&mut self, patient: &dyn Patient) -> Option<Settings> {
        let (check, settings) = settings::check(patient);
        self.add(check);
        settings
    }

    /// The checks that need an open queue.
    fn queue(&mut self, patient: &dyn Patient, settings: &Settings) {
        let mut queue = match patient.open() {
            Ok(queue) => queue,
            Err(error) => {
                let check = Check::wrong("queue", error.message);
                let hint = "mend what the checks above name, then run `orch doctor` again";
                return self.add(check.hint(error.hint.unwrap_or_else(|| hint.to_owned())));
            }
        };
        queue.no_sync |= self.request.no_sync;
        self.report.repaired.extend(std::mem::take(&mut queue.restored));
        work::check(&queue, self);
        self.step(&mut queue, index::check);
        self.step(&mut queue, |q, visit| remote::check(patient, settings, q, visit));
        for step in [alarm::check, damaged::mend] {
            self.step(&mut queue, step);
        }
        remote::left_over_locks(patient, settings, self);
        let steps: [fn(&mut Queue, &mut Visit) -> Result<()>; 5] =
            [files::check, unpublished::check, leftovers::check, maintenance::check, fleet::check];
        for step in steps {
            self.step(&mut queue, step);
        }
    }

    /// A check that fails as a whole is a finding, and no reason to leave out the others.
    fn step(&mut self, queue: &mut Queue, step: impl FnOnce(&mut Queue, &mut Visit) -> Result<()>) {
        if let Err(error) = step(queue, self) {
            let check = Check::wrong("queue", error.message);
            self.add(match error.hint {
                Some(hint) => check.hint(hint),
                None => check,
            });
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) mod rig;
