//! Planted violations: each must be found, with its commit and its promise, and must get into no file.

use super::{Audit, audit};
use crate::protocol::op::{Action, Op};
use crate::protocol::task::{Parts, Task};
use crate::store::{codec, layout};
use crate::usecase::doctor::rig::{Rig, id};

fn audited(rig: &Rig, name: &str) -> Audit {
    audit(&mut rig.machine(name), &mut |_, _| {}).unwrap()
}

fn task_of(rig: &Rig, name: &str, task: &str) -> Task {
    codec::decode(&std::fs::read(rig.file(name, task)).unwrap()).unwrap().task
}

fn parts(task: &Task) -> Parts {
    Parts {
        id: task.id().clone(),
        def: task.def().clone(),
        state: task.state().clone(),
        attempt: task.attempt(),
        epoch: task.epoch(),
        result: task.result().cloned(),
        history: task.history().to_vec(),
    }
}

/// Puts a version of a task on the branch by hand, sealed like a true one.
fn plant(rig: &Rig, task: &Task) -> String {
    let text = String::from_utf8(codec::encode(task)).unwrap();
    rig.commit_by_hand(&layout::tree_path(task.id()), &text)
}

fn story() -> Rig {
    let rig = Rig::shared();
    rig.add("a", "T-1");
    rig.add("b", "T-2");
    rig.claim("b", "T-1");
    rig.done("b", "T-1");
    rig.claim("a", "T-2");
    rig.sync("b");
    rig.sync("a");
    rig
}

#[test]
fn an_honest_history_keeps_every_promise() {
    let rig = story();
    let mut seen = Vec::new();
    let found = audit(&mut rig.machine("a"), &mut |done, all| seen.push((done, all))).unwrap();
    assert!(found.ok, "{found:#?}");
    assert_eq!((found.tasks, found.operations), (2, 5));
    assert_eq!(seen.last(), Some(&(found.commits, found.commits)));
    assert_eq!(
        rig.git(&rig.hub(), &["rev-list", "--count", "refs/heads/orch-state"]),
        found.commits.to_string()
    );
    let alone = Rig::alone();
    alone.add("a", "T-1");
    assert!(audited(&alone, "a").ok);
}

#[test]
fn a_rewritten_history_is_found_with_its_commit() {
    let rig = story();
    let mut forged = parts(&task_of(&rig, "a", "T-1"));
    if let Some(Op { action: Action::Done { notes, .. }, .. }) = forged.history.last_mut() {
        "something else".clone_into(notes);
    }
    let result = forged.result.as_mut().unwrap();
    "something else".clone_into(&mut result.notes);
    let commit = plant(&rig, &Task::from(forged));
    let found = audited(&rig, "a");
    assert!(!found.ok);
    let problem = found.problems.iter().find(|p| p.commit.as_deref() == Some(&commit)).unwrap();
    assert_eq!((problem.promise, &problem.task), (Some(6), &Some(id("T-1"))), "{found:#?}");
}

#[test]
fn a_lost_operation_a_fallen_epoch_and_an_undone_task_are_found() {
    let rig = story();
    let whole = task_of(&rig, "a", "T-1");
    let shorter = crate::protocol::transition::replay(whole.id(), &whole.history()[..1]).unwrap();
    let commit = plant(&rig, &shorter);
    let found = audited(&rig, "b");
    let promises: Vec<u8> = found
        .problems
        .iter()
        .filter(|p| p.commit.as_deref() == Some(&commit))
        .filter_map(|p| p.promise)
        .collect();
    assert_eq!(promises, [1, 4, 5], "{found:#?}");
}

#[test]
fn a_state_that_its_history_does_not_tell_is_found() {
    let rig = story();
    let mut forged = parts(&task_of(&rig, "a", "T-1"));
    forged.epoch += 1;
    let commit = plant(&rig, &Task::from(forged));
    let found = audited(&rig, "a");
    assert!(found.problems.iter().any(|p| p.promise == Some(6) && p.commit.as_deref() == Some(&commit)));
}

/// Syncs a machine, whose file of a task must stay as it is; gives what is wrong with the one on the branch.
fn kept_out(rig: &Rig, name: &str, task: &str) -> String {
    let before = std::fs::read_to_string(rig.file(name, task)).unwrap();
    rig.sync(name);
    assert_eq!(std::fs::read_to_string(rig.file(name, task)).unwrap(), before);
    let problem = rig.machine(name).store.problem_of(&id(task)).unwrap();
    problem.expect("nobody may claim it until the branch is in order")
}

/// A merge by hand put the file of one task in the place of another, which every machine would have lost for it.
#[test]
fn the_file_of_another_task_is_not_taken_over() {
    let rig = story();
    let other = std::fs::read_to_string(rig.file("a", "T-1")).unwrap();
    rig.commit_by_hand(&layout::tree_path(&id("T-2")), &other);
    let problem = kept_out(&rig, "b", "T-2");
    assert!(problem.contains("its file names another task, T-1"), "{problem}");
}

/// Who did something can be changed without breaking any other rule: only the seal tells.
#[test]
fn a_file_that_does_not_match_its_seal_is_not_taken_over() {
    let rig = story();
    let whole = std::fs::read_to_string(rig.file("a", "T-1")).unwrap();
    let forged = whole.replacen("by: \"agent:a\"", "by: \"agent:x\"", 1);
    assert_ne!(forged, whole);
    rig.commit_by_hand(&layout::tree_path(&id("T-1")), &forged);
    let problem = kept_out(&rig, "b", "T-1");
    assert!(problem.contains("does not match its seal"), "{problem}");
}

/// An epoch out of thin air would fence the holders of all that are true.
#[test]
fn a_state_that_its_history_does_not_tell_is_not_taken_over() {
    let rig = story();
    let mut forged = parts(&task_of(&rig, "a", "T-1"));
    forged.epoch += 1;
    plant(&rig, &Task::from(forged));
    let problem = kept_out(&rig, "b", "T-1");
    assert!(problem.contains("on the remote: "), "{problem}");
}

#[test]
fn foreign_files_and_merges_are_reported_as_such() {
    let rig = story();
    let commit = rig.commit_by_hand("README.md", "hello");
    let found = audited(&rig, "a");
    let foreign: Vec<_> = found.problems.iter().filter(|p| p.promise.is_none()).collect();
    assert_eq!(foreign.len(), 1, "{found:#?}");
    assert_eq!(foreign[0].commit.as_deref(), Some(commit.as_str()));
    assert!(foreign[0].what.contains("README.md"));
}

#[test]
fn a_rewound_branch_is_a_broken_promise() {
    let rig = Rig::shared();
    rig.add("a", "T-1");
    let old = rig.tip();
    rig.add("a", "T-2");
    rig.git(&rig.hub(), &["update-ref", "refs/heads/orch-state", &old]);
    let found = audited(&rig, "a");
    assert_eq!(found.problems.iter().filter_map(|p| p.promise).collect::<Vec<_>>(), [4], "{found:#?}");
}
