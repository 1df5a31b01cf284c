//! Two clones do the same thing in the same second under the same name: still two operations.

use crate::rig::{TestEnv, race};

#[test]
fn the_same_claim_by_namesakes_in_the_same_second_has_one_winner() {
    for round in 0..6 {
        let env = TestEnv::new();
        let remote = env.remote();
        let machines: Vec<_> =
            (0..2).map(|n| env.joined(&format!("m{n}"), &remote).session("worker")).collect();
        machines[0].add("T-1");
        machines[1].orch(["sync"]).ok();
        let runs = race(machines.iter().map(|m| m.command(["claim", "T-1", "--json"])).collect());
        let mut codes: Vec<_> = runs.iter().map(|run| run.code).collect();
        codes.sort_unstable();
        assert_eq!(codes, [0, 4], "round {round}: {runs:?}");
    }
}

/// A copied state directory has the same machine id, too: nothing but the operation's id is different.
#[test]
fn the_same_claim_by_a_copied_machine_has_one_winner() {
    for round in 0..4 {
        let env = TestEnv::new();
        let remote = env.remote();
        let a = env.joined("a", &remote).session("worker");
        a.add("T-1");
        let twin = a.copy("twin");
        let runs = race([&a, &twin].map(|m| m.command(["claim", "T-1", "--json"])).into());
        let confirmed = runs.iter().filter(|run| run.code == 0);
        // The loser may find that it (the same session on the same machine) holds the task already.
        let fresh = confirmed.filter(|run| run.data()["repeated"] == false).count();
        assert_eq!(fresh, 1, "round {round}: {runs:?}");
        let task = a.show("T-1");
        assert_eq!((&task["epoch"], &task["attempt"]), (&1.into(), &1.into()));
    }
}

#[test]
fn the_same_note_twice_is_two_notes() {
    let env = TestEnv::new();
    let remote = env.remote();
    let machines: Vec<_> = (0..2).map(|n| env.joined(&format!("m{n}"), &remote).session("worker")).collect();
    machines[0].add("T-1");
    machines[1].orch(["sync"]).ok();
    let runs = race(machines.iter().map(|m| m.command(["note", "T-1", "--text", "same"])).collect());
    for run in &runs {
        run.ok();
    }
    for machine in [&machines[0], &machines[1], &machines[0]] {
        machine.orch(["sync"]).ok();
    }
    let notes = |m: &crate::rig::Machine| {
        m.show("T-1")["history"].as_array().expect("a list").iter().filter(|op| op["do"] == "note").count()
    };
    assert_eq!((notes(&machines[0]), notes(&machines[1])), (2, 2));
}
