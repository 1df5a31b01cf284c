//! A truncated or bit-flipped file is never taken for another valid task.

use crate::rig::{Machine, TestEnv};

fn queue() -> (TestEnv, Machine) {
    let env = TestEnv::new();
    let a = env.local("a");
    a.orch([
        "add",
        "--id",
        "T-1",
        "--title",
        "Sweep",
        "--needs",
        "T-0",
        "--tag",
        "out",
        "--description",
        "a\nb",
    ])
    .ok();
    a.orch(["note", "T-1", "--text", "seen"]).ok();
    a.orch(["edit", "T-1", "--needs", ""]).ok();
    a.orch(["claim", "T-1"]).ok();
    (env, a)
}

#[test]
fn no_prefix_of_a_file_is_accepted() {
    let (_env, a) = queue();
    let whole = a.read_task("T-1");
    let path = a.task_path("T-1");
    // Every length near the ends, and a sample in between.
    let lengths = (0..whole.len()).filter(|n| n % 13 == 0 || *n < 4 || *n + 70 > whole.len());
    for length in lengths {
        std::fs::write(&path, &whole.as_bytes()[..length]).expect("ours");
        let run = a.orch(["show", "T-1"]);
        assert!(
            run.code == 8 || (length + 1 == whole.len() && run.code == 0),
            "{length} of {} bytes: {run}",
            whole.len()
        );
        if run.code == 8 {
            assert_eq!(std::fs::read(&path).expect("ours").len(), length, "it stays as it is");
        }
    }
    std::fs::write(&path, &whole).expect("ours");
    assert_eq!(a.status("T-1"), "in_progress");
    a.verify();
}

/// A flipped bit is damage, or, where it hits what a person may change, an edit that is on record.
#[test]
fn no_flipped_bit_is_accepted_in_silence() {
    let (env, a) = queue();
    let whole = a.read_task("T-1").into_bytes();
    let before = a.show("T-1");
    for at in (0..whole.len()).step_by(11) {
        let bit = 1 << (at % 8);
        let copy = a.copy(&format!("flip-{at}"));
        let mut bytes = whole.clone();
        bytes[at] ^= bit;
        std::fs::write(copy.task_path("T-1"), &bytes).expect("ours");
        let run = copy.try_json(["show", "T-1"]);
        if run.code == 0 {
            let after = run.data();
            let recorded =
                after["history"].as_array().map(Vec::len) > before["history"].as_array().map(Vec::len);
            assert!(recorded || after == before, "byte {at} bit {bit}: {run}");
            for key in ["id", "status", "epoch", "attempt", "lease", "result"] {
                assert_eq!(after[key], before[key], "byte {at} bit {bit}");
            }
            copy.verify();
        } else {
            run.exits(8);
        }
        std::fs::remove_dir_all(env.path(format!("flip-{at}"))).expect("ours");
    }
}

#[test]
fn contents_of_one_task_in_the_file_of_another_are_noticed() {
    let (_env, a) = queue();
    a.add("T-2");
    let (one, two) = (a.read_task("T-1"), a.read_task("T-2"));
    std::fs::write(a.task_path("T-1"), two).expect("ours");
    a.orch(["show", "T-1"]).exits(8);
    std::fs::write(a.task_path("T-1"), one).expect("ours");
    assert_eq!(a.status("T-1"), "in_progress");
}

/// An old version of the file, from a backup, is not believed: histories only grow.
#[test]
fn a_file_from_the_past_is_noticed() {
    let (_env, a) = queue();
    let old = a.read_task("T-1");
    a.orch(["done", "T-1", "--notes", "n"]).ok();
    std::fs::write(a.task_path("T-1"), old).expect("ours");
    let run = a.try_json(["show", "T-1"]);
    match run.code {
        0 => assert_eq!(run.data()["status"], "done", "what was acknowledged is not lost: {run}"),
        _ => {
            run.exits(8);
        }
    }
    a.orch(["heartbeat", "T-1"]).exits(if run.code == 0 { 4 } else { 8 });
}
