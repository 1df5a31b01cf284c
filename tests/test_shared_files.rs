//! The settings files that all machines share: vanished, changed at two places, or not valid.

use std::fs;

use crate::rig::{Machine, TestEnv};

const FORBID_TOUCH: &str = "format: 1\nrules:\n  - {prefix: [touch], decision: forbid, reason: no}\n";

fn write(machine: &Machine, name: &str, text: &str) {
    fs::write(machine.state(name), text).expect("the file is writable");
}

fn read(machine: &Machine, name: &str) -> String {
    fs::read_to_string(machine.state(name)).expect("the file is readable")
}

/// A policy that forbade a command was removed from the state directory, though the branch still had it: `check` then
/// allowed the command, `work` ran it, and `doctor` said that the policy could be read.
#[test]
fn a_policy_that_vanished_still_holds_and_comes_back_with_a_notice() {
    let env = TestEnv::new();
    let a = env.local("a");
    write(&a, "policy.yaml", FORBID_TOUCH);
    a.orch(["add", "--id", "T-1", "--title", "t", "--", "touch", "out"]).ok();
    let vanish = || fs::remove_file(a.state("policy.yaml")).expect("it was there");
    vanish();
    a.orch(["check", "--", "touch", "out"]).exits(5).says("policy.yaml: it had vanished and was restored");
    vanish();
    a.orch(["work", "--once"]).exits(1).says("policy.yaml: it had vanished").prints("policy_blocked");
    assert!(!a.dir().join("out").exists(), "what is forbidden was run");
    for command in ["list", "sync", "status", "verify"] {
        vanish();
        a.orch([command]).ok().says("policy.yaml: it had vanished");
        assert_eq!(read(&a, "policy.yaml"), FORBID_TOUCH, "{command}");
    }
    vanish();
    a.orch(["doctor"]).ok().prints("repaired: policy.yaml: it had vanished");
    assert_eq!(read(&a, "policy.yaml"), FORBID_TOUCH);
    a.orch(["list"]).ok().never_says("vanished");
}

/// A prompt template that vanished: the agent got the built-in text instead, as if there had never been another.
#[test]
fn a_prompt_that_vanished_comes_back_before_it_is_used() {
    let env = TestEnv::new();
    let a = env.local("a");
    fs::create_dir(a.state("prompts")).expect("a new folder");
    write(&a, "prompts/coding.md", "sweep it twice");
    write(&a, "agents.yaml", "format: 1\nagents:\n  coding: {argv: [cat]}\n");
    a.orch(["add", "--id", "T-1", "--title", "t", "--agent", "coding"]).ok();
    fs::remove_file(a.state("prompts/coding.md")).expect("it was there");
    a.orch(["work", "--once"]).ok().says("prompts/coding.md: it had vanished");
    let said = fs::read_to_string(a.state("runs/T-1/1/00-coding.stdout.log")).expect("the output was kept");
    assert_eq!(said, "sweep it twice");
    assert_eq!(read(&a, "prompts/coding.md"), "sweep it twice");
}

/// The machine whose policy had vanished stayed weaker than the others until somebody changed the file elsewhere.
#[test]
fn on_a_shared_queue_they_come_back_without_the_remote() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    write(&a, "policy.yaml", FORBID_TOUCH);
    a.orch(["sync"]).ok();
    b.orch(["sync"]).ok();
    remote.go_away();
    for name in ["policy.yaml", "agents.yaml", "workflow.yaml"] {
        let before = read(&b, name);
        fs::remove_file(b.state(name)).expect("it was there");
        b.orch(["list"]).ok().says(&format!("{name}: it had vanished"));
        assert_eq!(read(&b, name), before);
    }
    b.orch(["check", "--", "touch", "out"]).exits(5);
}
