//! Somebody deletes files of tasks on the state branch with a commit of their own, which moves it forward.

use crate::rig::{Remote, TestEnv};

/// What a person does who thinks that this is how a task is removed.
fn delete(env: &TestEnv, remote: &Remote, ids: &[&str]) {
    let folder = env.path("by-hand");
    let shown = folder.display().to_string();
    env.git(remote.path(), &["clone", "-q", "--branch", "orch-state", ".", &shown]).ok();
    let files: Vec<String> = ids.iter().map(|id| format!("tasks/*/{id}.yaml")).collect();
    let mut rm = vec!["rm", "-q"];
    rm.extend(files.iter().map(String::as_str));
    env.git(&folder, &rm).ok();
    env.git(
        &folder,
        &["-c", "user.name=p", "-c", "user.email=p@example.org", "commit", "-q", "-m", "tidy up"],
    )
    .ok();
    env.git(&folder, &["push", "-q"]).ok();
    std::fs::remove_dir_all(folder).expect("ours");
}

/// The file stayed on the machines that had it, but none of them published it again: a machine that joined later, or
/// made its clone anew, never heard of the task, and nothing said so.
#[test]
fn every_machine_that_has_the_task_publishes_it_again() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    for id in ["T-done", "T-held", "T-new", "T-other"] {
        a.add(id);
    }
    a.orch(["claim", "T-done"]).ok();
    a.orch(["done", "T-done", "--notes", "it is done"]).ok();
    a.orch(["sync"]).ok();
    b.orch(["sync"]).ok();
    a.orch(["claim", "T-held"]).ok();
    let before = b.task_files();
    delete(&env, &remote, &["T-done", "T-held", "T-new"]);
    b.orch(["sync"]).ok().says("T-done").says("deleted its file on the state branch");
    let listed = remote.git(&["ls-tree", "-r", "--name-only", "orch-state"]);
    for id in ["T-done", "T-new", "T-other"] {
        listed.prints(&format!("{id}.yaml"));
    }
    assert_eq!(b.task_files().len(), before.len());
    b.orch(["sync"]).ok().never_says("deleted");
    let c = env.joined("c", &remote);
    assert_eq!(c.status("T-done"), "done", "a task that has ended does not come back to life");
    assert_eq!(c.show("T-done")["history"], b.show("T-done")["history"]);
    c.orch(["claim", "T-done"]).exits(4);
    a.orch(["done", "T-held", "--notes", "its holder noticed nothing"]).ok();
    for machine in [&a, &b, &c, &a] {
        machine.orch(["sync"]).ok();
        machine.verify();
    }
    assert_eq!(c.status("T-held"), "done");
    assert_eq!(a.task_files(), b.task_files());
    assert_eq!(a.task_files(), c.task_files());
}
