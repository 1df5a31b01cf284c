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

#[test]
fn files_that_are_written_in_place_are_noticed() {
    let explored = explore(case("add-local"), 1, Some(Broken::WriteInPlace)).unwrap();
    assert!(!explored.found.is_empty(), "a torn file went unnoticed");
}
