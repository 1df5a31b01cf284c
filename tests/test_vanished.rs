//! Settings that vanished: every command still finds its queue, and nobody's settings change.

use crate::rig::{Machine, TestEnv};

fn settings(machine: &Machine) -> String {
    std::fs::read_to_string(machine.state("orch.yaml")).expect("it is there")
}

fn lose(machine: &Machine) {
    std::fs::remove_file(machine.state("orch.yaml")).expect("it was there");
}

/// `orch list` said that there was no state directory and that `orch init` makes one; that wrote the default settings
/// and published them to all machines.
#[test]
fn vanished_settings_are_restored_and_no_machine_gets_the_defaults() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    a.orch(["config", "set", "lease.ttl", "7m"]).ok();
    let before = settings(&a);
    lose(&a);
    a.orch(["list"]).ok().says("orch.yaml had vanished; it is restored from refs/heads/orch-state");
    assert_eq!(settings(&a), before);
    a.orch(["list"]).ok().never_says("vanished");
    lose(&a);
    let again = a.try_json(["init"]);
    again.ok().says("had vanished");
    assert_eq!(again.data()["created"], false);
    assert_eq!(settings(&a), before);
    b.orch(["sync"]).ok();
    assert_eq!(settings(&b), before);
}

/// Whichever command comes first, from wherever it is called, finds the queue and its settings.
#[test]
fn every_command_finds_the_queue_whose_settings_vanished() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.orch(["config", "set", "lease.ttl", "7m"]).ok();
    a.add("T-1");
    let before = settings(&a);
    let inside = a.state("tasks").display().to_string();
    let calls: [&[&str]; 9] = [
        &["add", "--title", "t"],
        &["show", "T-1"],
        &["config", "show"],
        &["doctor"],
        &["check", "--", "true"],
        &["verify"],
        &["--state", "state", "list"],
        &["--state", ".", "list"],
        &["claim", "T-1"],
    ];
    for call in calls {
        lose(&a);
        a.orch(call).ok().says("had vanished");
        assert_eq!(settings(&a), before, "{call:?}");
    }
    lose(&a);
    a.with("ORCH_STATE", "state").orch(["list"]).ok().says("had vanished");
    lose(&a);
    let mut command = a.command(["list"]);
    crate::rig::Run::of(command.current_dir(inside)).ok().says("had vanished");
    // Nothing else in the file is lost when a setting is changed right after it vanished.
    lose(&a);
    a.orch(["config", "set", "queue.paused", "true"]).ok();
    assert_eq!(settings(&a), before.replace("paused: false", "paused: true"));
}

/// Where somebody's commit took the file away on the branch as well, the last version before that counts.
#[test]
fn settings_that_vanished_on_the_branch_too_come_from_its_history() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.orch(["config", "set", "lease.ttl", "7m"]).ok();
    let before = settings(&a);
    lose(&a);
    let git = |args: &[&str]| a.git(args).ok().stdout.trim().to_owned();
    let kept = git(&["ls-tree", "orch-state"]);
    let kept: Vec<&str> = kept.lines().filter(|line| !line.ends_with("orch.yaml")).collect();
    let mut mktree = env.command(env.path("bin/git"));
    mktree.current_dir(a.state("")).arg("mktree");
    let tree = crate::rig::Run::fed(&mut mktree, Some((kept.join("\n") + "\n").as_bytes()));
    let tree = tree.ok().stdout.trim().to_owned();
    let commit = git(&["commit-tree", "-p", "orch-state", "-m", "away", &tree]);
    a.git(&["update-ref", "refs/heads/orch-state", &commit]).ok();
    a.orch(["list"]).ok().says("had vanished");
    assert_eq!(settings(&a), before);
}

/// A queue that nothing was ever committed of has no other version: the defaults do, and that is told.
#[test]
fn settings_that_are_nowhere_become_the_defaults() {
    let env = TestEnv::new();
    let remote = env.remote();
    let a = env.machine("a");
    a.orch(["--no-sync", "init", "--remote", remote.url()]).ok();
    let before = settings(&a);
    lose(&a);
    a.orch(["--no-sync", "list"]).ok().says("it has the default settings now");
    assert_eq!(settings(&a), before);
}
