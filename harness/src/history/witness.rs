//! The order of a task's operations as witness: does it explain what everybody was told?

use std::collections::{BTreeMap, HashMap};

use super::{Call, Link, Outcome, Verb};

/// The rules, each of which can be left out to see that the tests notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// What was told to have happened stands in the chain.
    pub told_stands: bool,
    /// What stands in the chain under a client's name was called, and not told to have been refused.
    pub standing_was_called: bool,
    /// No operation stands twice.
    pub once: bool,
    /// An operation that ended before another began stands before it.
    pub real_time: bool,
    /// Epochs of claims grow.
    pub epochs_grow: bool,
    /// The epoch that was told is the one that stands in the chain.
    pub told_epoch: bool,
    /// Acts stand in the epoch of their own holder, before its end.
    pub fenced: bool,
    /// A refusal was right at some moment of the call.
    pub refusals: bool,
}

impl Rules {
    /// All of them.
    pub const ALL: Rules = Rules {
        told_stands: true,
        standing_was_called: true,
        once: true,
        real_time: true,
        epochs_grow: true,
        told_epoch: true,
        fenced: true,
        refusals: true,
    };
}

/// What is wrong with a history, in words; nothing if the chain explains it. `O(n log n)`.
#[must_use]
pub fn check(calls: &[Call], chain: &[Link]) -> Vec<String> {
    check_by(Rules::ALL, calls, chain)
}

/// The same with some of the rules.
#[must_use]
pub fn check_by(rules: Rules, calls: &[Call], chain: &[Link]) -> Vec<String> {
    let mut wrong = Vec::new();
    let (places, matched) = places(rules, calls, chain, &mut wrong);
    if rules.real_time {
        real_time(calls, &matched, chain, &mut wrong);
    }
    let states = states(rules, chain, &mut wrong);
    if rules.refusals {
        refusals(calls, &places, &states, &mut wrong);
    }
    wrong
}

fn fits(call: &Call, link: &Link) -> bool {
    let named = call.verb == Verb::Claim || call.epoch.is_none_or(|epoch| epoch == link.epoch);
    call.by == link.by && call.verb == link.verb && named
}

/// Which call each operation belongs to, and where the operation of each call stands.
fn places(
    rules: Rules,
    calls: &[Call],
    chain: &[Link],
    wrong: &mut Vec<String>,
) -> (Vec<Option<usize>>, Vec<Option<usize>>) {
    let mut at: HashMap<&str, usize> = HashMap::new();
    for (place, link) in chain.iter().enumerate() {
        if at.contains_key(link.op.as_str()) {
            if rules.once {
                wrong.push(format!("operation {} ({:?} of {}) stands twice", link.op, link.verb, link.by));
            }
        } else {
            at.insert(&link.op, place);
        }
    }
    let mut places = vec![None; calls.len()];
    let mut matched = vec![None; chain.len()];
    for (number, call) in calls.iter().enumerate() {
        let Outcome::Ok { op, epoch } = &call.outcome else { continue };
        let place = at.get(op.as_str()).copied();
        let place = place.filter(|place| fits(call, &chain[*place]) && matched[*place].is_none());
        match place {
            Some(place) => {
                places[number] = Some(place);
                matched[place] = Some(number);
                if rules.told_epoch && chain[place].epoch != *epoch {
                    wrong.push(format!(
                        "{} was told epoch {epoch} by `{:?}`, but it stands in epoch {}",
                        call.by, call.verb, chain[place].epoch
                    ));
                }
            }
            None if rules.told_stands => {
                wrong.push(format!("`{:?}` of {} ({op}) was told and does not stand", call.verb, call.by));
            }
            None => {}
        }
    }
    // What nobody was told of must be what somebody does not know of: in order, each at most one.
    let mut open = open_calls(calls);
    for (place, link) in chain.iter().enumerate() {
        if matched[place].is_some() || link.verb == Verb::Other || at.get(link.op.as_str()) != Some(&place) {
            continue;
        }
        let waiting = open.get_mut(&(link.by.as_str(), link.verb as u8));
        let number = waiting.and_then(|waiting| {
            let found = waiting.iter().rposition(|number| fits(&calls[*number], link))?;
            Some(waiting.remove(found))
        });
        match number {
            Some(number) => {
                places[number] = Some(place);
                matched[place] = Some(number);
            }
            None if rules.standing_was_called => {
                wrong.push(format!(
                    "`{:?}` of {} stands in epoch {} ({}), but was refused or never called",
                    link.verb, link.by, link.epoch, link.op
                ));
            }
            None => {}
        }
    }
    (places, matched)
}

/// Calls whose outcome is unknown, by session and verb, the earliest last.
fn open_calls(calls: &[Call]) -> BTreeMap<(&str, u8), Vec<usize>> {
    let mut open: BTreeMap<(&str, u8), Vec<usize>> = BTreeMap::new();
    let mut unknown: Vec<usize> =
        (0..calls.len()).filter(|number| calls[*number].outcome == Outcome::Unknown).collect();
    unknown.sort_by_key(|number| std::cmp::Reverse(calls[*number].invoked));
    for number in unknown {
        open.entry((&calls[number].by, calls[number].verb as u8)).or_default().push(number);
    }
    open
}

/// Nothing that stands later ended before something that stands earlier began.
fn real_time(calls: &[Call], matched: &[Option<usize>], chain: &[Link], wrong: &mut Vec<String>) {
    let mut latest: Option<(u64, usize)> = None;
    for (place, number) in matched.iter().enumerate() {
        let Some(call) = number.map(|number| &calls[number]) else { continue };
        if let (Some(returned), Some((invoked, earlier))) = (call.returned, latest)
            && returned < invoked
        {
            wrong.push(format!(
                "`{:?}` of {} ended at {returned} and stands after `{:?}` of {}, which began at {invoked}",
                call.verb, call.by, chain[earlier].verb, chain[earlier].by
            ));
        }
        latest = latest.max(Some((call.invoked, place)));
    }
}

/// Who holds the task after each prefix of the chain, and whether it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Standing {
    holder: Option<(String, u64)>,
    free: bool,
}

fn states(rules: Rules, chain: &[Link], wrong: &mut Vec<String>) -> Vec<Standing> {
    let mut epoch = 0;
    let mut now = Standing { holder: None, free: true };
    let mut all = vec![now.clone()];
    for link in chain {
        let own = now.holder.as_ref() == Some(&(link.by.clone(), link.epoch));
        let (holder, free, right) = match link.verb {
            Verb::Claim => {
                if link.epoch <= epoch && rules.epochs_grow {
                    wrong.push(format!("{} claimed epoch {} after epoch {epoch}", link.by, link.epoch));
                }
                epoch = epoch.max(link.epoch);
                let right = now.free || (link.over && now.holder.is_some());
                (Some((link.by.clone(), link.epoch)), false, right)
            }
            Verb::Done => (None, false, own),
            Verb::Fail | Verb::Release => (None, true, own),
            Verb::Recover => (None, true, now.holder.as_ref().is_some_and(|(_, epoch)| *epoch == link.epoch)),
            // What operators do is not judged here; whether the task may be claimed afterwards shows.
            Verb::Other => (None, true, true),
        };
        if !right && rules.fenced {
            wrong.push(format!(
                "`{:?}` of {} in epoch {} stands where {} may act",
                link.verb,
                link.by,
                link.epoch,
                match &now.holder {
                    Some((holder, epoch)) => format!("only {holder} (epoch {epoch})"),
                    None => "no holder".to_owned(),
                }
            ));
        }
        now = Standing { holder, free };
        all.push(now.clone());
    }
    all
}

/// Every refusal must be right after some prefix of the chain that the real-time order allows. Earliest first:
/// a later call then has the widest choice.
fn refusals(calls: &[Call], places: &[Option<usize>], states: &[Standing], wrong: &mut Vec<String>) {
    let last = states.len() - 1;
    // Earliest prefixes by the moment from which they bind, and latest prefixes likewise.
    let mut begun: Vec<(u64, usize)> =
        calls.iter().zip(places).filter_map(|(call, place)| Some((call.invoked, (*place)?))).collect();
    begun.sort_unstable();
    let mut least = vec![last; begun.len() + 1];
    for at in (0..begun.len()).rev() {
        least[at] = least[at + 1].min(begun[at].1);
    }
    let mut next_held = vec![last + 1; last + 2];
    for at in (0..=last).rev() {
        next_held[at] = if states[at].free { next_held[at + 1] } else { at };
    }
    // In the order of invocation; what has ended by then binds.
    let mut order: Vec<usize> = (0..calls.len()).collect();
    order.sort_by_key(|number| calls[*number].invoked);
    let mut ends: Vec<(u64, usize)> =
        (0..calls.len()).filter_map(|n| Some((calls[n].returned?, n))).collect();
    ends.sort_unstable();
    let mut chosen: Vec<usize> = places.iter().map(|place| place.map_or(0, |place| place + 1)).collect();
    let (mut ended, mut from) = (0, 0);
    for number in order {
        let call = &calls[number];
        while ended < ends.len() && ends[ended].0 < call.invoked {
            from = from.max(chosen[ends[ended].1]);
            ended += 1;
        }
        let (Outcome::Refused, Some(returned)) = (&call.outcome, call.returned) else { continue };
        let until = least[begun.partition_point(|(invoked, _)| *invoked <= returned)];
        let right = match call.verb {
            Verb::Claim => next_held[from.min(last + 1)],
            _ => first_not_held(states, call, from),
        };
        if right > until {
            wrong.push(format!(
                "`{:?}` of {} was refused, although at no moment between {} and {returned} that was right",
                call.verb, call.by, call.invoked
            ));
        }
        chosen[number] = right.min(last);
    }
}

/// The first prefix from which an act is refused; the prefixes in which it is not are few and adjacent.
fn first_not_held(states: &[Standing], call: &Call, from: usize) -> usize {
    let may = |state: &Standing| {
        state.holder.as_ref().is_some_and(|(holder, epoch)| {
            let named = call.epoch.is_none_or(|named| named == *epoch);
            named && (call.verb == Verb::Recover || *holder == call.by)
        })
    };
    (from..states.len()).find(|at| !may(&states[*at])).unwrap_or(states.len())
}
