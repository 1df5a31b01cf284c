//! Small explorations in a development build; the command `loom` has the larger bounds.

use super::scenes::{MUTANTS, SCENES, named};
use super::seat::Harm;
use super::stage::run_uncut;
use super::{Bound, Outcome, hunt, run};
use crate::sim::faults::Broken;

#[track_caller]
fn holds(name: &str, bound: Bound) -> Outcome {
    let outcome = run(named(name).unwrap(), bound, None, Harm::default(), |_| ());
    assert!(outcome.broken.is_none(), "{:#?}", outcome.broken);
    assert_eq!(outcome.unseen, Vec::<String>::new());
    outcome
}

#[test]
fn two_claims_over_one_remote_have_one_winner_in_every_order() {
    let outcome = holds("claim-claim", Bound::All);
    assert_eq!(outcome.endings.len(), 2, "{:?}", outcome.endings);
    assert_eq!(outcome.contended.iter().map(String::as_str).collect::<Vec<_>>(), ["the remote"]);
}

#[test]
fn two_claims_without_a_remote_are_decided_by_the_lock() {
    let outcome = holds("claim-claim-no-remote", Bound::Within(1));
    assert!(
        outcome.contended.iter().any(|thing| thing == "the index of m0: rows"),
        "{:?}",
        outcome.contended
    );
}

#[test]
fn a_late_finish_and_a_recovery_do_not_both_count() {
    let outcome = holds("done-recover", Bound::Within(1));
    assert_eq!(outcome.endings.len(), 2, "{:?}", outcome.endings);
}

#[test]
fn the_same_exploration_has_the_same_executions() {
    let (one, two) = (holds("claim-claim", Bound::Within(1)), holds("claim-claim", Bound::Within(1)));
    assert_eq!((one.iterations, one.endings), (two.iterations, two.endings));
}

/// loom alone tries some orders twice. What is cut off must not be an order that is tried once.
#[test]
fn what_is_cut_off_is_tried_elsewhere() {
    for name in ["claim-claim", "takeover-takeover", "fold-fold", "cancel-done", "heartbeat-recover"] {
        let (cut, whole) = (holds(name, Bound::All), run_uncut(named(name).unwrap(), Bound::All));
        assert_eq!(cut.orders, whole.orders, "{name}");
        assert!(cut.endings.keys().eq(whole.endings.keys()), "{name}");
        assert_eq!((whole.cut, cut.iterations), (0, cut.orders.len() as u64), "{name}: none is judged twice");
        assert!(whole.iterations > cut.iterations, "{name}");
    }
}

/// In two clones nothing but the remote is seen by both; in one clone there is more, and most of its orders are left out.
#[test]
fn orders_of_exchanges_are_all_orders_in_two_clones_and_fewer_in_one() {
    let (all, exchanges) = (holds("done-recover", Bound::All), holds("done-recover", Bound::Exchanges));
    assert_eq!(all.orders, exchanges.orders);
    assert!(all.endings.keys().eq(exchanges.endings.keys()));
    let name = "claim-claim-no-remote";
    let cut = holds(name, Bound::Exchanges);
    let whole = run_uncut(named(name).unwrap(), Bound::Exchanges);
    assert_eq!((cut.orders.len(), &cut.orders), (cut.iterations as usize, &whole.orders));
    assert!(whole.iterations > cut.iterations && cut.endings.keys().eq(whole.endings.keys()));
}

#[test]
fn a_process_that_is_killed_or_hears_nothing_costs_the_others_nothing() {
    let scene = named("claim-claim").unwrap();
    for harm in
        [Harm { killed_at: Some(300), ..Harm::default() }, Harm { unanswered: Some(1), ..Harm::default() }]
    {
        let outcome = run(scene, Bound::Within(1), None, harm, |_| ());
        assert!(outcome.broken.is_none(), "{harm:?}: {:#?}", outcome.broken);
        let harmed = |ending: &String| !ending.starts_with("a told") && !ending.starts_with("a held");
        assert!(harm.killed_at.is_none() || outcome.endings.keys().all(harmed), "{:?}", outcome.endings);
    }
}

#[test]
fn guards_that_are_taken_away_are_missed() {
    for broken in [Broken::PushWithoutCompare, Broken::RefusalIgnored, Broken::LocksDoNothing] {
        let mutant = MUTANTS.iter().find(|mutant| mutant.broken == broken).unwrap();
        let (_, outcome) = hunt(mutant, |_| ());
        assert!(outcome.broken.is_some(), "{broken:?} is not noticed in {}", mutant.scene);
    }
}

#[test]
fn names_are_unique_and_mutants_have_scenarios() {
    for (at, scene) in SCENES.iter().enumerate() {
        assert!(SCENES[..at].iter().all(|before| before.name != scene.name), "{}", scene.name);
        assert!((2..=3).contains(&scene.cast.len()), "{}", scene.name);
    }
    for mutant in MUTANTS {
        assert!(named(mutant.scene).is_some(), "{}", mutant.scene);
    }
}
