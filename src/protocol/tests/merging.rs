//! Merging by replay: nothing is lost, twice is once, and machines that share a branch end up equal.

use std::collections::BTreeSet;

use super::random::{ALL_KINDS, act, draws, play, play_on};
use super::*;
use crate::protocol::invariant::{check, check_progress};
use crate::protocol::merge::{Merged, missing, overlay, rebase, same_task};
use proptest::prelude::*;

/// Machines that share a branch.
const MACHINES: [&str; 3] = ["m-1", "m-2", "m-3"];

fn ids<'a>(ops: impl IntoIterator<Item = &'a Op>) -> BTreeSet<String> {
    ops.into_iter().map(|op| op.id.to_string()).collect()
}

/// Everything of both sides is in the result or among the refused, and nothing else.
fn nothing_is_lost(base: &Task, other: &Task, merged: &Merged) {
    let refused = ids(merged.refused.iter().map(|(op, _)| op));
    let mut kept = ids(merged.task.history());
    assert!(kept.is_disjoint(&refused), "an operation is applied or refused, not both");
    kept.extend(refused);
    let mut both = ids(base.history());
    both.extend(ids(other.history()));
    assert_eq!(kept, both);
    assert!(merged.task.history().starts_with(base.history()), "the base comes first and unchanged");
}

/// A common past and two futures of it.
fn fork(
    past: &[super::random::Draw],
    a: &[super::random::Draw],
    b: &[super::random::Draw],
) -> (Task, Task, Task) {
    let past = play(&told(definition(), vec![]), past, 2);
    let (a, b) = (play(&past, a, 1_000), play(&past, b, 2_000));
    (past, a, b)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1_000), ..ProptestConfig::default() })]

    #[test]
    fn merging_loses_nothing_and_keeps_the_promises(
        past in draws(ALL_KINDS, 12), a in draws(ALL_KINDS, 12), b in draws(ALL_KINDS, 12),
    ) {
        let (past, a, _) = fork(&past, &a, &[]);
        let b = play_on("m-2", &past, &b, 2_000);
        for merged in [overlay(&a, &b), rebase(&a, &b, "m-2")] {
            nothing_is_lost(&a, &b, &merged);
            prop_assert_eq!(check(&merged.task), vec![]);
            prop_assert_eq!(check_progress(&a, &merged.task), vec![]);
        }
    }

    /// A machine publishes again what it did itself and what anybody said; a status that another machine
    /// decided is that machine's to publish.
    #[test]
    fn a_machine_never_publishes_a_status_that_another_machine_decided(
        past in draws(ALL_KINDS, 8), a in draws(ALL_KINDS, 8), b in draws(ALL_KINDS, 12),
    ) {
        let (_, a, b) = fork(&past, &a, &b);
        let merged = rebase(&a, &b, "m-1");
        let mut considered = ids(merged.task.history().iter().skip(a.history().len()));
        considered.extend(ids(merged.refused.iter().map(|(op, _)| op)));
        let mine = |op: &&Op| op.machine == "m-1" || op.action.based_on().is_none();
        prop_assert_eq!(considered, ids(missing(&a, &b).filter(mine)));
        prop_assert_eq!(check(&merged.task), vec![]);
    }

    /// Two machines fold one lease ref, or one folds it late: the second time changes nothing.
    #[test]
    fn folding_twice_changes_nothing(
        past in draws(ALL_KINDS, 12), branch in draws(ALL_KINDS, 6), tip in draws(ALL_KINDS, 12),
    ) {
        let (_, branch, tip) = fork(&past, &branch, &tip);
        let once = overlay(&branch, &tip);
        let twice = overlay(&once.task, &tip);
        prop_assert_eq!(&twice.task, &once.task);
        prop_assert_eq!(
            ids(twice.refused.iter().map(|(op, _)| op)),
            ids(once.refused.iter().map(|(op, _)| op))
        );
    }

    #[test]
    fn merging_with_oneself_or_ones_past_changes_nothing(
        past in draws(ALL_KINDS, 12), a in draws(ALL_KINDS, 12),
    ) {
        let (past, a, _) = fork(&past, &a, &[]);
        for other in [&a, &past] {
            for merged in [overlay(&a, other), rebase(&a, other, "m-2")] {
                prop_assert_eq!(merged, Merged { task: a.clone(), refused: vec![] });
            }
        }
    }

    /// A fast-forward takes everything: the branch is where the other side began.
    #[test]
    fn nothing_is_refused_when_only_one_side_moved(
        past in draws(ALL_KINDS, 12), tip in draws(ALL_KINDS, 12),
    ) {
        let (past, _, _) = fork(&past, &[], &[]);
        let tip = play_on("m-1", &past, &tip, 1_000);
        for merged in [overlay(&past, &tip), rebase(&past, &tip, "m-1")] {
            prop_assert_eq!(&merged.refused, &vec![]);
            prop_assert_eq!(merged.task.history(), tip.history());
            prop_assert_eq!(merged.task.status(), tip.status());
            prop_assert_eq!(merged.task.def(), tip.def());
        }
    }

    /// Three machines work on one branch in any order of arrival: whoever has published everything and
    /// fetched last holds exactly the branch, and what each acknowledged is there or was refused to it.
    #[test]
    fn machines_that_share_a_branch_end_up_equal(
        past in draws(ALL_KINDS, 8),
        rounds in proptest::collection::vec((0usize..3, draws(ALL_KINDS, 5)), 1..8),
    ) {
        let mut branch = play(&told(definition(), vec![]), &past, 2);
        let mut machines = vec![branch.clone(); 3];
        let mut refused = vec![BTreeSet::new(); 3];
        let mut issued = ids(branch.history());
        for (round, (who, draws)) in rounds.iter().enumerate() {
            let before = machines[*who].clone();
            machines[*who] = play_on(MACHINES[*who], &before, draws, 1_000 * (round as u64 + 1));
            issued.extend(ids(missing(&before, &machines[*who])));
            // Somebody else syncs at another time: only every other round is followed by a sync.
            if round % 2 == 0 {
                sync(&mut branch, &mut machines[*who], MACHINES[*who], &mut refused[*who]);
            }
        }
        for _ in 0..2 {
            for ((machine, refused), name) in machines.iter_mut().zip(&mut refused).zip(MACHINES) {
                sync(&mut branch, machine, name, refused);
            }
        }
        for machine in &machines {
            prop_assert_eq!(machine.history(), branch.history());
        }
        let mut kept = ids(branch.history());
        kept.extend(refused.into_iter().flatten());
        prop_assert_eq!(kept, issued, "acknowledged operations are in the branch or were reported");
        prop_assert_eq!(check(&branch), vec![]);
    }

    /// The result depends on the two sides alone.
    #[test]
    fn every_machine_computes_the_same_merge(
        past in draws(ALL_KINDS, 12), a in draws(ALL_KINDS, 12), b in draws(ALL_KINDS, 12),
    ) {
        let (_, a, b) = fork(&past, &a, &b);
        prop_assert_eq!(overlay(&a, &b), overlay(&a.clone(), &b.clone()));
        prop_assert_eq!(rebase(&a, &b, "m-2"), rebase(&a.clone(), &b.clone(), "m-2"));
    }

    /// Operations that do not depend on each other give the same task in either order of arrival.
    #[test]
    fn independent_changes_commute(title in "[a-z]{1,8}", text in "[a-z]{1,8}", at in 0i64..9_999) {
        let start = told(definition(), vec![]);
        let a = apply(&start, 10, ANN, retitle(&title)).expect("pending");
        let b = apply(&start, 20, BOB, snooze(at)).expect("pending");
        let b = apply(&b, 21, BOB, note(&text)).expect("pending");
        let b = apply(&b, 22, BOB, claim(0)).expect("pending");
        let (ab, ba) = (rebase(&a, &b, "m-2"), rebase(&b, &a, "m-1"));
        prop_assert_eq!((&ab.refused, &ba.refused), (&vec![], &vec![]));
        prop_assert_eq!(ab.task.def(), ba.task.def());
        prop_assert_eq!(ab.task.state(), ba.task.state());
        prop_assert_eq!(ids(ab.task.history()), ids(ba.task.history()));
    }
}

/// Fetch, replay what the branch lacks, push.
fn sync(branch: &mut Task, machine: &mut Task, name: &str, refused: &mut BTreeSet<String>) {
    let merged = rebase(branch, machine, name);
    refused.extend(ids(merged.refused.iter().map(|(op, _)| op)));
    *branch = merged.task.clone();
    *machine = merged.task;
}

#[test]
fn two_claims_of_one_epoch_leave_one_holder_and_one_refused_claim() {
    let start = told(definition(), vec![]);
    let ann = apply(&start, 10, ANN, claim(0)).expect("pending");
    let bob = apply(&start, 20, BOB, claim(0)).expect("pending");
    let bob = apply(&bob, 21, BOB, done(1)).expect("he believes he holds it");
    for merged in [overlay(&ann, &bob), rebase(&ann, &bob, BOB.1)] {
        assert_eq!(merged.task, ann, "the first to arrive holds it");
        let reasons: Vec<_> =
            merged.refused.iter().map(|(op, why)| (op.action.verb(), why.clone())).collect();
        assert_eq!(reasons[0], ("claim", Rejected::Epoch { verb: "claim", named: 0, actual: 1 }));
        assert_eq!(reasons[1].0, "done");
    }
}

/// The later operations of a ref were meant for a task that never was.
#[test]
fn a_ref_whose_claim_was_refused_is_void_but_its_notes_are_kept() {
    let start = told(definition(), vec![]);
    let cancelled = apply(&start, 10, BOB, block(0)).expect("pending");
    let tip = apply(&start, 20, ANN, claim(0)).expect("pending");
    let tip = apply(&tip, 21, ANN, note("found a nest")).expect("held");
    let tip = apply(&tip, 22, ANN, release(1)).expect("held");
    let merged = overlay(&cancelled, &tip);
    assert_eq!((merged.task.status(), merged.task.epoch()), (Status::Blocked, 0));
    assert_eq!(merged.task.history().last().map(|op| op.action.verb()), Some("note"));
    let refused: Vec<_> = merged.refused.iter().map(|(op, _)| op.action.verb()).collect();
    assert_eq!(refused, ["claim", "release"]);
}

/// A chain stays broken: an operation that would fit by itself does not follow one that was refused.
#[test]
fn nothing_that_decides_a_status_is_applied_after_a_refusal() {
    let start = told(definition(), vec![]);
    let branch = apply(&start, 10, BOB, cancel(0)).expect("pending");
    let tip = apply(&start, 20, ANN, block(0)).expect("pending");
    let tip = apply(&tip, 21, ANN, retry(0)).expect("blocked");
    assert_eq!(overlay(&branch, &tip).task, branch);
    // By itself the retry would have revived the cancelled task.
    assert!(apply(&branch, 21, ANN, retry(0)).is_ok());
}

/// The reason why a takeover was refused may go away by an edit that came along with it; the refusal stands.
#[test]
fn a_late_fold_does_not_apply_what_was_refused_before() {
    let start = told(with_max_attempts(1), vec![]);
    let held = apply(&start, 9, ANN, claim(0)).expect("pending");
    let raise = Patch { retry: Some(RetryPolicy::default()), ..Patch::default() };
    let tip = apply(&held, 20, BOB, Action::Edit(Box::new(raise.clone()))).expect("held");
    let mut tip = apply(&tip, 21, BOB, takeover(1, 0)).expect("two attempts are left");
    // The edit stands behind the takeover that it made possible.
    let last = tip.history.len() - 1;
    tip.history.swap(last - 1, last);
    let once = overlay(&held, &tip);
    assert_eq!(once.refused.len(), 1);
    assert_eq!(overlay(&once.task, &tip).task, once.task);
}

#[test]
fn the_side_that_saw_more_heartbeats_of_the_same_lease_knows_better() {
    let held = task_in(Status::InProgress);
    let renewed = (60..63).fold(held.clone(), |t, n| apply(&t, n, ANN, heartbeat(1)).expect("alive"));
    for merged in [overlay(&held, &renewed), rebase(&held, &renewed, ANN.1), overlay(&renewed, &held)] {
        assert_eq!(merged.task, renewed);
    }
    assert_eq!(rebase(&held, &renewed, BOB.1).task, held, "another machine's view of it may be older");
    // Another lease, though older in beats, is not replaced.
    let taken = apply(&held, 70, BOB, takeover(1, 0)).expect("lapsed");
    assert_eq!(overlay(&taken, &renewed).task, taken);
}

#[test]
fn two_tasks_under_one_id_are_told_apart_by_their_addition() {
    let mine = told(definition(), vec![]);
    let later = apply(&mine, 2, ANN, note("x")).expect("pending");
    let theirs = next(None, &id("T"), &op(2, BOB, add(definition()))).expect("an addition");
    assert!(same_task(&mine, &later) && !same_task(&mine, &theirs));
    let refused = rebase(&mine, &theirs, BOB.1).refused;
    assert_eq!(refused[0].1, Rejected::Exists);
}

#[test]
fn draws_reach_every_status_and_are_mostly_accepted() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut seen, mut fit, mut all) = (BTreeSet::new(), 0, 0);
    for _ in 0..300 {
        let draws = draws(ALL_KINDS, 60).new_tree(&mut runner).expect("a strategy yields").current();
        let mut task = told(definition(), vec![]);
        for (n, draw) in (2..).zip(&draws) {
            let (who, action) = act(&task, draw);
            all += 1;
            if let Ok(after) = apply(&task, n, who, action) {
                (task, fit) = (after, fit + 1);
            }
            seen.insert(task.status());
        }
    }
    assert_eq!(seen.len(), Status::ALL.len(), "only {seen:?} were reached");
    assert!(fit * 5 > all, "only {fit} of {all} draws fit: the properties would test refusals alone");
}
