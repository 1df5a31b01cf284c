//! The model and the real thing, side by side.

use std::time::Duration;

use orch::protocol::id::TaskId;
use orch::protocol::op::Patch;
use orch::protocol::task::{Definition, Reason};
use orch::usecase::claim::{self, Terms};
use orch::usecase::error::Kind;
use orch::usecase::holder::{self, Checkpoint, Failure, Finish};
use orch::usecase::operator::{self, Replan};
use orch::usecase::queue::Queue;
use orch::usecase::{add, edit, sync};
use proptest::prelude::*;

use super::{BACKOFF, Model, Want, Who};
use crate::crash::stage::Stage;
use crate::sim::faults::Broken;
use crate::sim::machine::Ended;

/// No lease lapses here; that is the simulation's.
const TTL: Duration = Duration::from_secs(7 * 86_400);

#[derive(Debug, Clone, Copy)]
struct Step {
    who: Who,
    task: usize,
    want: Want,
    /// The machine looks at the remote just before.
    fresh: bool,
}

fn name(who: Who) -> &'static str {
    [["ann", "ben"], ["cem", "dora"]][who.0][who.1]
}

fn act(q: &mut Queue, task: usize, want: Want) -> orch::usecase::error::Result<()> {
    let id = TaskId::parse(&format!("T-{task}")).unwrap();
    let notes = || "because".to_owned();
    match want {
        Want::Add => {
            let def = Definition { title: "work".to_owned(), ..Definition::default() };
            add::add(q, Some(id), def).map(drop)
        }
        Want::Claim => claim::claim(q, &id, &Terms::default()).map(drop),
        Want::Heartbeat => holder::heartbeat(q, &id, None, None).map(drop),
        Want::Checkpoint => {
            let what = Checkpoint { note: notes(), percent: None, file: None };
            holder::checkpoint(q, &id, None, &what).map(drop)
        }
        Want::Done => holder::done(q, &id, None, &Finish { notes: notes(), ..Finish::default() }).map(drop),
        Want::Fail { permanent } => {
            let (notes, reason) = (notes(), Reason::Error);
            let how = Failure { notes, reason, permanent, retry_after: None, bundle: None };
            holder::fail(q, &id, None, &how).map(drop)
        }
        Want::Release => holder::release(q, &id, None, None, None).map(drop),
        Want::Cancel => operator::cancel(q, &id, "because").map(drop),
        Want::Retry => operator::retry(q, &id, None).map(drop),
        Want::Unblock => operator::unblock(q, &id, None).map(drop),
        Want::Replan => {
            let what = Replan { notes: notes(), description: Some(notes()), success_criteria: None };
            operator::replan(q, &id, &what).map(drop)
        }
        Want::Edit => {
            edit::edit(q, &id, &Patch { title: Some("other".to_owned()), ..Patch::default() }).map(drop)
        }
        Want::Wait => Ok(()),
    }
}

/// Runs the steps on both. What differs, or how many commands succeeded.
fn compare(shared: bool, steps: &[Step], broken: Option<Broken>) -> Result<usize, String> {
    let mut stage = Stage::joined(shared, TTL, broken)?;
    let mut model = Model::default();
    let mut worked = 0;
    for (at, step) in steps.iter().enumerate() {
        let Step { mut who, task, want, mut fresh } = *step;
        // An id that is taken elsewhere is found out when the addition is published, which gives it another one.
        fresh |= want == Want::Add;
        if !shared {
            who.0 = 0;
        }
        stage.wait(Duration::from_secs(1));
        if want == Want::Wait {
            stage.wait(BACKOFF);
        }
        if shared && fresh {
            stage.must(who.0, "sync", sync::sync)?;
        }
        let mut next = model.clone();
        let expected = next.tell(who, task, want);
        let told = match stage.command(who.0, name(who), move |q| act(q, task, want)) {
            Ended::Told(()) => Ok(()),
            Ended::Failed(error) => Err(error),
            Ended::Killed => return Err(format!("step {at}: killed")),
            Ended::Panicked(text) => return Err(format!("step {at}: {text}")),
        };
        let agrees = match (&told, expected) {
            (Ok(()), Ok(())) => true,
            (Err(error), Err(kind)) => error.kind == kind || (shared && !fresh),
            // What is not known here yet may be a reason to refuse.
            (Err(error), Ok(())) => {
                shared && !fresh && matches!(error.kind, Kind::Conflict | Kind::Fenced | Kind::NotFound)
            }
            (Ok(()), Err(_)) => false,
        };
        if !agrees {
            let line = model.lines.get(&task);
            return Err(format!(
                "step {at}, {step:?}: told {told:?}, expected {expected:?}; it was {line:?}"
            ));
        }
        if told.is_ok() {
            worked += 1;
            model = next;
        }
    }
    let machines = if shared { 2 } else { 1 };
    if shared {
        for machine in [0, 1, 0, 1] {
            stage.must(machine, "sync", sync::sync)?;
        }
    }
    for machine in 0..machines {
        let tasks = stage.tasks(machine)?;
        for (task, line) in &model.lines {
            let held = tasks.get(&format!("T-{task}")).map(|task| (task.status(), task.epoch()));
            if held != line.status.map(|status| (status, line.epoch)) {
                return Err(format!("T-{task} on m{machine} is {held:?}, expected {line:?}"));
            }
        }
    }
    match stage.violations().first() {
        Some(broken) => Err(format!("promise {}: {}", broken.promise, broken.what)),
        None => Ok(worked),
    }
}

fn wants() -> impl Strategy<Value = Want> {
    prop_oneof![
        2 => Just(Want::Add),
        6 => Just(Want::Claim),
        2 => Just(Want::Heartbeat),
        1 => Just(Want::Checkpoint),
        2 => Just(Want::Done),
        3 => any::<bool>().prop_map(|permanent| Want::Fail { permanent }),
        2 => Just(Want::Release),
        1 => Just(Want::Cancel),
        2 => Just(Want::Retry),
        1 => Just(Want::Unblock),
        1 => Just(Want::Replan),
        1 => Just(Want::Edit),
        1 => Just(Want::Wait),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..2_usize, 0..2_usize, 0..2_usize, wants(), any::<bool>()).prop_map(
        |(machine, session, task, want, fresh)| Step { who: (machine, session), task, want, fresh },
    );
    // Most histories begin with the tasks: commands on nothing say little.
    let first = Step { who: (0, 0), task: 0, want: Want::Add, fresh: true };
    let second = Step { task: 1, ..first };
    prop::collection::vec(step, 1..40).prop_map(move |rest| [vec![first, second], rest].concat())
}

/// Sixteen, unless `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(16)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn a_shared_queue_answers_as_the_model_does(steps in steps()) {
        prop_assert_eq!(compare(true, &steps, None).map(|_| ()), Ok(()));
    }

    #[test]
    fn a_queue_of_one_machine_answers_as_the_model_does(steps in steps()) {
        prop_assert_eq!(compare(false, &steps, None).map(|_| ()), Ok(()));
    }
}

/// The comparison itself can fail: a remote that swaps without comparing is noticed.
#[test]
fn two_holders_are_noticed() {
    let step = |who, want, fresh| Step { who, task: 0, want, fresh };
    let steps = [
        step((0, 0), Want::Add, true),
        step((1, 0), Want::Edit, true),
        step((0, 0), Want::Claim, true),
        step((1, 0), Want::Claim, false),
    ];
    assert!(compare(true, &steps, None).is_ok());
    let broken = [Broken::PushWithoutCompare, Broken::FetchBringsNothing, Broken::LeasesHidden];
    let noticed: Vec<bool> = broken.map(|guard| compare(true, &steps, Some(guard)).is_err()).into();
    assert!(noticed.contains(&true), "{noticed:?}");
}
