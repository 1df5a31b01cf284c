//! Makes a plan that breaks a promise smaller, for as long as it still breaks the same one.
//!
//! Greedy: whatever can be taken away is tried in turn, the largest pieces first, until nothing goes any more or the
//! time is up. What is left is what somebody has to understand.

use std::time::{Duration, Instant};

use crate::sim::dice::Dice;
use crate::sim::faults::Knobs;
use crate::sim::kernel::{MINUTE, Micros, SECOND};
use crate::sim::oracle::Violation;
use crate::sim::plan::{Accidents, Plan};

/// When a run begins, in virtual time.
const BEGIN: Micros = 3600 * SECOND;

/// The smallest plan found within a time that still breaks the promise which `plan` breaks. `judge` runs a plan and gives
/// the first promise that it broke.
pub fn shrink(plan: &Plan, within: Duration, mut judge: impl FnMut(&Plan) -> Option<Violation>) -> Plan {
    let begun = Instant::now();
    let mut best = plan.clone();
    let Some(first) = judge(&best) else { return best };
    let mut cut = first.at;
    loop {
        let mut smaller = false;
        for number in 0..STEPS {
            if begun.elapsed() >= within {
                return best;
            }
            let mut next = best.clone();
            step(&mut next, number, cut);
            if next == best {
                continue;
            }
            if let Some(violation) = judge(&next).filter(|violation| violation.promise == first.promise) {
                (best, smaller, cut) = (next, true, violation.at);
            }
        }
        if !smaller {
            return best;
        }
    }
}

/// How many things [`step`] can take away.
const STEPS: usize = 34;

/// Takes one thing away. `cut` is when the promise was broken.
fn step(plan: &mut Plan, number: usize, cut: Micros) {
    let calm = Knobs::calm();
    match number {
        0 => plan.length = plan.length.min(cut.saturating_sub(BEGIN) + MINUTE),
        1 => plan.length /= 2,
        2 => plan.accidents = Accidents::none(),
        3 => plan.knobs = Knobs { preempt: plan.knobs.preempt, latency: plan.knobs.latency, ..calm },
        4 | 5 if plan.machines > 1 => drop_machine(plan),
        6 | 7 => plan.agents = (plan.agents - 1).max(1),
        8 => plan.tasks = (plan.tasks / 2).max(1),
        9 => plan.tasks = (plan.tasks - 1).max(1),
        10 => plan.vanish = 0.0,
        11 => plan.rates.fill(1.0),
        12 => plan.offsets_ms.fill(0),
        13 => plan.core.fill(true),
        14 => plan.herd = false,
        15 => plan.offline = 0,
        16 => plan.operators = plan.operators.max(100 * 60 * MINUTE),
        17..=27 => {
            let a = &mut plan.accidents;
            let all = [
                &mut a.power,
                &mut a.suspend,
                &mut a.stop,
                &mut a.kill,
                &mut a.clock,
                &mut a.cut,
                &mut a.outage,
                &mut a.full,
                &mut a.collect,
                &mut a.hand,
                &mut a.vanish,
            ];
            if let Some(one) = all.into_iter().nth(number - 17) {
                *one = 0.0;
            }
        }
        28 => plan.knobs.kill_at_disk = 0.0,
        29 => plan.knobs.kill_at_remote = 0.0,
        30 => plan.knobs.disk_error = 0.0,
        31 => plan.knobs.lost = 0.0,
        32 => plan.knobs.unanswered = 0.0,
        33 => (plan.knobs.late, plan.knobs.twice) = (0.0, 0.0),
        _ => {}
    }
}

fn drop_machine(plan: &mut Plan) {
    plan.machines -= 1;
    plan.rates.truncate(plan.machines);
    plan.offsets_ms.truncate(plan.machines);
    plan.core.truncate(plan.machines);
    if !plan.core.contains(&true) {
        plan.core[0] = true;
    }
}

/// The same plan with another seed, so that what breaks it may come at another moment.
#[must_use]
pub fn varied(plan: &Plan, number: u64) -> Plan {
    let seed = if number == 0 { plan.seed } else { Dice::new(plan.seed.wrapping_add(number)).draw() };
    Plan { seed, ..plan.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::plan::Profile;

    fn broken(promise: u8, at: Micros) -> Option<Violation> {
        Some(Violation { promise, at, what: String::new() })
    }

    #[test]
    fn what_is_left_is_what_breaks_the_promise() {
        let plan = Plan::draw(3, Profile::Short, None);
        let plan = Plan { accidents: Accidents { power: 2.0, hand: 3.0, ..Accidents::none() }, ..plan };
        let small = shrink(&plan, Duration::from_secs(60), |plan| {
            if plan.accidents.power > 0.0 && plan.machines > 1 { broken(4, BEGIN + 5 * MINUTE) } else { None }
        });
        assert_eq!(small.accidents, Accidents { power: 2.0, ..Accidents::none() });
        assert_eq!((small.machines, small.agents, small.tasks), (2, 1, 1));
        assert!(small.length < MINUTE && small.core.len() == 2 && small.rates == [1.0, 1.0]);
    }

    #[test]
    fn another_promise_is_another_failure() {
        let plan = Plan { agents: 3, ..Plan::draw(3, Profile::Short, None) };
        let small = shrink(&plan, Duration::from_secs(60), |plan| {
            broken(if plan.agents == 3 { 4 } else { 5 }, BEGIN)
        });
        assert_eq!((small.agents, small.tasks), (3, 1));
    }

    #[test]
    fn a_variation_differs_in_its_seed_only() {
        let plan = Plan::draw(3, Profile::Short, None);
        assert_eq!(varied(&plan, 0), plan);
        assert_ne!(varied(&plan, 1).seed, varied(&plan, 2).seed);
        assert_eq!(Plan { seed: 3, ..varied(&plan, 1) }, plan);
    }
}
