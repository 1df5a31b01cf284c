//! One run twice, and runs with guards taken away.

use super::*;
use crate::sim::faults::Broken;
use crate::sim::plan::Profile;

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
