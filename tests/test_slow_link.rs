//! A machine on a slow link beside one on a fast link.

use crate::rig::{TestEnv, gits};

/// The soak found `orch add` and even `orch show` running for over a minute on a machine that reached the remote by
/// SSH, while others pushed by path: each of its pushes of the branch lost the race, and twelve rounds of a fetch and
/// a push were gone through, each within its own time limit but all of them together without any. The addition was
/// safe on disk all the while and could have been told as unpublished.
#[test]
fn an_addition_that_loses_every_race_is_told_as_unpublished_within_the_time_limit() {
    let script = tempfile::tempdir().expect("a temporary folder");
    let git = script.path().join("git");
    let real = gits().remove(0).display().to_string();
    // Before each push of the branch by machine `slow`, a neighbour gets one through.
    let text = format!(
        "#!/bin/sh\nhere=$(dirname \"$0\")/..\ncase \"$*\" in\n*slow/state*push*orch-state*)\n\
         if [ -e \"$here/rivals\" ]; then\n\
         echo push >> \"$here/pushes\"; sleep 0.3\n\
         '{orch}' --state \"$here/fast/state\" --session rival add --title rival > /dev/null 2>&1\nfi;;\nesac\n\
         exec '{real}' \"$@\"\n",
        orch = env!("CARGO_BIN_EXE_orch"),
    );
    orch::world::program::install(&git, &text).expect("a new file");
    let env = TestEnv::with_git(&git);
    let remote = env.remote();
    // By git's client, as on any link: a folder is spoken to without it.
    let slow = env.machine("slow");
    slow.orch(["init", "--remote", &format!("file://{}", remote.url())]).ok();
    let fast = env.joined("fast", &remote);
    std::fs::write(env.path("rivals"), "").expect("a new file");
    let slow = slow.with("ORCH_SYNC_TIMEOUT", "1s");
    let added = slow.json(["add", "--id", "T-1", "--title", "patient"]);
    assert_eq!(added["published"], false, "{added:#}");
    let pushes = std::fs::read_to_string(env.path("pushes")).expect("it has pushed");
    let pushes = pushes.lines().count();
    assert!((1..8).contains(&pushes), "{pushes} pushes");
    // It is not lost: as soon as a race is won it is there.
    std::fs::remove_file(env.path("rivals")).expect("it is there");
    slow.orch(["sync"]).ok();
    fast.orch(["sync"]).ok();
    assert_eq!(fast.status("T-1"), "pending");
    assert_eq!(fast.task_files(), slow.task_files());
    slow.verify();
}
