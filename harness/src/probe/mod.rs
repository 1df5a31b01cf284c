//! Whether a remote is fit to coordinate agents: a short, polite trial of everything that orch relies on, in a
//! scratch namespace of refs that is removed again, whatever happens.
//!
//! The trial reaches the remote through [`Remote`] only, as orch does, from two repositories that play two
//! machines. Words of the other side are shown but decide nothing: what happened is found out by reading.
//! The one exception is an answer that asks for a slower pace, at which the trial stops.

mod alone;
pub mod field;
mod lost;
mod pace;
mod place;
mod races;
pub mod report;
pub mod scratch;
#[cfg(test)]
mod tests;
mod together;

use std::time::Duration;

use orch::world::{Clock, Objects, Random, Remote};

use field::{Run, Trouble};
use report::{Check, Held, Report};
use scratch::{Left, Scratch};

/// One of the two machines that the trial plays.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// Its way to the remote; several threads use it at once.
    pub remote: &'a (dyn Remote + Sync),
    /// Its own repository.
    pub objects: &'a dyn Objects,
}

/// What the trial needs from outside.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    /// The first machine.
    pub a: Side<'a>,
    /// The second one.
    pub b: Side<'a>,
    /// Time.
    pub clock: &'a dyn Clock,
    /// Names and contents that nobody else has.
    pub random: &'a dyn Random,
    /// Whether somebody wants the trial to end (Ctrl-C).
    pub stopped: &'a dyn Fn() -> bool,
    /// Hears what comes next: number of the step, how many there are, and its name.
    pub told: &'a dyn Fn(usize, usize, &str),
}

/// How much is tried.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Races of each kind.
    pub rounds: u32,
    /// Most pushes of the whole trial, without those that clean up.
    pub pushes: u32,
    /// Time after which nothing but the least is tried any more.
    pub budget: Duration,
    /// Longest time for one step on the network.
    pub limit: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Plan { rounds: 10, pushes: 120, budget: seconds(120), limit: seconds(30) }
    }
}

/// A part of the trial.
type Step = fn(&mut Run<'_>) -> Result<Vec<Check>, Trouble>;

/// Names and parts, in order. A part may rest on what the ones before it found out.
const STEPS: [(&str, Step); 7] = [
    ("which refs it takes", place::step),
    ("compare-and-swap, one at a time", alone::step),
    ("compare-and-swap, two at once", races::step),
    ("several refs in one push", together::step),
    ("claims, listings, fetches", pace::claims),
    ("answers that get lost", lost::step),
    ("pushes in a row", pace::in_a_row),
];

/// Tries the remote and removes what was made there, in the place of `scratch`, also after errors and when it was
/// stopped.
pub fn probe(field: &Field<'_>, plan: &Plan, scratch: &Scratch) -> Report {
    let mut run = Run::new(*field, *plan, scratch);
    let mut checks = Vec::new();
    let mut trouble = None;
    for (at, (name, step)) in STEPS.iter().enumerate() {
        (field.told)(at, STEPS.len(), name);
        match trouble.is_none().then(|| step(&mut run)) {
            Some(Ok(found)) => {
                // Without a place for its refs, or without compare-and-swap, nothing else matters.
                let hopeless = at < 3 && found.iter().any(|check| check.held == Held::Broken);
                checks.extend(found);
                if hopeless {
                    trouble = Some(Trouble::Hopeless);
                }
            }
            Some(Err(met)) => {
                checks.push(Check::untried(name, &met.to_string()));
                trouble = Some(met);
            }
            None => checks.push(Check::untried(name, "not after that")),
        }
    }
    (field.told)(STEPS.len(), STEPS.len(), "removing what was made");
    let left = if run.measured.sent > 0 { scratch.clean(field, plan.limit) } else { Left::default() };
    report::judge(&run, checks, trouble.as_ref(), left)
}
