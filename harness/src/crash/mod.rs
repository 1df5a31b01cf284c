//! Death and failure at every step: a command is struck at each of its calls in turn, and so is the command that comes
//! after it.
//!
//! | file | holds |
//! |---|---|
//! | [`stage`] | two simulated machines, put together once and copied for every try |
//! | [`cases`] | the commands, and what must be there before them |
//! | this one | which calls are struck, and what must hold afterwards |
//!
//! A first pass counts the calls of a command. Then it is run again and again from the same state: killed at each call,
//! with and without a power loss; with each call failing once, and with all calls failing from there on (a bad block, too
//! many open files, a full disk and a read-only one in turn). Whoever ran
//! it runs it again (depth 2: that one is killed at each of *its* calls, too), machines exchange what they have, and
//! then the command has happened exactly once, everybody holds the same files, and nothing that was told is lost.

pub mod cases;
pub mod stage;
#[cfg(test)]
mod tests;

use crate::sim::faults::Broken;
use crate::sim::strike::{Blow, Striker};

use cases::Case;
use stage::Stage;

/// Images that a power loss may leave, tried for each death.
const IMAGES: u64 = 2;

/// Where a try is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// The call of the command, from 1.
    pub at: u64,
    /// What happens there.
    pub blow: Blow,
    /// Also at every later call of the command.
    pub for_good: bool,
    /// The power of the machine fails in that moment; the number draws what its disk holds afterwards.
    pub power: Option<u64>,
    /// The repetition is killed as well, at this call of it.
    pub then: Option<u64>,
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match (self.blow, self.for_good, self.power) {
            (Blow::Kill, _, None) => "killed".to_owned(),
            (Blow::Kill, _, Some(image)) => format!("power lost (image {image})"),
            (Blow::Fail, false, _) => "failing once".to_owned(),
            (Blow::Fail, true, _) => "failing from there on".to_owned(),
        };
        write!(f, "{what} at call {}", self.at)?;
        self.then.map_or(Ok(()), |then| write!(f, ", killed again at call {then} of the repetition"))
    }
}

/// Something that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The command.
    pub case: &'static str,
    /// Where it was struck.
    pub point: Point,
    /// What was seen.
    pub what: String,
}

/// What came of one command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explored {
    /// Calls of the command without a blow.
    pub calls: u64,
    /// Calls at which a death differs from the one before.
    pub deaths: usize,
    /// Tries.
    pub tries: u64,
    /// Tries in which the blow fell.
    pub struck: u64,
    /// What did not hold; the first few.
    pub found: Vec<Found>,
}

/// Tries every point of one command, up to that depth (1 or 2).
///
/// # Errors
/// The stage cannot be set, or the command fails without any blow: nothing was shown.
pub fn explore(case: &Case, depth: u8, broken: Option<Broken>) -> Result<Explored, String> {
    let base = Stage::set(case, broken)?;
    let (counted, settled) = untouched(&base, case);
    let mut explored =
        Explored { calls: counted.calls(), deaths: counted.deaths().len(), ..Explored::default() };
    if let Err(why) = settled {
        let what = format!("{} without a blow: {why}", case.name);
        // A guard that was taken away may be missed as early as that.
        let point = Point { at: 0, blow: Blow::Fail, for_good: false, power: None, then: None };
        broken.ok_or_else(|| what.clone())?;
        explored.found.push(Found { case: case.name, point, what });
        return Ok(explored);
    }
    let mut all = Vec::new();
    for &at in counted.deaths() {
        let kill = Point { at, blow: Blow::Kill, for_good: false, power: None, then: None };
        all.push(kill);
        all.extend((0..IMAGES).map(|image| Point { power: Some(image), ..kill }));
    }
    for at in 1..=counted.calls() {
        let fail = Point { at, blow: Blow::Fail, for_good: false, power: None, then: None };
        all.extend([fail, Point { for_good: true, ..fail }]);
    }
    for point in all {
        let again = one(&base, case, point, &mut explored);
        if depth < 2 || point.blow != Blow::Kill || point.power.is_some_and(|image| image > 0) {
            continue;
        }
        for then in again {
            one(&base, case, Point { then: Some(then), ..point }, &mut explored);
        }
    }
    Ok(explored)
}

/// The command without any blow: its calls, and whether everything ends well.
fn untouched(base: &Stage, case: &Case) -> (Striker, Result<(), String>) {
    let mut probe = base.fork();
    probe.arm(Striker::count());
    probe.act(case);
    (probe.disarm(), probe.settle(case))
}

/// Whether one of the commands notices that a guard was taken away, and how.
///
/// Only a try counts. A stage that cannot even be set without the guard shows nothing of the guard, since nothing was
/// struck; and what goes wrong without any blow counts only where it goes well with the guard in its place: else it is
/// the case that is broken, and it would "notice" every guard.
///
/// # Errors
/// A case does not work with the guard in its place, or none could be set without it and no other noticed.
pub fn noticed<'c>(
    cases: impl IntoIterator<Item = &'c Case>,
    guard: Broken,
) -> Result<Option<Found>, String> {
    let mut unset = None;
    for case in cases {
        match explore(case, 1, Some(guard)) {
            Ok(explored) => {
                let Some(found) = explored.found.into_iter().next() else { continue };
                if found.point.at == 0 {
                    works(case)?;
                }
                return Ok(Some(found));
            }
            Err(why) => {
                works(case)?;
                unset.get_or_insert(format!("{} cannot be prepared without the guard: {why}", case.name));
            }
        }
    }
    unset.map_or(Ok(None), Err)
}

/// Whether a case works with all guards in place and without a blow.
fn works(case: &Case) -> Result<(), String> {
    let base = Stage::set(case, None);
    let settled = base.and_then(|base| untouched(&base, case).1);
    settled.map_err(|why| format!("{} does not work with all guards in place: {why}", case.name))
}

/// One try. Gives the calls at which the repetition can die.
fn one(base: &Stage, case: &Case, point: Point, explored: &mut Explored) -> Vec<u64> {
    let mut stage = base.fork();
    explored.tries += 1;
    stage.arm(Striker::strike(point.at, point.blow, point.for_good));
    stage.act(case);
    explored.struck += u64::from(stage.disarm().struck());
    if let Some(image) = point.power {
        stage.lose_power(image);
    }
    stage.arm(match point.then {
        Some(then) => Striker::strike(then, Blow::Kill, false),
        None => Striker::count(),
    });
    stage.act(case);
    let again = stage.disarm().deaths().to_vec();
    if point.then.is_some() && point.power.is_some() {
        stage.lose_power(1);
    }
    if let Err(what) = stage.settle(case)
        && explored.found.len() < 20
    {
        explored.found.push(Found { case: case.name, point, what });
    }
    again
}
