//! The search within a small bound, and what it must notice.

use super::{Bound, Guards, Outcome, VARIANTS, run};

fn search(bound: Bound, guards: Guards) -> Outcome {
    run(bound, guards, &mut |_, _, _| {}).expect("the bound is valid")
}

#[test]
fn the_protocol_keeps_its_promises_within_the_small_bound() {
    for (name, bound) in Bound::small_suite() {
        let outcome = search(bound, Guards::default());
        assert!(outcome.holds(), "{name}: {outcome:#?}");
        assert!(outcome.states > 10_000, "{name} has shrunk: {outcome:#?}");
    }
}

/// The search must notice every guard that is missing, and tell a way that leads there.
#[test]
fn every_guard_that_is_left_out_is_noticed() {
    for variant in VARIANTS {
        let mut guards = Guards::default();
        (variant.leave_out)(&mut guards);
        let outcome = search((variant.bound)(), guards);
        let found = outcome.broken.unwrap_or_else(|| panic!("`{}` was not noticed", variant.name));
        assert!((1..=6).contains(&found.promise), "`{}`: {found:#?}", variant.name);
        assert!(found.trace.len() >= 4 && found.trace.len() < 25, "`{}`: {found:#?}", variant.name);
    }
}

/// The trace is a shortest one and always the same: a claim that is told without a look at the branch.
#[test]
fn a_trace_tells_the_story() {
    let guards = Guards { read_after_claim: false, ..Guards::default() };
    let bound = Bound { claimers: 1, watchdog: false, faults: 0, ..Bound::small() };
    let found = search(bound, guards).broken.expect("the claim is void");
    assert_eq!((found.promise, found.what.as_str()), (2, "a claim@1 was acknowledged and is gone"));
    let told = "; a is told: epoch 1 is yours; acknowledged: a claim@1";
    assert!(found.trace.iter().any(|line| line.ends_with(told)), "{:#?}", found.trace);
    assert_eq!(found.trace.len(), 7, "{:#?}", found.trace);
}

/// A search that was cut off proves nothing.
#[test]
fn a_search_that_was_cut_off_does_not_pass() {
    let outcome = search(Bound { states: 1_000, ..Bound::small() }, Guards::default());
    assert!(!outcome.exhausted && outcome.broken.is_none());
    assert!(!outcome.holds());
}

/// Without a folder nothing that has ended ever leaves its lease ref: the search must see that it is stuck.
#[test]
fn a_queue_that_cannot_come_to_rest_is_noticed() {
    let bound = Bound { claimers: 1, operator: 0, folders: 0, faults: 0, ..Bound::small() };
    let stuck = search(bound, Guards::default()).stuck.expect("nobody folds");
    assert_eq!(stuck.promise, 0);
}
