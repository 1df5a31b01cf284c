//! Random histories: whatever is attempted in whatever order, the promises hold.
//!
//! An attempt is drawn relative to the task that it meets, so that many of them fit: right and wrong
//! epochs, holders and strangers, repeated operations, missing notes.

use super::*;
use crate::protocol::invariant::{check, check_progress};
use crate::protocol::task::{OnNeedFailed, Progress, State};
use crate::protocol::transition::replay;
use proptest::prelude::*;

/// One attempt, before it is known what it meets.
#[derive(Debug, Clone)]
pub(super) struct Draw {
    kind: u8,
    who: u8,
    /// 0 is the right epoch or heartbeat; the rest are near misses.
    off: u8,
    flag: bool,
    n: u8,
}

/// Attempts in a row; `kinds` says how many kinds of [`action`] may be drawn.
pub(super) fn draws(kinds: u8, most: usize) -> impl Strategy<Value = Vec<Draw>> {
    let off = prop_oneof![8 => Just(0u8), 1 => 1u8..4];
    let one = (0..kinds, 0u8..4, off, any::<bool>(), any::<u8>());
    proptest::collection::vec(
        one.prop_map(|(kind, who, off, flag, n)| Draw { kind, who, off, flag, n }),
        0..most,
    )
}

/// Kinds that are no heartbeat come first, so that a test may leave heartbeats out.
pub(super) const WITHOUT_HEARTBEATS: u8 = 19;
pub(super) const ALL_KINDS: u8 = 21;

/// Turns a draw into an act on this task.
pub(super) fn act(task: &Task, draw: &Draw) -> (Who, Action) {
    let who = [ANN, BOB, ANN_ELSEWHERE, BOB][usize::from(draw.who) % 4];
    let held_by = task.lease().map(|lease| (lease.session.as_str(), lease.machine.as_str()));
    let holder = [ANN, BOB, ANN_ELSEWHERE].into_iter().find(|who| Some(*who) == held_by);
    let action = action(task, draw);
    let who = if draw.who == 0 && action.is_holders() { holder.unwrap_or(who) } else { who };
    (who, action)
}

fn action(task: &Task, draw: &Draw) -> Action {
    let epoch = match draw.off {
        0 => task.epoch(),
        1 => task.epoch() + 1,
        off => task.epoch().saturating_sub(u64::from(off) - 1),
    };
    let beat = task.lease().map_or(0, |lease| lease.beat).saturating_sub(u64::from(draw.off));
    let notes = || if draw.n == 0 { String::new() } else { format!("n{}", draw.n) };
    let at = Timestamp(i64::from(draw.n) * 1_000);
    let over = draw.flag.then_some(beat);
    match draw.kind {
        0..=2 => {
            Action::Claim { base: epoch, epoch: epoch + u64::from(draw.n % 3), ttl: TTL, process: None, over }
        }
        3 => checkpoint(epoch),
        4 => Action::Done { epoch, notes: notes(), artifacts: vec![], bundle: None },
        5 => {
            let reason = Reason::ALL[usize::from(draw.n) % Reason::ALL.len()];
            Action::Fail {
                epoch,
                reason,
                notes: notes(),
                permanent: draw.flag,
                retry_at: Some(at),
                bundle: None,
            }
        }
        6 => Action::Release { epoch, reason: draw.flag.then_some(Reason::Shutdown), notes: None },
        7 => Action::Block { epoch, notes: notes() },
        8 => unblock(epoch),
        9 => Action::Cancel { epoch, notes: notes() },
        10 => retry(epoch),
        11 => Action::Replan {
            epoch,
            notes: notes(),
            description: draw.flag.then(notes),
            success_criteria: None,
        },
        12 => review(epoch, [Verdict::Pass, Verdict::Retry, Verdict::Block][usize::from(draw.n) % 3]),
        13 => Action::Recover { epoch, beat, retry_at: Some(at) },
        14 => need_failed(epoch),
        15 => Action::Edit(Box::new(patch(draw))),
        16 => Action::Note { text: notes() },
        17 => Action::Snooze { until: draw.flag.then_some(at) },
        18 => add(definition()),
        _ => Action::Heartbeat {
            epoch,
            progress: draw.flag.then_some(Progress { percent: Some(draw.n % 101), note: None }),
        },
    }
}

/// Edits of the fields that later decisions depend on.
fn patch(draw: &Draw) -> Patch {
    match draw.n % 4 {
        0 => Patch { title: Some(format!("title {}", draw.n)), ..Patch::default() },
        1 => Patch {
            review: Some(if draw.flag { Review::Required } else { Review::None }),
            ..Patch::default()
        },
        2 => {
            let max_attempts = Some(1 + u32::from(draw.n) / 64);
            Patch { retry: Some(RetryPolicy { max_attempts, ..RetryPolicy::default() }), ..Patch::default() }
        }
        _ => {
            let rule =
                [OnNeedFailed::Block, OnNeedFailed::Skip, OnNeedFailed::Run][usize::from(draw.who) % 3];
            Patch { on_need_failed: Some(rule), ..Patch::default() }
        }
    }
}

/// Plays draws from operation number `from` on; refused ones leave no trace.
pub(super) fn play(start: &Task, draws: &[Draw], from: u64) -> Task {
    (from..).zip(draws).fold(start.clone(), |task, (n, draw)| {
        let (who, action) = act(&task, draw);
        apply(&task, n, who, action).unwrap_or(task)
    })
}

/// The same, with everything done on one machine.
pub(super) fn play_on(machine: &'static str, start: &Task, draws: &[Draw], from: u64) -> Task {
    (from..).zip(draws).fold(start.clone(), |task, (n, draw)| {
        let ((session, _), action) = act(&task, draw);
        apply(&task, n, (session, machine), action).unwrap_or(task)
    })
}

/// The lease without what heartbeats move, which is no part of any history.
fn at_rest(task: &Task) -> Task {
    let mut task = task.clone();
    if let State::InProgress(lease) = &mut task.state {
        (lease.beat, lease.progress) = (0, None);
        (lease.renewed_at, lease.expires_at) = (lease.acquired_at, lease.acquired_at);
    }
    task
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1_000), ..ProptestConfig::default() })]

    #[test]
    fn every_step_keeps_the_promises(draws in draws(ALL_KINDS, 60)) {
        let mut task = told(definition(), vec![]);
        for (n, draw) in (2..).zip(&draws) {
            let (who, action) = act(&task, draw);
            let Ok(after) = apply(&task, n, who, action.clone()) else { continue };
            prop_assert_eq!(check(&after), vec![]);
            prop_assert_eq!(check_progress(&task, &after), vec![]);
            prop_assert!(after.history().starts_with(task.history()), "histories only grow");
            prop_assert!(after.epoch() >= task.epoch());
            prop_assert_eq!(after.epoch() > task.epoch(), matches!(action, Action::Claim { .. }));
            if let Some(lease) = after.lease() {
                prop_assert_eq!(lease.epoch, after.epoch(), "the lease carries the task's epoch");
            }
            prop_assert_eq!(at_rest(&replay(&id("T"), after.history()).expect("it replays")), at_rest(&after));
            task = after;
        }
    }

    #[test]
    fn without_heartbeats_the_state_is_exactly_the_replay(draws in draws(WITHOUT_HEARTBEATS, 60)) {
        let task = play(&told(definition(), vec![]), &draws, 2);
        prop_assert_eq!(replay(&id("T"), task.history()), Ok(task));
    }

    /// Mutual exclusion, told without the transition function: whoever claims is told an epoch that
    /// nobody was ever told before, and every act of a holder names the newest one and comes from it.
    #[test]
    fn only_the_newest_claimant_ever_acts(draws in draws(ALL_KINDS, 80)) {
        let task = play(&told(definition(), vec![]), &draws, 2);
        let mut newest: Option<(u64, (String, String))> = None;
        for op in task.history() {
            let who = (op.by.clone(), op.machine.clone());
            match &op.action {
                Action::Claim { epoch, .. } => {
                    prop_assert!(newest.as_ref().is_none_or(|(last, _)| epoch > last));
                    newest = Some((*epoch, who));
                }
                action if action.is_holders() => {
                    prop_assert_eq!(Some((action.based_on().expect("it names one"), who)), newest.clone());
                }
                _ => {}
            }
        }
    }

    #[test]
    fn a_done_task_stays_as_it_is(draws in draws(ALL_KINDS, 60)) {
        let done = task_in(Status::Done);
        prop_assert_eq!(play(&done, &draws, 50), done);
    }

    #[test]
    fn a_patch_between_two_definitions_leads_from_one_to_the_other(
        a in draws(WITHOUT_HEARTBEATS, 20),
        b in draws(WITHOUT_HEARTBEATS, 20),
    ) {
        use crate::protocol::value::Value;
        let mut from = play(&told(definition(), vec![]), &a, 2).def().clone();
        let mut to = play(&told(definition(), vec![]), &b, 2).def().clone();
        from.extra = [("x".to_owned(), Value::Int(1)), ("y".to_owned(), Value::Null)].into();
        to.extra = [("y".to_owned(), Value::Bool(true)), ("z".to_owned(), Value::Null)].into();
        let patch = Patch::between(&from, &to).expect("`extra` differs");
        let mut patched = from.clone();
        patch.apply(&mut patched);
        prop_assert_eq!(&patched, &to);
        prop_assert_eq!(Patch::between(&patched, &to), None);
    }
}

#[test]
fn the_invariants_notice_what_they_are_there_for() {
    let good =
        told(definition(), vec![(ANN, claim(0)), (ANN, heartbeat(1)), (ANN, release(1)), (BOB, claim(1))]);
    assert_eq!(check(&good), vec![]);
    let broken = |change: fn(&mut Task)| {
        let mut task = good.clone();
        change(&mut task);
        check(&task).into_iter().map(|v| v.promise).collect::<Vec<_>>()
    };
    assert_eq!(broken(|t| t.epoch = 1), [6]);
    assert_eq!(broken(|t| t.attempt = 7), [6]);
    assert_eq!(broken(|t| t.def.title.push('!')), [6]);
    assert_eq!(broken(|t| t.state = State::Done), [6]);
    assert_eq!(broken(|t| t.history.clear()), [6]);
    assert_eq!(broken(|t| drop(t.history.pop())), [6]);
    assert_eq!(broken(|t| t.history.push(op(90, BOB, heartbeat(2)))), [6]);
    let twice = broken(|t| t.history.push(op(91, ANN, claim(1))));
    assert!(twice.contains(&1) && twice.contains(&6), "{twice:?}");
    let backwards = broken(|t| {
        let leap = Action::Claim { base: 2, epoch: 9, ttl: TTL, process: None, over: Some(0) };
        t.history.push(op(93, ANN, leap));
        t.history.push(op(94, BOB, takeover(4, 0)));
    });
    assert!(backwards.contains(&1), "{backwards:?}");
    let ended = broken(|t| t.history.push(op(92, ANN, release(1))));
    assert!(ended.contains(&5), "{ended:?}");
    if let (State::InProgress(lease), mut stolen) = (good.state().clone(), good.clone()) {
        stolen.state = State::InProgress(crate::protocol::task::Lease { session: "eve".to_owned(), ..lease });
        assert_eq!(check(&stolen).len(), 1);
    }

    let promises = |before: &Task, after: &Task| {
        check_progress(before, after).into_iter().map(|v| v.promise).collect::<Vec<_>>()
    };
    let before = task_in(Status::Done);
    assert_eq!(promises(&before, &told(definition(), vec![])), [1, 4, 5]);
    let mut reopened = before.clone();
    reopened.state = State::Pending;
    assert_eq!(promises(&before, &reopened), [5]);
    assert_eq!(promises(&before, &before), Vec::<u8>::new());
}
