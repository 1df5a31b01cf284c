//! The dispatcher as a table: at each time an event, and every decision until it waits or leaves.

use super::*;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const DRAIN: Duration = Duration::from_secs(30);

fn dispatcher(mode: Mode, slots: usize) -> Dispatcher {
    Dispatcher::new(mode, slots, DRAIN, Duration::ZERO)
}

/// Tells the event, if there is one, and collects what is to be done, the last wait or end included.
fn step(d: &mut Dispatcher, at: Duration, event: Option<Event>) -> Vec<Decision> {
    if let Some(event) = event {
        d.on(at, event);
    }
    let mut all = Vec::new();
    loop {
        let decision = d.decide(at);
        all.push(decision);
        if matches!(decision, Decision::Wait(_) | Decision::Leave(_)) {
            return all;
        }
        assert!(all.len() < 10, "it does not come to rest: {all:?}");
    }
}

fn table(mode: Mode, slots: usize, rows: &[(u64, Option<Event>, &[Decision])]) {
    let mut d = dispatcher(mode, slots);
    for (number, (at, event, expected)) in rows.iter().enumerate() {
        assert_eq!(
            step(&mut d, ms(*at), *event),
            *expected,
            "row {number} of {mode:?}: {event:?} at {at} ms"
        );
    }
}

use Decision::{Leave, StopAll, Try, Wait};
use Event::{Changed, Drain, DrainCancelled, Ended, Idle, Signal, Started, Trouble};

fn idle(slot: usize, in_progress: bool) -> Option<Event> {
    Some(Idle { slot, in_progress })
}

#[test]
fn once_runs_one_task_and_tells_how_it_went() {
    for (success, leaving) in [(true, Leaving::Finished), (false, Leaving::Failed)] {
        table(
            Mode::Once,
            1,
            &[
                (0, None, &[Try(0), Wait(LONG)]),
                (5, Some(Started(0)), &[Wait(LONG)]),
                (90, Some(Changed), &[Wait(LONG)]),
                (900, Some(Ended { slot: 0, success }), &[Leave(leaving)]),
            ],
        );
    }
    table(Mode::Once, 1, &[(0, None, &[Try(0), Wait(LONG)]), (5, idle(0, true), &[Leave(Leaving::Nothing)])]);
    let trouble = Some(Trouble { slot: 0, passing: true });
    table(Mode::Once, 1, &[(0, None, &[Try(0), Wait(LONG)]), (5, trouble, &[Leave(Leaving::Trouble)])]);
}

#[test]
fn until_idle_waits_for_what_others_have_in_progress() {
    table(
        Mode::UntilIdle,
        1,
        &[
            (0, None, &[Try(0), Wait(LONG)]),
            (5, Some(Started(0)), &[Wait(LONG)]),
            (50, Some(Ended { slot: 0, success: false }), &[Try(0), Wait(LONG)]),
            (60, idle(0, true), &[Wait(ms(200))]),
            (260, None, &[Try(0), Wait(LONG)]),
            (270, idle(0, true), &[Wait(ms(300))]),
            (570, None, &[Try(0), Wait(LONG)]),
            (580, idle(0, false), &[Leave(Leaving::Finished)]),
        ],
    );
}

#[test]
fn slots_look_one_after_the_other_and_stop_looking_when_nothing_is_ready() {
    table(
        Mode::Forever,
        3,
        &[
            (0, None, &[Try(0), Wait(LONG)]),
            (10, Some(Started(0)), &[Try(1), Wait(LONG)]),
            (20, Some(Started(1)), &[Try(2), Wait(LONG)]),
            (30, idle(2, true), &[Wait(ms(200))]),
            (40, Some(Ended { slot: 0, success: true }), &[Try(0), Wait(LONG)]),
            (50, Some(Started(0)), &[Try(2), Wait(LONG)]),
            (60, Some(Started(2)), &[Wait(LONG)]),
        ],
    );
}

#[test]
fn a_changed_file_wakes_but_never_spins() {
    let mut d = dispatcher(Mode::Forever, 1);
    let mut at = ms(0);
    assert_eq!(step(&mut d, at, None), [Try(0), Wait(LONG)]);
    for _ in 0..20 {
        let Some(Wait(pause)) = step(&mut d, at, idle(0, false)).pop() else { panic!("it waits") };
        assert!(pause >= FIRST_PAUSE && pause <= LONGEST_PAUSE);
        at += pause;
        assert_eq!(step(&mut d, at, None), [Try(0), Wait(LONG)]);
    }
    assert_eq!(step(&mut d, at, idle(0, false)), [Wait(LONGEST_PAUSE)]);
    assert_eq!(step(&mut d, at + ms(1), Some(Changed)), [Wait(SHORTEST - ms(1))]);
    assert_eq!(step(&mut d, at + ms(2000), Some(Changed)), [Try(0), Wait(LONG)]);
    assert_eq!(step(&mut d, at + ms(2001), Some(Changed)), [Wait(LONG)], "a look is under way");
    assert_eq!(step(&mut d, at + ms(2001), idle(0, false)), [Wait(FIRST_PAUSE)], "the pause is short again");
}

#[test]
fn trouble_that_passes_is_waited_for_ever_longer_and_files_do_not_hurry_it() {
    let trouble = Some(Trouble { slot: 0, passing: true });
    table(
        Mode::Forever,
        1,
        &[
            (0, None, &[Try(0), Wait(LONG)]),
            (10, trouble, &[Wait(ms(2000))]),
            (500, Some(Changed), &[Wait(ms(1510))]),
            (2010, None, &[Try(0), Wait(LONG)]),
            (2020, trouble, &[Wait(ms(4000))]),
            (6020, None, &[Try(0), Wait(LONG)]),
            (6030, idle(0, false), &[Wait(ms(200))]),
        ],
    );
    let mut d = dispatcher(Mode::UntilIdle, 1);
    let mut at = ms(0);
    for _ in 1..PATIENCE {
        assert_eq!(step(&mut d, at, None), [Try(0), Wait(LONG)]);
        let Some(Wait(pause)) = step(&mut d, at, trouble).pop() else { panic!("it waits") };
        at += pause;
    }
    assert_eq!(step(&mut d, at, None), [Try(0), Wait(LONG)]);
    assert_eq!(step(&mut d, at, trouble), [Leave(Leaving::Trouble)]);
    let lasting = Some(Trouble { slot: 0, passing: false });
    table(Mode::Forever, 1, &[(0, None, &[Try(0), Wait(LONG)]), (10, lasting, &[Leave(Leaving::Trouble)])]);
}

#[test]
fn a_tick_takes_exactly_one_task_whatever_still_runs() {
    table(
        Mode::Every(ms(1000)),
        8,
        &[
            (0, None, &[Try(0), Wait(LONG)]),
            (10, Some(Started(0)), &[Wait(ms(990))]),
            (20, Some(Changed), &[Wait(ms(980))]),
            (1000, None, &[Try(1), Wait(LONG)]),
            (1010, Some(Started(1)), &[Wait(ms(990))]),
            (1020, Some(Ended { slot: 0, success: true }), &[Wait(ms(980))]),
            (2000, None, &[Try(0), Wait(LONG)]),
            (2010, idle(0, true), &[Wait(ms(990))]),
        ],
    );
}

#[test]
fn the_first_signal_drains_and_its_time_is_limited() {
    table(
        Mode::Forever,
        2,
        &[
            (0, None, &[Try(0), Wait(LONG)]),
            (10, Some(Started(0)), &[Try(1), Wait(LONG)]),
            (20, Some(Signal), &[Wait(DRAIN)]),
            (30, Some(Changed), &[Wait(DRAIN - ms(10))]),
            // A claim that was under way counts as an attempt like any other.
            (40, Some(Started(1)), &[Wait(DRAIN - ms(20))]),
            (50, Some(Ended { slot: 0, success: true }), &[Wait(DRAIN - ms(30))]),
            (30_020, None, &[StopAll, Wait(LONG)]),
            (30_900, Some(Ended { slot: 1, success: false }), &[Leave(Leaving::Signalled)]),
        ],
    );
    table(Mode::Forever, 1, &[(0, Some(Signal), &[Leave(Leaving::Signalled)])]);
}

#[test]
fn the_second_signal_stops_attempts_and_the_third_does_not_wait() {
    table(
        Mode::Once,
        1,
        &[
            (0, None, &[Try(0), Wait(LONG)]),
            (10, Some(Started(0)), &[Wait(LONG)]),
            (20, Some(Signal), &[Wait(DRAIN)]),
            (30, Some(Signal), &[StopAll, Wait(LONG)]),
            (40, Some(Signal), &[Leave(Leaving::Forced)]),
        ],
    );
}

#[test]
fn a_request_to_drain_waits_for_attempts_and_can_be_taken_back() {
    table(
        Mode::Forever,
        1,
        &[
            (0, None, &[Try(0), Wait(LONG)]),
            (10, Some(Started(0)), &[Wait(LONG)]),
            (20, Some(Drain), &[Wait(LONG)]),
            (99_000, None, &[Wait(LONG)]),
            (99_010, Some(DrainCancelled), &[Wait(LONG)]),
            (99_020, Some(Ended { slot: 0, success: true }), &[Try(0), Wait(LONG)]),
            (99_030, Some(Drain), &[Wait(LONG)]),
            (99_040, idle(0, false), &[Leave(Leaving::Drained)]),
        ],
    );
    // A signal is not taken back by that.
    table(
        Mode::Forever,
        1,
        &[
            (0, None, &[Try(0), Wait(LONG)]),
            (10, Some(Started(0)), &[Wait(LONG)]),
            (20, Some(Drain), &[Wait(LONG)]),
            (30, Some(Signal), &[Wait(DRAIN)]),
            (40, Some(DrainCancelled), &[Wait(DRAIN - ms(10))]),
            (50, Some(Ended { slot: 0, success: true }), &[Leave(Leaving::Signalled)]),
        ],
    );
}
