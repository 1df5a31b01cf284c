//! What went wrong once between processes, between machines, and at death between two steps. Every test
//! begins with its story.

mod archive;
mod behind;
mod crashes;
mod holders;
mod machines;
mod processes;
pub(in crate::usecase) mod rig;

use std::process::Command;
use std::rc::Rc;

use super::claim::{self, Claimed, Terms};
use super::error::Result;
use super::holder::{self, Checkpoint, Finish};
use super::queue::Queue;
use super::testing::{Yard, id};
use super::{change, sync};
use crate::protocol::op::Action;
use crate::protocol::task::{Status, Task};

fn sync_all(q: &mut Queue) -> sync::Synced {
    sync::sync(q).unwrap()
}

fn try_claim(q: &mut Queue, name: &str) -> Result<Claimed> {
    claim::claim(q, &id(name), &Terms::default())
}

fn done(q: &mut Queue, name: &str) -> Result<change::Changed> {
    holder::done(q, &id(name), None, &Finish { notes: "finished".to_owned(), ..Finish::default() })
}

fn checkpoint(q: &mut Queue, name: &str) -> Result<change::Changed> {
    let what = Checkpoint { note: "half way".to_owned(), percent: None, file: None };
    holder::checkpoint(q, &id(name), None, &what)
}

fn offline<T>(q: &mut Queue, act: impl FnOnce(&mut Queue) -> T) -> T {
    q.no_sync = true;
    let result = act(q);
    q.no_sync = false;
    result
}

fn task(q: &Queue, name: &str) -> Task {
    q.load(&id(name)).unwrap()
}

fn status(q: &Queue, name: &str) -> Status {
    task(q, name).status()
}

fn count(task: &Task, fits: impl Fn(&Action) -> bool) -> usize {
    task.history().iter().filter(|op| fits(&op.action)).count()
}

/// Two machines, of which the first has added tasks that both know.
fn two(names: &[&str]) -> (Rc<Yard>, Queue, Queue) {
    let yard = Rc::new(Yard::shared());
    let (mut a, mut b) = (yard.queue("a"), yard.queue("b"));
    for name in names {
        super::testing::add(&mut a, name, &[]);
    }
    sync_all(&mut b);
    (yard, a, b)
}

/// Runs git in the bare remote.
fn git(yard: &Yard, args: &[&str]) -> String {
    let out = Command::new("git").arg("-C").arg(yard.remote()).args(args).output().unwrap();
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

fn lease_refs(yard: &Yard) -> String {
    git(yard, &["for-each-ref", "--format=%(refname)", "refs/orch/leases"])
}
