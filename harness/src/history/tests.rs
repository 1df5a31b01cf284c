//! The witness checker against the checker that others wrote, on random small histories, right and corrupted.

use super::witness::{Rules, check, check_by};
use super::{Call, Event, Link, Outcome, Verb, calls, read, tester, write};

/// A small generator, so that a seed is a history for ever.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

type History = (Vec<Call>, Vec<Link>);

/// Clients that call one after the other, each at its moment; what they were told is made from a lock that is
/// written down here once more.
fn right(dice: &mut Dice) -> History {
    let (mut calls, mut chain) = (Vec::new(), Vec::<Link>::new());
    let (mut epoch, mut holder, mut over) = (0u64, None::<String>, false);
    for n in 0..3 + dice.roll(4) {
        let mut by = ["a", "b", "c"][dice.roll(3) as usize].to_owned();
        let verb = match (&holder, dice.roll(8)) {
            (None, 0..7) | (Some(_), 0..2) => Verb::Claim,
            (_, 2) => Verb::Done,
            (_, 3) => Verb::Recover,
            (_, 4) => Verb::Fail,
            _ => Verb::Release,
        };
        if let Some(holder) = holder.as_ref().filter(|_| verb != Verb::Claim && dice.roll(4) > 0) {
            by.clone_from(holder);
        }
        let named = (verb != Verb::Claim).then(|| epoch.saturating_sub(u64::from(dice.roll(6) == 0)));
        let fits = match verb {
            Verb::Claim => holder.is_none() && !over,
            Verb::Recover => holder.is_some() && named == Some(epoch),
            _ => holder.as_ref() == Some(&by) && named == Some(epoch),
        };
        let lost = dice.roll(8) == 0;
        let mut outcome = if fits { Outcome::Unknown } else { Outcome::Refused };
        if fits && !lost {
            epoch += u64::from(verb == Verb::Claim);
            holder = (verb == Verb::Claim).then(|| by.clone());
            over = verb == Verb::Done;
            let op = format!("op-{n}");
            chain.push(Link { op: op.clone(), by: by.clone(), verb, epoch, over: false });
            outcome = Outcome::Ok { op, epoch };
        }
        if dice.roll(7) == 0 {
            outcome = Outcome::Unknown;
        }
        let moment = 1_000 + 100 * n;
        let invoked = moment - dice.roll(250) * 2;
        let returned = (outcome != Outcome::Unknown).then(|| moment + 1 + dice.roll(250) * 2);
        calls.push(Call { by, verb, epoch: named, invoked, returned, outcome });
    }
    (calls, chain)
}

/// One lie.
fn corrupt(dice: &mut Dice, (calls, chain): &mut History) {
    let some = |dice: &mut Dice, len: usize| (len > 0).then(|| dice.roll(len.max(1) as u64) as usize);
    let (call, link) = (some(dice, calls.len()), some(dice, chain.len()));
    match (dice.roll(9), call, link) {
        (0, Some(call), _) if calls[call].returned.is_some() => calls[call].outcome = Outcome::Refused,
        (1, Some(call), _) if calls[call].returned.is_some() => {
            let epoch = calls[call].epoch.unwrap_or(1);
            calls[call].outcome = Outcome::Ok { op: format!("op-{call}"), epoch };
        }
        (2, Some(call), _) => {
            if let Outcome::Ok { epoch, .. } = &mut calls[call].outcome {
                *epoch += 1;
            }
        }
        (3, _, Some(link)) => drop(chain.remove(link)),
        (4, _, Some(link)) => chain.push(chain[link].clone()),
        (5, _, Some(link)) => {
            let other = dice.roll(chain.len() as u64) as usize;
            chain.swap(link, other);
        }
        (6, Some(call), _) => {
            let later = 200 + 2 * dice.roll(300);
            calls[call].invoked += later;
            calls[call].returned = calls[call].returned.map(|returned| returned + later);
        }
        (7, Some(call), _) => {
            let (earlier, call) = (200 + 2 * dice.roll(300), &mut calls[call]);
            call.invoked = call.invoked.saturating_sub(earlier);
            call.returned =
                call.returned.map(|returned| returned.saturating_sub(earlier).max(call.invoked + 1));
        }
        // A holder's act, or its end, in an epoch that is over; told and standing alike.
        (_, _, Some(link)) if chain[link].epoch > 1 => {
            let op = chain[link].op.clone();
            chain[link].epoch -= 1;
            for call in calls.iter_mut() {
                if let Outcome::Ok { op: told, epoch } = &mut call.outcome
                    && *told == op
                {
                    *epoch -= 1;
                    call.epoch = call.epoch.map(|epoch| epoch.saturating_sub(1));
                }
            }
        }
        _ => {}
    }
}

fn history(seed: u64) -> History {
    let mut dice = Dice(seed);
    let mut history = right(&mut dice);
    for _ in 0..seed % 3 {
        corrupt(&mut dice, &mut history);
    }
    history
}

const SEEDS: u64 = 6_000;

#[test]
fn both_checkers_agree_on_thousands_of_histories() {
    let (mut fine, mut wrong) = (0, 0);
    for seed in 0..SEEDS {
        let (calls, chain) = history(seed);
        let found = check(&calls, &chain);
        let explained = tester::linearizable(&calls, &chain);
        assert_eq!(found.is_empty(), explained, "seed {seed}: {found:#?}\n{calls:#?}\n{chain:#?}");
        assert!(seed % 3 > 0 || explained, "seed {seed}: nobody lied: {found:#?}");
        if explained { fine += 1 } else { wrong += 1 }
    }
    assert!(fine > SEEDS / 4 && wrong > SEEDS / 4, "{fine} fine, {wrong} wrong");
}

type Without = fn(&mut Rules);

/// A rule that nothing misses would be no rule.
#[test]
fn every_rule_that_is_left_out_is_missed() {
    let leave_out: [(&str, Without); 7] = [
        ("told_stands", |rules| rules.told_stands = false),
        ("standing_was_called", |rules| rules.standing_was_called = false),
        ("real_time", |rules| rules.real_time = false),
        ("epochs_grow", |rules| rules.epochs_grow = false),
        ("told_epoch", |rules| rules.told_epoch = false),
        ("fenced", |rules| rules.fenced = false),
        ("refusals", |rules| rules.refusals = false),
    ];
    for (name, leave_out) in leave_out {
        let mut rules = Rules::ALL;
        leave_out(&mut rules);
        let missed = (0..SEEDS).find(|seed| {
            let (calls, chain) = history(*seed);
            check_by(rules, &calls, &chain).is_empty() && !tester::linearizable(&calls, &chain)
        });
        assert!(missed.is_some(), "without `{name}` nothing was missed");
    }
}

/// An act of a client that stands twice breaks other rules as well; one of an operator does not.
#[test]
fn an_operation_that_stands_twice_is_noticed() {
    let link = Link { op: "op-1".into(), by: "operator".into(), verb: Verb::Other, epoch: 0, over: false };
    assert_eq!(check(&[], std::slice::from_ref(&link)), [""; 0]);
    let twice = [link.clone(), link];
    assert_eq!(check(&[], &twice).len(), 1);
    assert!(check_by(Rules { once: false, ..Rules::ALL }, &[], &twice).is_empty());
}

/// The order of a real task, as the rules of the program write it.
#[test]
fn the_chain_of_a_real_task_has_what_decides_its_status() {
    use orch::protocol::id::{OpId, TaskId};
    use orch::protocol::op::{Action, Op, Role};
    use orch::protocol::{task::Definition, time::Timestamp};
    let op = |n: u8, action| {
        let (by, machine) = ("a".to_owned(), "m".to_owned());
        Op { id: OpId::new(i64::from(n), [n; 10]), at: Timestamp(0), by, machine, role: Role::Author, action }
    };
    let ttl = std::time::Duration::from_secs(60);
    let ops = [
        op(1, Action::Add(Box::new(Definition { title: "t".to_owned(), ..Definition::default() }))),
        op(2, Action::Claim { base: 0, epoch: 1, ttl, process: None, over: None }),
        op(3, Action::Note { text: "n".to_owned() }),
        op(4, Action::Claim { base: 1, epoch: 3, ttl, process: None, over: Some(0) }),
        op(5, Action::Release { epoch: 3, reason: None, notes: None }),
    ];
    let id = TaskId::parse("T-1").unwrap();
    let task = orch::protocol::transition::replay(&id, &ops).unwrap();
    let seen: Vec<(Verb, u64, bool)> =
        super::chain(&task).into_iter().map(|link| (link.verb, link.epoch, link.over)).collect();
    assert_eq!(seen, [(Verb::Claim, 1, false), (Verb::Claim, 3, true), (Verb::Release, 3, false)]);
}

#[test]
fn a_history_survives_its_file_and_a_torn_last_line() {
    let ok = Outcome::Ok { op: "01K".to_owned(), epoch: 1 };
    let events = [
        Event::Invoke { call: 1, at: 5, task: "T-1".into(), by: "a".into(), verb: Verb::Claim, epoch: None },
        Event::Return { call: 1, at: 9, outcome: ok.clone() },
        Event::Invoke {
            call: 2,
            at: 10,
            task: "T-1".into(),
            by: "a".into(),
            verb: Verb::Done,
            epoch: Some(1),
        },
    ];
    let mut bytes = Vec::new();
    for event in &events {
        write(&mut bytes, event).unwrap();
    }
    bytes.extend_from_slice(b"{\"event\":\"return\",\"ca");
    let again = read(&mut bytes.as_slice()).unwrap();
    assert_eq!(again, events);
    let by_task = calls(&again).unwrap();
    assert_eq!(by_task["T-1"][0].outcome, ok);
    assert_eq!((&by_task["T-1"][1].outcome, by_task["T-1"][1].returned), (&Outcome::Unknown, None));
    let twice = [events[0].clone(), events[1].clone(), events[1].clone()];
    assert!(calls(&twice).unwrap_err().contains("returned twice"));
    assert!(read(&mut b"{}\n".as_slice()).unwrap_err().starts_with("line 1: "));
}
