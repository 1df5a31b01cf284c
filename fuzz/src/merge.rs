//! Merging by replay, on histories of three machines: nothing is lost, twice is once, and machines that share a
//! branch end up equal.
//!
//! The bytes are acts, five bytes each, attempted on the task that they meet, so that many of them fit. These are the laws
//! of `src/protocol/tests/merging.rs`; there the histories are drawn, here they are looked for.

use std::collections::BTreeSet;
use std::time::Duration;

use orch::protocol::id::{OpId, TaskId};
use orch::protocol::invariant::{check, check_progress};
use orch::protocol::merge::{Merged, missing, overlay, rebase, rebase_acts, rebase_without, same_task};
use orch::protocol::op::{Action, Op, Patch, Role, Verdict};
use orch::protocol::task::{
    Definition, Limits, OnNeedFailed, Priority, Progress, Reason, RetryPolicy, Review, Run, Task,
};
use orch::protocol::time::Timestamp;
use orch::protocol::transition::next;
use orch::protocol::value::Value;

const MACHINES: [&str; 3] = ["m-1", "m-2", "m-3"];
const SESSIONS: [&str; 2] = ["ann", "bob"];
const TTL: Duration = Duration::from_secs(900);
/// Acts of one input: the laws replay them again and again.
const MOST: usize = 48;

/// One attempt, before it is known what it meets.
#[derive(Debug, Clone, Copy)]
struct Draw {
    kind: u8,
    who: u8,
    /// 0 is the right epoch or heartbeat; the rest are near misses.
    off: u8,
    flag: bool,
    n: u8,
}

/// Holds for any bytes: the first two share out the acts among the common past and the two sides.
pub fn holds(bytes: &[u8]) {
    let [past, a, rest @ ..] = bytes else { return };
    let draws: Vec<Draw> = rest
        .chunks_exact(5)
        .take(MOST)
        .map(|c| Draw { kind: c[0], who: c[1], off: c[2] % 4, flag: c[3] & 1 == 1, n: c[4] })
        .collect();
    let (past, futures) = draws.split_at((usize::from(*past) % 16).min(draws.len()));
    let (a, b) = futures.split_at((usize::from(*a) % 16).min(futures.len()));
    let start = added();
    let past = play(&start, past, 2, None);
    two_sides(&past, &play(&past, a, 1_000, None), &play(&past, b, 2_000, None));
    two_sides(&past, &play(&past, a, 1_000, Some("m-1")), &play(&past, b, 2_000, Some("m-2")));
    one_side_moved(&past, &play(&past, futures, 1_000, Some("m-1")));
    what_does_not_touch_commutes(&past, a, b);
    machines_end_up_equal(&past, futures);
}

fn two_sides(past: &Task, a: &Task, b: &Task) {
    let folded = overlay(a, b);
    for merged in [&folded, &overlay(b, a), &overlay(past, &folded.task)] {
        assert_eq!(check(&merged.task), vec![]);
    }
    nothing_is_lost(a, b, &folded);
    assert_eq!(check_progress(a, &folded.task), vec![]);
    assert!(same_task(&folded.task, past));

    let twice = overlay(&folded.task, b);
    assert_eq!(twice.task, folded.task, "the second time changes nothing");
    let refused = |merged: &Merged| ids(merged.refused.iter().map(|(op, _)| op));
    assert_eq!(refused(&twice), refused(&folded));

    for machine in MACHINES {
        let merged = rebase(a, b, machine);
        assert_eq!(check(&merged.task), vec![]);
        assert_eq!(check_progress(a, &merged.task), vec![]);
        let mut considered = ids(missing(a, &merged.task));
        considered.extend(refused(&merged));
        let mine = |op: &&Op| op.machine == machine || op.action.based_on().is_none();
        assert_eq!(considered, ids(missing(a, b).filter(mine)), "{machine} publishes what is not its own");
        assert_eq!(check(&rebase_acts(a, b, machine).task), vec![]);
        if let Some(op) = missing(a, b).next() {
            let without = rebase_without(a, b, machine, op.id);
            assert!(!without.task.has_op(op));
            assert_eq!(check(&without.task), vec![]);
        }
    }
    for other in [a, past] {
        for merged in [overlay(a, other), rebase(a, other, "m-2")] {
            assert_eq!(merged, Merged { task: a.clone(), refused: vec![] });
        }
    }
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

/// A fast-forward takes everything.
fn one_side_moved(past: &Task, tip: &Task) {
    for merged in [overlay(past, tip), rebase(past, tip, "m-1")] {
        // What other machines did in the past is in both; the tip was made on `m-1` alone.
        assert_eq!(merged.refused, vec![]);
        assert_eq!(merged.task.history(), tip.history());
        assert_eq!((merged.task.status(), merged.task.def()), (tip.status(), tip.def()));
    }
}

/// Notes and titles on one side, everything but an edit on the other: either order gives the same task.
fn what_does_not_touch_commutes(past: &Task, a: &[Draw], b: &[Draw]) {
    let talks = |at: usize, draw: &Draw| match at % 2 {
        0 => Action::Note { text: format!("n{}", draw.n) },
        _ => Action::Edit(Box::new(Patch { title: Some(format!("t{}", draw.n)), ..Patch::default() })),
    };
    let a = a.iter().enumerate().fold(past.clone(), |task, (at, draw)| {
        let op = op(1_000 + at as u64, "ann", "m-1", talks(at, draw));
        next(Some(&task), task.id(), &op).unwrap_or(task)
    });
    let acts: Vec<Draw> = b.iter().copied().filter(|draw| draw.kind % KINDS != EDIT).collect();
    let b = play(past, &acts, 2_000, Some("m-2"));
    // An ended task takes no notes: what comes later is refused, and reported.
    if b.status().is_terminal() {
        return;
    }
    let (ab, ba) = (rebase(&a, &b, "m-2"), rebase(&b, &a, "m-1"));
    assert_eq!((&ab.refused, &ba.refused), (&vec![], &vec![]));
    assert_eq!((ab.task.def(), ab.task.state()), (ba.task.def(), ba.task.state()));
    assert_eq!(ids(ab.task.history()), ids(ba.task.history()));
}

/// Three machines work on one branch in any order of arrival: whoever has published everything and fetched last
/// holds exactly the branch, and what each acknowledged is there or was refused to it.
fn machines_end_up_equal(past: &Task, draws: &[Draw]) {
    let mut branch = past.clone();
    let mut machines = vec![branch.clone(); MACHINES.len()];
    let mut refused = vec![BTreeSet::new(); MACHINES.len()];
    let mut issued = ids(branch.history());
    for (at, draw) in (1u64..).zip(draws) {
        let who = usize::from(draw.who) % MACHINES.len();
        let after = play(&machines[who], &[*draw], 1_000 * at, Some(MACHINES[who]));
        issued.extend(ids(missing(&machines[who], &after)));
        machines[who] = after;
        if draw.n & 64 == 64 {
            sync(&mut branch, &mut machines[who], MACHINES[who], &mut refused[who]);
        }
    }
    for _ in 0..2 {
        for (who, name) in MACHINES.iter().enumerate() {
            sync(&mut branch, &mut machines[who], name, &mut refused[who]);
        }
    }
    for machine in &machines {
        assert_eq!(machine.history(), branch.history());
    }
    let mut kept = ids(branch.history());
    kept.extend(refused.into_iter().flatten());
    assert_eq!(kept, issued, "acknowledged operations are in the branch or were reported");
    assert_eq!(check(&branch), vec![]);
}

/// Fetch, replay what the branch lacks, push.
fn sync(branch: &mut Task, machine: &mut Task, name: &str, refused: &mut BTreeSet<OpId>) {
    let merged = rebase(branch, machine, name);
    refused.extend(ids(merged.refused.iter().map(|(op, _)| op)));
    *branch = merged.task.clone();
    *machine = merged.task;
}

fn ids<'a>(ops: impl IntoIterator<Item = &'a Op>) -> BTreeSet<OpId> {
    ops.into_iter().map(|op| op.id).collect()
}

fn added() -> Task {
    let def = Definition { title: "Sweep the yard".to_owned(), ..Definition::default() };
    let id = TaskId::parse("T").expect("one letter is an id");
    next(None, &id, &op(1, "ann", "m-1", Action::Add(Box::new(def)))).expect("an addition makes a task")
}

/// An operation whose id is `n`; its time grows with `n`.
fn op(n: u64, by: &str, machine: &str, action: Action) -> Op {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&n.to_be_bytes());
    let at = n as i64 * 1_000;
    Op {
        id: OpId::new(at, random),
        at: Timestamp(at),
        by: by.to_owned(),
        machine: machine.to_owned(),
        role: Role::Author,
        action,
    }
}

/// Plays draws from operation number `from` on, on any machine or on one; refused ones leave no trace.
fn play(start: &Task, draws: &[Draw], from: u64, on: Option<&str>) -> Task {
    (from..).zip(draws).fold(start.clone(), |task, (n, draw)| {
        let action = action(&task, draw);
        let held = task.lease().map(|lease| (lease.session.clone(), lease.machine.clone()));
        let drawn = || {
            let who = usize::from(draw.who / 3);
            (SESSIONS[who % 2].to_owned(), MACHINES[who / 2 % 3].to_owned())
        };
        let (by, machine) = held.filter(|_| draw.who < 192 && action.is_holders()).unwrap_or_else(drawn);
        let op = op(n, &by, on.unwrap_or(&machine), action);
        next(Some(&task), task.id(), &op).unwrap_or(task)
    })
}

const KINDS: u8 = 20;
const EDIT: u8 = 14;

fn action(task: &Task, draw: &Draw) -> Action {
    let epoch = match draw.off {
        0 => task.epoch(),
        1 => task.epoch() + 1,
        off => task.epoch().saturating_sub(u64::from(off) - 1),
    };
    let beat = task.lease().map_or(0, |lease| lease.beat).saturating_sub(u64::from(draw.off));
    let notes = || if draw.n == 0 { String::new() } else { format!("n{}", draw.n) };
    let maybe = || draw.flag.then(notes);
    let at = Timestamp(i64::from(draw.n) * 1_000);
    let percent = draw.flag.then_some(draw.n % 101);
    match draw.kind % KINDS {
        0..=2 => {
            let over = draw.flag.then_some(beat);
            Action::Claim { base: epoch, epoch: epoch + u64::from(draw.n % 3), ttl: TTL, process: None, over }
        }
        3 => Action::Checkpoint { epoch, note: notes(), percent, file: None },
        4 => Action::Done { epoch, notes: notes(), artifacts: vec![], bundle: None },
        5 => {
            let reason = Reason::ALL[usize::from(draw.n) % Reason::ALL.len()];
            let retry_at = Some(at);
            Action::Fail { epoch, reason, notes: notes(), permanent: draw.flag, retry_at, bundle: None }
        }
        6 => Action::Release { epoch, reason: draw.flag.then_some(Reason::Shutdown), notes: maybe() },
        7 => Action::Block { epoch, notes: notes() },
        8 => Action::Unblock { epoch, notes: maybe() },
        9 => Action::Cancel { epoch, notes: notes() },
        10 => Action::Retry { epoch, notes: maybe() },
        11 => Action::Replan { epoch, notes: notes(), description: maybe(), success_criteria: None },
        12 => {
            let verdict = [Verdict::Pass, Verdict::Retry, Verdict::Block][usize::from(draw.n) % 3];
            Action::Review { epoch, verdict, notes: notes() }
        }
        13 => Action::Recover { epoch, beat, retry_at: draw.flag.then_some(at) },
        EDIT => Action::Edit(Box::new(patch(draw))),
        15 => Action::Note { text: notes() },
        16 => Action::Snooze { until: draw.flag.then_some(at) },
        17 => Action::NeedFailed { epoch, need: TaskId::parse("NEED").expect("letters are an id") },
        18 => Action::Add(Box::default()),
        _ => Action::Heartbeat { epoch, progress: draw.flag.then_some(Progress { percent, note: maybe() }) },
    }
}

/// Edits of single fields, of those that later decisions depend on above all.
fn patch(draw: &Draw) -> Patch {
    let none = Patch::default();
    let number = u32::from(draw.n / 16);
    let id = || TaskId::parse(if draw.flag { "T" } else { "N" }).expect("one letter is an id");
    match draw.n % 12 {
        0 => Patch { title: Some(format!("title {number}")), ..none },
        1 => Patch { review: Some(if draw.flag { Review::Required } else { Review::None }), ..none },
        2 | 3 => {
            let max_attempts = Some(1 + number / 4);
            Patch { retry: Some(RetryPolicy { max_attempts, ..RetryPolicy::default() }), ..none }
        }
        4 => {
            let rules = [OnNeedFailed::Block, OnNeedFailed::Skip, OnNeedFailed::Run];
            Patch { on_need_failed: Some(rules[number as usize % 3]), ..none }
        }
        5 => Patch { needs: Some(vec![id()]), ..none },
        6 => Patch { parent: Some(draw.flag.then(id)), ..none },
        7 => Patch { tags: Some(vec![format!("tag{number}")]), ..none },
        8 => Patch { priority: Some(if draw.flag { Priority::P0 } else { Priority::P3 }), ..none },
        9 => Patch { limits: Some(Limits { tokens: Some(number.into()), ..Limits::default() }), ..none },
        10 => Patch { run: Some(draw.flag.then(|| Run::Agent("coding".to_owned()))), ..none },
        _ => {
            let value = draw.flag.then(|| Value::Int(number.into()));
            Patch { extra: vec![(format!("x{}", number % 2), value)], ..none }
        }
    }
}
