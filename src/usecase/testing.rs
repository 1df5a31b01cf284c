//! Real queues in temporary directories, for the tests of this room.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::machine::{self, InitRequest, Options};
use crate::protocol::id::TaskId;
use crate::protocol::task::Definition;

use super::claim::{self, Terms};
use super::holder::{self, Finish};
use super::queue::Queue;

/// A directory with one queue, or with a bare remote and one queue per machine.
pub struct Yard {
    dir: tempfile::TempDir,
    remote: Option<PathBuf>,
}

impl Yard {
    /// Machines without a remote.
    pub fn local() -> Yard {
        Yard { dir: tempfile::tempdir().unwrap(), remote: None }
    }

    /// Machines that share a bare repository.
    pub fn shared() -> Yard {
        let dir = tempfile::tempdir().unwrap();
        let remote = dir.path().join("remote.git");
        let made = Command::new("git").args(["init", "-q", "--bare"]).arg(&remote).status().unwrap();
        assert!(made.success());
        Yard { dir, remote: Some(remote) }
    }

    /// The bare repository.
    pub fn remote(&self) -> &Path {
        self.remote.as_deref().unwrap()
    }

    /// The state directory of a machine.
    pub fn state(&self, machine: &str) -> PathBuf {
        self.dir.path().join(machine).join("state")
    }

    /// Opens the queue of a machine, making it where it is not there yet.
    pub fn queue(&self, machine: &str) -> Queue {
        let state = self.state(machine);
        if !state.exists() {
            let remote = self.remote.as_ref().map(|path| path.to_string_lossy().into_owned());
            machine::init(&InitRequest { state: state.clone(), remote, ..InitRequest::default() }).unwrap();
        }
        let session = Some(format!("agent:{machine}"));
        machine::open(&Options { state, session, no_sync: false, ..Default::default() }).unwrap()
    }
}

/// A task id.
pub fn id(text: &str) -> TaskId {
    TaskId::parse(text).unwrap()
}

/// Adds a task that needs others.
pub fn add(q: &mut Queue, name: &str, needs: &[&str]) {
    let needs = needs.iter().map(|need| id(need)).collect();
    let def = Definition { title: format!("title of {name}"), needs, ..Definition::default() };
    super::add::add(q, Some(id(name)), def).unwrap();
}

/// Claims a task.
pub fn claim(q: &mut Queue, name: &str) {
    claim::claim(q, &id(name), &Terms::default()).unwrap();
}

/// Claims and finishes a task.
pub fn finish(q: &mut Queue, name: &str) {
    claim(q, name);
    let how = Finish { notes: "finished".to_owned(), ..Finish::default() };
    holder::done(q, &id(name), None, &how).unwrap();
}

/// The file of a task.
pub fn file(q: &Queue, name: &str) -> PathBuf {
    q.store.layout.task(&id(name))
}

/// Replaces text in a file, as an editor does.
pub fn replace(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{} does not contain {from:?}:\n{text}", path.display());
    std::fs::write(path, text.replace(from, to)).unwrap();
}
