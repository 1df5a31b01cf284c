//! Real machines around a bare repository in a temporary directory, for tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::machine::{self, InitRequest, Options};
use crate::protocol::id::TaskId;
use crate::protocol::task::Definition;
use crate::usecase::claim::{self, Terms};
use crate::usecase::doctor::{Check, Report};
use crate::usecase::holder::{self, Finish};
use crate::usecase::queue::Queue;
use crate::usecase::{add, read, sync};

/// Some machines and perhaps a remote.
pub(crate) struct Rig {
    dir: tempfile::TempDir,
    shared: bool,
}

pub(crate) fn id(text: &str) -> TaskId {
    TaskId::parse(text).unwrap()
}

pub(crate) fn task_named(report: &Report, name: &str) -> Check {
    report
        .checks
        .iter()
        .find(|check| check.name == name)
        .unwrap_or_else(|| panic!("no {name}: {report:#?}"))
        .clone()
}

impl Rig {
    pub(crate) fn shared() -> Rig {
        let rig = Rig { dir: tempfile::tempdir().unwrap(), shared: true };
        rig.git(rig.dir.path(), &["init", "--quiet", "--bare", "hub.git"]);
        rig
    }

    pub(crate) fn alone() -> Rig {
        Rig { dir: tempfile::tempdir().unwrap(), shared: false }
    }

    pub(crate) fn hub(&self) -> PathBuf {
        self.dir.path().join("hub.git")
    }

    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.dir.path().join(name).join("state")
    }

    fn options(&self, name: &str) -> Options {
        Options {
            state: self.state(name),
            session: Some(format!("agent:{name}")),
            no_sync: false,
            ..Default::default()
        }
    }

    /// Opens a machine, which is made the first time.
    pub(crate) fn machine(&self, name: &str) -> Queue {
        let state = self.state(name);
        if !state.exists() {
            let remote = self.shared.then(|| self.hub().to_string_lossy().into_owned());
            std::fs::create_dir_all(&state).unwrap();
            machine::init(&InitRequest { state, remote, ..InitRequest::default() }).unwrap();
        }
        machine::open(&self.options(name)).unwrap()
    }

    pub(crate) fn doctor(&self, name: &str) -> Report {
        machine::doctor(&self.options(name), false).unwrap()
    }

    pub(crate) fn repair(&self, name: &str) -> Report {
        machine::doctor(&self.options(name), true).unwrap()
    }

    pub(crate) fn add(&self, name: &str, task: &str) {
        let def = Definition { title: format!("title of {task}"), ..Definition::default() };
        add::add(&mut self.machine(name), Some(id(task)), def).unwrap();
    }

    pub(crate) fn claim(&self, name: &str, task: &str) {
        claim::claim(&mut self.machine(name), &id(task), &Terms::default()).unwrap();
    }

    pub(crate) fn done(&self, name: &str, task: &str) {
        let how = Finish { notes: "ready".to_owned(), ..Finish::default() };
        holder::done(&mut self.machine(name), &id(task), None, &how).unwrap();
    }

    pub(crate) fn sync(&self, name: &str) {
        sync::sync(&mut self.machine(name)).unwrap();
    }

    pub(crate) fn history(&self, name: &str, task: &str) -> Vec<&'static str> {
        let task = read::show(&mut self.machine(name), &id(task)).unwrap();
        task.history().iter().map(|op| op.action.verb()).collect()
    }

    pub(crate) fn file(&self, name: &str, task: &str) -> PathBuf {
        self.state(name).join(crate::store::layout::tree_path(&id(task)))
    }

    /// Runs git, and gives what it prints.
    pub(crate) fn git(&self, at: &Path, args: &[&str]) -> String {
        let run = Command::new("git")
            .current_dir(at)
            .args(["-c", "user.name=t", "-c", "user.email=t@t"])
            .args(args)
            .env("HOME", self.dir.path())
            .output()
            .unwrap();
        assert!(run.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stdout).unwrap().trim().to_owned()
    }

    /// What the remote holds under its branch.
    pub(crate) fn tip(&self) -> String {
        self.git(&self.hub(), &["rev-parse", "refs/heads/orch-state"])
    }

    /// Somebody commits a file to the branch with plain git; gives the commit.
    pub(crate) fn commit_by_hand(&self, path: &str, text: &str) -> String {
        let clone = self.dir.path().join("by-hand");
        if !clone.exists() {
            let hub = self.hub().to_string_lossy().into_owned();
            self.git(self.dir.path(), &["clone", "--quiet", "-b", "orch-state", &hub, "by-hand"]);
        }
        self.git(&clone, &["pull", "--quiet", "--ff-only"]);
        std::fs::create_dir_all(clone.join(path).parent().unwrap()).unwrap();
        std::fs::write(clone.join(path), text).unwrap();
        self.git(&clone, &["add", "--all"]);
        self.git(&clone, &["commit", "--quiet", "-m", "by hand"]);
        self.git(&clone, &["push", "--quiet", "origin", "HEAD:orch-state"]);
        self.git(&clone, &["rev-parse", "HEAD"])
    }
}
