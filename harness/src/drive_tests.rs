//! One run twice, and runs with guards taken away.

use super::*;
use crate::sim::faults::Broken;
use crate::sim::plan::{Others, Profile};

/// A failure that cannot be seen again cannot be mended.
#[test]
fn the_same_plan_gives_the_same_run() {
    for (seed, profile) in [(1, Profile::Calm), (8, Profile::Short), (2, Profile::Workers)] {
        let plan = Plan::draw(seed, profile, None);
        let (one, two) = (run(&plan), run(&plan));
        assert_eq!((one.hash, one.calls, one.steps), (two.hash, two.calls, two.steps), "seed {seed}");
        assert_eq!(one.violations, [], "seed {seed}");
        assert!(one.claims > 3 && one.finished > 0, "seed {seed} does hardly anything");
    }
}

/// An oracle that notices nothing would pass every seed.
#[test]
fn guards_that_are_taken_away_are_noticed() {
    for (broken, promise) in
        [(Broken::PushWithoutCompare, 4), (Broken::NoReadAfterPush, 2), (Broken::RefusalIgnored, 4)]
    {
        let found = (0..5).find_map(|seed| {
            run(&Plan::draw(seed, Profile::Short, Some(broken))).violations.into_iter().next()
        });
        assert_eq!(found.map(|violation| violation.promise), Some(promise), "{broken:?}");
    }
}

/// Two holders of a task never work at once: a supervisor ends its program when the lease is over, also while its worker
/// is stopped, and when its worker dies.
#[test]
fn programs_that_outlive_their_claim_are_noticed() {
    for broken in [Broken::FenceIgnored, Broken::TreeOutlivesWorker] {
        let noticed = (0..20).any(|seed| {
            let done = run(&Plan::draw(seed, Profile::Workers, Some(broken)));
            done.violations.iter().any(|violation| violation.what.contains("while a program works for it"))
        });
        assert!(noticed, "{broken:?}");
    }
}

/// Hosts that refuse, people who commit, force, delete and restore, slow disks and locks that stay: nothing that a machine
/// still has is lost, and everything ends once somebody has read the alarms.
#[test]
fn what_others_do_breaks_no_promise() {
    let others = Others { refuse: 4.0, commit: 4.0, slow: 4.0, lock: 4.0, rewind: 6.0 };
    let mut probes = Probes::default();
    for seed in 1..4 {
        let plan = Plan { others, length: 3600 * SECOND, ..Plan::draw(seed, Profile::Short, None) };
        let done = run(&plan);
        assert_eq!(done.violations, [], "seed {seed}");
        probes.join(&done.probes);
    }
    for wanted in [
        "a push was refused by a rule",
        "somebody committed to the branch",
        "a disk was slow",
        "a local ref was locked",
        "the branch was rewound",
        "a machine published its state again",
    ] {
        assert!(probes.count(wanted) > 0, "{wanted}");
    }
}
