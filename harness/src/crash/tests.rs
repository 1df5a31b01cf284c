//! The search itself on two commands, and proof that it notices what it is there for. All commands run in
//! `orch-harness crash`.

use super::cases::CASES;
use super::*;

fn case(name: &str) -> &'static Case {
    CASES.iter().find(|case| case.name == name).unwrap()
}

#[test]
fn a_claim_and_an_addition_survive_a_blow_at_each_of_their_calls() {
    for name in ["claim", "add-local"] {
        let explored = explore(case(name), 1, None).unwrap();
        assert!(explored.found.is_empty(), "{name}: {:#?}", explored.found);
        assert_eq!(explored.struck, explored.tries, "{name}: a blow did not fall");
        assert!(explored.deaths >= 5 && explored.calls > explored.deaths as u64, "{name}: {explored:?}");
    }
}

/// `init` made the state directory and everything in it durable, but not its name in the directory above: a power
/// failure within the next seconds took the queue with every task that had been told to be there.
#[test]
fn a_power_failure_right_after_init_takes_no_task() {
    let explored = explore(case("add"), 1, None).unwrap();
    assert!(explored.found.is_empty(), "{:#?}", explored.found);
}

/// `done` failed at its last step, when the new file had its name but the directory was not durable; the repetition found
/// the task done and said so, and a power failure took the finish. The same with an addition under an idempotency key.
#[test]
fn what_a_repetition_finds_in_place_is_made_durable() {
    for name in ["done-local", "add-local"] {
        let explored = explore(case(name), 1, None).unwrap();
        assert!(explored.found.is_empty(), "{:#?}", explored.found);
    }
}

#[test]
fn files_that_are_written_in_place_are_noticed() {
    let explored = explore(case("add-local"), 1, Some(Broken::WriteInPlace)).unwrap();
    assert!(!explored.found.is_empty(), "a torn file went unnoticed");
}

/// A planted guard was told as noticed whenever a case could not even be prepared, or did not work with all guards in
/// place: a layer whose cases were all broken would have noticed everything.
#[test]
fn a_case_that_does_not_work_at_all_notices_nothing() {
    let whole = case("add-local");
    let unset = Case { name: "unset", prepare: |_| Err("no disk".to_owned()), ..*whole };
    let why = noticed([&unset], Broken::WriteInPlace).unwrap_err();
    assert_eq!(why, "unset does not work with all guards in place: no disk");
    let hopeless = Case { name: "hopeless", after: |_| Err("never".to_owned()), ..*whole };
    let why = noticed([&hopeless, whole], Broken::WriteInPlace).unwrap_err();
    assert!(
        why.starts_with("hopeless does not work with all guards in place: ") && why.contains("never"),
        "{why}"
    );
    let found = noticed([whole], Broken::WriteInPlace).unwrap().unwrap();
    assert_eq!(found.case, "add-local", "with all guards in place it works, so this was the guard");
}

/// A guard without which no stage can be set was told as noticed, too, though nothing had been struck.
#[test]
fn a_stage_that_cannot_be_set_without_the_guard_shows_nothing_of_it() {
    let whole = case("add");
    // Preparing needs what the guard gives: the second machine cannot join without a fetch that brings something.
    let needs = Case { name: "needs", prepare: fetched, after: |_| Ok(()), ..*whole };
    let why = noticed([&needs], Broken::FetchBringsNothing).unwrap_err();
    assert!(why.starts_with("needs cannot be prepared without the guard: "), "{why}");
    // Another case that notices it is enough.
    assert!(noticed([&needs, whole], Broken::FetchBringsNothing).unwrap().is_some());
}

fn fetched(stage: &mut Stage) -> Result<(), String> {
    (case("add").prepare)(stage)?;
    for machine in [0, 1, 0, 1] {
        stage.must(machine, "setup", orch::usecase::sync::sync)?;
    }
    let id = orch::protocol::id::TaskId::parse("T-9").unwrap();
    let new = orch::protocol::task::Definition { title: "new".to_owned(), ..Default::default() };
    stage.must(0, "setup", move |q| orch::usecase::add::add(q, Some(id), new).map(drop))?;
    stage.must(1, "setup", orch::usecase::sync::sync).map(drop)
}

/// `gc` died between the index, which knew the task in the archive, and the removal of its file among the tasks. The
/// folder looked as it had been recorded, so nobody looked into it again: two files of one task for ever.
#[test]
fn a_death_before_the_last_removal_of_a_collection_leaves_one_file() {
    let case = case("gc");
    let base = Stage::set(case, None).unwrap();
    let mut whole = base.fork();
    whole.arm(Striker::count());
    whole.act(case);
    let calls = whole.disarm().calls();
    let mut explored = Explored::default();
    for at in calls - 3..=calls {
        for blow in [Blow::Kill, Blow::Fail] {
            one(&base, case, Point { at, blow, for_good: false, power: None, then: None }, &mut explored);
        }
    }
    assert!(explored.found.is_empty(), "{:#?}", explored.found);
}
