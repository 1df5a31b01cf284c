//! Texts of several machines, each within the bounds, that are too much for one file together.

use crate::rig::{Machine, Remote, TestEnv};

/// Three notes that fill a file nearly to its bound.
fn write_a_lot(machine: &Machine, id: &str, letter: char) {
    for n in 0..3 {
        let text = format!("{letter}{n} {}", letter.to_string().repeat(60_000));
        machine.orch(["note", id, "--text", &text]).ok();
    }
}

fn notes(machine: &Machine, id: &str, letter: char) -> usize {
    let task = machine.show(id);
    let history = task["history"].as_array().expect("a history");
    let by = |op: &&serde_json::Value| op["text"].as_str().is_some_and(|text| text.starts_with(letter));
    history.iter().filter(by).count()
}

fn cut_off(remote: &Remote, machines: &[(&Machine, char)]) {
    remote.go_away();
    for (machine, letter) in machines {
        write_a_lot(machine, "T-1", *letter);
        machine.add(&format!("T-{letter}"));
    }
    remote.come_back();
}

/// Two machines wrote 180 KiB each about one task while they were cut off. Together that was more than a file could
/// hold; the second one could not sync any more, no task of it, for ever.
#[test]
fn what_two_machines_wrote_apart_has_room_together() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    a.add("T-1");
    b.orch(["sync"]).ok();
    cut_off(&remote, &[(&a, 'a'), (&b, 'b')]);
    for machine in [&a, &b, &a] {
        assert_eq!(machine.json(["sync"])["rejected"], serde_json::json!([]));
    }
    assert_eq!(a.task_files(), b.task_files());
    assert_eq!((notes(&a, "T-1", 'a'), notes(&a, "T-1", 'b')), (3, 3));
    a.orch(["note", "T-1", "--text", "one more"]).exits(5).says("larger");
    a.orch(["claim", "T-1"]).ok();
    a.orch(["done", "T-1", "--notes", "read and done"]).ok();
    for machine in [&a, &b] {
        machine.orch(["sync"]).ok();
        assert_eq!(machine.status("T-1"), "done");
        machine.verify();
    }
}

/// With a third machine it is too much: its last note is kept here and reported, everything else is shared, and no
/// other task waits.
#[test]
fn what_there_is_no_room_for_is_refused_and_holds_up_nothing() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b, c) = (env.joined("a", &remote), env.joined("b", &remote), env.joined("c", &remote));
    a.add("T-1");
    for machine in [&b, &c] {
        machine.orch(["sync"]).ok();
    }
    cut_off(&remote, &[(&a, 'a'), (&b, 'b'), (&c, 'c')]);
    for machine in [&a, &b] {
        assert_eq!(machine.json(["sync"])["rejected"], serde_json::json!([]));
    }
    let synced = c.json(["sync"]);
    let refused = synced["rejected"].as_array().expect("a list");
    assert_eq!((refused.len(), &refused[0]["task"]), (1, &"T-1".into()), "{synced:#}");
    for machine in [&a, &b, &c] {
        let again = machine.json(["sync"]);
        assert_eq!(again["rejected"], serde_json::json!([]), "each is reported once");
    }
    assert_eq!(a.task_files(), b.task_files());
    assert_eq!(a.task_files(), c.task_files());
    let kept: Vec<usize> = ['a', 'b', 'c'].into_iter().map(|letter| notes(&a, "T-1", letter)).collect();
    assert_eq!(kept, [3, 3, 2]);
    for id in ["T-a", "T-b", "T-c"] {
        assert_eq!(a.status(id), "pending");
    }
    c.orch(["claim", "T-1"]).ok();
    c.orch(["done", "T-1", "--notes", "done"]).ok();
    for machine in [&a, &b, &c] {
        machine.orch(["sync"]).ok();
        assert_eq!(machine.status("T-1"), "done");
        machine.verify();
    }
}
