//! What somebody else's commit puts on the state branch is data: it blocks one task, and can be mended.

use std::path::PathBuf;

use crate::rig::{Machine, Remote, TestEnv};

/// A clone of the state branch in which somebody works with git alone.
struct Stranger<'e> {
    env: &'e TestEnv,
    dir: PathBuf,
}

impl<'e> Stranger<'e> {
    fn new(env: &'e TestEnv, remote: &Remote) -> Self {
        let dir = env.path("stranger");
        let shown = dir.display().to_string();
        env.git(&env.path(""), &["clone", "--quiet", "--branch", "orch-state", remote.url(), &shown]).ok();
        Stranger { env, dir }
    }

    fn file(&self, machine: &Machine, id: &str) -> PathBuf {
        let inner = machine.task_path(id);
        self.dir.join(inner.strip_prefix(machine.state("")).expect("it lies in the state directory"))
    }

    fn push(&self) {
        self.env.git(&self.dir, &["add", "--all"]).ok();
        self.env.git(&self.dir, &["commit", "--quiet", "--message", "by hand"]).ok();
        self.env.git(&self.dir, &["push", "--quiet", "origin", "HEAD:orch-state"]).ok();
    }
}

/// Messages promised that `orch doctor --repair` restores a task of which the branch held something unreadable, but
/// nothing did: the task was blocked on every machine until somebody mended the branch with git.
#[test]
fn an_unreadable_version_on_the_branch_is_replaced_by_the_last_readable_one() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    for id in ["LINK", "TORN", "NEWER", "FINE"] {
        a.add(id);
    }
    a.orch(["note", "TORN", "--text", "kept"]).ok();
    b.orch(["sync"]).ok();
    let stranger = Stranger::new(&env, &remote);
    let link = stranger.file(&a, "LINK");
    std::fs::remove_file(&link).expect("ours");
    std::os::unix::fs::symlink("/etc/passwd", &link).expect("ours");
    let torn = stranger.file(&a, "TORN");
    let text = std::fs::read_to_string(&torn).expect("ours");
    std::fs::write(&torn, &text[..text.len() / 2]).expect("ours");
    let newer = stranger.file(&a, "NEWER");
    let seal = "0".repeat(64);
    std::fs::write(&newer, format!("format: 99\nid: NEWER\nseal: {seal}\n")).expect("ours");
    stranger.push();
    for machine in [&a, &b] {
        machine.orch(["sync"]).ok().says("LINK").says("TORN");
        machine.orch(["list"]).ok();
        machine.orch(["show", "LINK"]).exits(8);
        machine.orch(["claim", "TORN"]).exits(8);
        assert!(!machine.task_path("LINK").is_symlink(), "it was never followed, nor written");
    }
    b.orch(["claim", "FINE"]).ok();
    // What a newer orch wrote stays, so the problem does.
    let report = a.try_json(["doctor", "--repair"]);
    let repaired = report.exits(8).data()["repaired"].to_string();
    assert!(repaired.contains("LINK") && repaired.contains("TORN"), "{repaired}");
    assert!(!repaired.contains("NEWER"), "{repaired}");
    let kept = remote.git(&["log", "-1", "--format=%s", "orch-state", "--", "tasks/*/NEWER.yaml"]);
    assert_eq!(kept.ok().stdout, "by hand\n");
    b.orch(["sync"]).ok();
    for machine in [&a, &b] {
        assert!(machine.show("TORN")["history"].to_string().contains("kept"));
        assert_eq!(machine.status("LINK"), "pending");
    }
    a.orch(["claim", "LINK"]).ok();
    b.orch(["claim", "TORN"]).ok();
    b.orch(["claim", "LINK"]).exits(4);
    remote.git(&["fsck", "--strict"]).ok();
}
