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

/// `config set` on a machine that had not fetched said that the setting was changed and exited with 0, while the value was
/// thrown away: the file had been changed elsewhere meanwhile, and the whole of it was put aside. A pause for an
/// emergency was lost this way.
#[test]
fn a_setting_is_changed_on_the_newest_version_of_the_file() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    a.orch(["config", "set", "lease.ttl", "7m"]).ok();
    let set = b.try_json(["config", "set", "queue.paused", "true"]);
    let done = set.ok().quiet().data();
    assert_eq!((&done["changed"], &done["published"]), (&true.into(), &true.into()));
    for machine in [&a, &b] {
        assert_eq!(machine.json(["sync"])["rejected"], serde_json::json!([]));
        let text = read(machine, "orch.yaml");
        assert!(text.contains("ttl: 7m") && text.contains("paused: true"), "{text}");
    }
    assert_eq!(b.json(["config", "set", "queue.paused", "true"])["changed"], false);
}

/// A hook that puts a commit of somebody else in front of every push, as long as there are names in the file `rivals`.
const RIVAL: &str = "unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES
name=$(head -n 1 rivals) && [ -n \"$name\" ] || exit 0
sed 1d rivals > others && mv others rivals
tip=$(git rev-parse refs/heads/orch-state)
blob=$({ git cat-file blob $tip:orch.yaml; echo \"# $name\"; } | git hash-object -w --stdin)
tree=$(git ls-tree $tip | sed \"s/blob [0-9a-f]*\torch.yaml/blob $blob\torch.yaml/\" | git mktree)
git update-ref refs/heads/orch-state $(git commit-tree -p $tip -m rival $tree) $tip";

/// The machine had fetched, and another one was faster with its push all the same.
#[test]
fn a_setting_that_lost_a_race_is_set_again_or_the_command_fails() {
    let env = TestEnv::new();
    let remote = env.remote();
    let a = env.joined("a", &remote);
    remote.hook("pre-receive", RIVAL);
    let rivals = |names: &str| fs::write(remote.path().join("rivals"), names).expect("ours");
    rivals("one\ntwo\n");
    let set = a.try_json(["config", "set", "queue.paused", "true"]);
    assert_eq!(set.ok().quiet().data()["published"], true);
    let text = read(&a, "orch.yaml");
    assert!(text.contains("paused: true") && text.contains("# one\n# two\n"), "{text}");
    assert_eq!(
        a.json(["sync"])["rejected"],
        serde_json::json!([]),
        "nothing was lost, so nothing is reported"
    );
    assert_eq!(a.json(["status"])["rejected"], 0);

    rivals(&"again\n".repeat(100));
    let set = a.try_json(["config", "set", "queue.paused", "false"]);
    assert_eq!(set.exits(4).error()["code"], "overtaken");
    assert!(read(&a, "orch.yaml").contains("paused: true"));
    rivals("");
    assert_eq!(a.json(["sync"])["rejected"], serde_json::json!([]), "the command has said that it failed");
}

/// Without the remote the setting is kept, as additions and edits of tasks are, and says so.
#[test]
fn a_setting_that_cannot_be_published_now_says_so() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    remote.go_away();
    let set = a.try_json(["config", "set", "queue.paused", "true"]);
    assert_eq!(set.ok().says("not published yet").data()["published"], false);
    a.orch(["config", "set", "lease.tll", "1m"]).exits(78);
    remote.come_back();
    assert_eq!(a.json(["--no-sync", "config", "set", "lease.ttl", "5m"])["published"], false);
    a.orch(["sync"]).ok();
    b.orch(["sync"]).ok();
    let text = read(&b, "orch.yaml");
    assert!(text.contains("paused: true") && text.contains("ttl: 5m"), "{text}");
}

/// Two people had edited the same file on two machines: one text was put aside, and `sync --json`, `status` and `log`
/// said nothing of it.
#[test]
fn a_file_that_was_changed_at_two_places_is_reported_and_kept() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    write(&a, "policy.yaml", FORBID_TOUCH);
    a.orch(["sync"]).ok();
    let mine = FORBID_TOUCH.replace("touch", "rm");
    write(&b, "policy.yaml", &mine);
    let rejected = b.json(["sync"])["rejected"].clone();
    assert_eq!(rejected.as_array().map(Vec::len), Some(1), "{rejected}");
    let one = &rejected[0];
    assert_eq!((&one["file"], &one["task"]), (&"policy.yaml".into(), &serde_json::Value::Null));
    let reason = one["reason"].as_str().expect("a sentence");
    let copy = reason.rsplit(' ').next().expect("it ends with the copy");
    assert_eq!(fs::read_to_string(copy).expect("it is kept"), mine);
    assert_eq!(read(&b, "policy.yaml"), FORBID_TOUCH);
    assert_eq!(b.json(["status"])["rejected"], 1);
    b.orch(["log"]).ok().says("policy.yaml");
    b.orch(["doctor"]).ok().prints("edit of policy.yaml");
    assert_eq!(b.json(["sync"])["rejected"], serde_json::json!([]), "each is reported once");
}

/// A typing error in `policy.yaml` or `agents.yaml` was published, and from then on the workers of every machine refused
/// to start, while no command on any of them mentioned the file.
#[test]
fn an_invalid_file_is_named_by_every_command_and_never_published() {
    let cases = [
        ("policy.yaml", "format: 1\nrulez: []\n", "2:1"),
        ("agents.yaml", "format: 1\nagents: []\n", "2:9"),
        ("workflow.yaml", "format: 1\nworkflow: [\n", "3:1"),
    ];
    for (name, bad, at) in cases {
        let env = TestEnv::new();
        let remote = env.remote();
        let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
        let good = read(&a, name);
        write(&a, name, bad);
        let place = format!("{name}:{at}: ");
        a.orch(["add", "--id", "T-1", "--title", "t", "--", "true"]).ok().says(&place);
        for command in ["sync", "list", "status"] {
            a.orch([command]).ok().says(&place).says("it is not published");
        }
        let verified = a.try_json(["verify"]);
        let problems = verified.exits(8).data()["problems"].clone();
        assert_eq!(
            (&problems[0]["file"], &problems[0]["line"]),
            (&name.into(), &at[..1].parse::<u32>().ok().into())
        );
        a.orch(["doctor"]).exits(8).prints(&place);
        assert_eq!(read(&a, name), bad, "nobody overwrites what a person wrote");
        // The rest of the sync went on, and nobody else is stopped.
        b.orch(["sync"]).ok().never_says(name);
        assert_eq!(read(&b, name), good);
        b.orch(["work", "--once"]).ok();
        write(&a, name, &format!("{good}# mended\n"));
        a.orch(["sync"]).ok().never_says(name);
        b.orch(["sync"]).ok();
        assert_eq!(read(&b, name), format!("{good}# mended\n"));
    }
}

/// Where an invalid file came with the branch, from a version that did not look, the machine that it arrives at says so.
#[test]
fn an_invalid_file_that_arrives_is_named_and_can_be_mended_anywhere() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    let script =
        "set -e; tip=$(git rev-parse orch-state); blob=$(echo 'rulez: []' | git hash-object -w --stdin)
        tree=$(git ls-tree $tip | sed \"s/blob [0-9a-f]*\tpolicy.yaml/blob $blob\tpolicy.yaml/\" | git mktree)
        git update-ref refs/heads/orch-state $(git commit-tree -p $tip -m x $tree) $tip";
    crate::rig::Run::of(env.command("/bin/sh").current_dir(remote.path()).args(["-c", script])).ok();
    a.orch(["sync"]).ok().says("policy.yaml:1:1: ").says("the state branch holds it like this");
    a.orch(["work", "--once"]).exits(78).says("policy.yaml:1:1: ");
    write(&a, "policy.yaml", FORBID_TOUCH);
    a.orch(["list"]).ok().never_says("policy.yaml");
    a.orch(["sync"]).ok();
    b.orch(["sync"]).ok().never_says("policy.yaml:");
    assert_eq!(read(&b, "policy.yaml"), FORBID_TOUCH);
}

/// Without a remote it is the local branch that an invalid file stays away from.
#[test]
fn an_invalid_file_is_not_committed_either() {
    let env = TestEnv::new();
    let a = env.local("a");
    let good = read(&a, "policy.yaml");
    write(&a, "policy.yaml", "rulez: []\n");
    a.orch(["add", "--title", "t"]).ok().says("policy.yaml:1:1: ");
    assert_eq!(a.git(&["show", "orch-state:policy.yaml"]).ok().stdout, good);
    a.orch(["check", "--", "true"]).exits(78).says("policy.yaml:1:1: ");
}
