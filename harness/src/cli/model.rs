//! `orch-harness model`: search through the protocol within a bound.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use clap::{Args, ValueEnum};

use crate::model::{Bound, Found, Guards, Outcome, VARIANTS, run};
use crate::record::Verdict;

const EXAMPLES: &str = "\
Examples:
  orch-harness model                                  the protocol, within CI's bounds
  orch-harness model --bound small                    in seconds
  orch-harness model --bound full                     everybody at once; minutes and some gigabytes
  orch-harness model --variant delete-before-fold     what happens without that guard
  orch-harness model --variants                       every guard left out in turn: all noticed?
  orch-harness model --claimers 3 --operator 0        a bound of one's own (the rest as: everybody
                                                      once, 1 fault)

For the gate, CI's bounds, the full one and --variants leave a record each: `model`, `model-full`,
`model-variants`.

Exit codes: 0 everything held, 1 a promise is broken or the task cannot come to rest (with
--variants: a variant was not noticed), 2 usage, 3 the search says nothing: it was cut off before it
had seen everything, or something that has to happen never did.";

/// Search through everything that can happen to one task, on the real rules.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Leave out one guard.
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Leave out each guard in turn, each within a bound that suits it.
    #[arg(long, conflicts_with_all = ["variant", "bound", "states", "Own"])]
    variants: bool,
    /// How far to go; default is ci. The options below make a bound of one's own instead.
    #[arg(long, value_enum, conflicts_with_all = ["variant", "Own"])]
    bound: Option<Size>,
    /// Give up (and do not pass) after this many states.
    #[arg(long, value_name = "N")]
    states: Option<usize>,
    #[command(flatten)]
    own: Own,
}

/// A bound of one's own: what is not named is as in the small one, or as suits the variant.
#[derive(Args, Clone, Default, PartialEq, Eq)]
struct Own {
    /// Claimers, each on a machine of its own.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=8))]
    claimers: Option<u8>,
    /// Claims that each claimer may begin.
    #[arg(long, value_name = "N")]
    claims: Option<u8>,
    /// Heartbeats that each claimer may send.
    #[arg(long, value_name = "N")]
    beats: Option<u8>,
    /// Acts of the operator.
    #[arg(long, value_name = "N")]
    operator: Option<u8>,
    /// Whether there is a watchdog, which may fire at any time.
    #[arg(long, value_name = "YES")]
    watchdog: Option<bool>,
    /// Machines that fold.
    #[arg(long, value_name = "N")]
    folders: Option<u8>,
    /// Lost pushes, lost answers, failed reads and crashes in all.
    #[arg(long, value_name = "N")]
    faults: Option<u8>,
    /// Whether claimers take over leases that they judge stale.
    #[arg(long, value_name = "YES")]
    takeover: Option<bool>,
    /// Whether holders may also fail and release.
    #[arg(long, value_name = "YES")]
    all_ends: Option<bool>,
    /// Whether the remote's refs are listed one after the other.
    #[arg(long, value_name = "YES")]
    split: Option<bool>,
    /// Whether a lost push may arrive later.
    #[arg(long, value_name = "YES")]
    late: Option<bool>,
}

impl Own {
    /// What is named, and the rest of another bound.
    fn over(&self, base: Bound) -> Bound {
        Bound {
            claimers: self.claimers.unwrap_or(base.claimers),
            claims: self.claims.unwrap_or(base.claims),
            beats: self.beats.unwrap_or(base.beats),
            operator: self.operator.unwrap_or(base.operator),
            watchdog: self.watchdog.unwrap_or(base.watchdog),
            takeover: self.takeover.unwrap_or(base.takeover),
            folders: self.folders.unwrap_or(base.folders),
            faults: self.faults.unwrap_or(base.faults),
            all_ends: self.all_ends.unwrap_or(base.all_ends),
            split: self.split.unwrap_or(base.split),
            late: self.late.unwrap_or(base.late),
            states: base.states,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Size {
    /// Seconds.
    Small,
    /// About a minute.
    Ci,
    /// Minutes.
    Full,
}

/// Runs the command.
pub fn main(options: &Options) -> ExitCode {
    if options.variants {
        return all_variants();
    }
    let Some(name) = &options.variant else { return protocol(&bounds(options, None)) };
    let Some(variant) = VARIANTS.iter().find(|variant| variant.name == name) else {
        let names: Vec<&str> = VARIANTS.iter().map(|variant| variant.name).collect();
        eprintln!("error: there is no variant `{name}`; there are: {}", names.join(", "));
        return ExitCode::from(2);
    };
    println!("variant    {}: {}", variant.name, variant.what);
    let mut guards = Guards::default();
    (variant.leave_out)(&mut guards);
    ExitCode::from(suite(&bounds(options, Some((variant.bound)())), guards).code)
}

/// The protocol as it is, with a record for the gate where the bounds are some that it knows.
fn protocol(bounds: &[(&str, Bound)]) -> ExitCode {
    let started = SystemTime::now();
    let Sum { exhausted, states, code } = suite(bounds, Guards::default());
    if let Some(layer) = layer(bounds) {
        let numbers =
            [("bounds", bounds.len() as f64), ("exhausted", f64::from(exhausted)), ("states", states as f64)];
        let numbers: BTreeMap<String, f64> = numbers.map(|(name, n)| (name.to_owned(), n)).into();
        let verdict = match code {
            0 => Verdict::Held,
            1 => Verdict::Broken,
            _ => Verdict::Invalid,
        };
        super::keep_record(layer, started, verdict, numbers);
    }
    ExitCode::from(code)
}

/// The layer that these bounds show, if they are CI's or the full ones.
fn layer(bounds: &[(&str, Bound)]) -> Option<&'static str> {
    match bounds {
        bounds if bounds == Bound::ci_suite() => Some("model"),
        bounds if bounds == Bound::full_suite() => Some("model-full"),
        _ => None,
    }
}

/// What came of several searches.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    /// Bounds in which every state was looked at, and everything held.
    exhausted: u32,
    /// States of all of them.
    states: usize,
    /// The worst verdict: a broken promise before a search that was cut off.
    code: u8,
}

/// Searches each bound in turn.
fn suite(bounds: &[(&str, Bound)], guards: Guards) -> Sum {
    let (mut sum, mut verdicts) = (Sum::default(), Vec::new());
    for (name, bound) in bounds {
        println!("bound      {name}: {bound}");
        verdicts.push(match search(*bound, guards) {
            Ok(outcome) => {
                sum.exhausted += u32::from(outcome.holds());
                sum.states += outcome.states;
                report(&outcome)
            }
            Err(why) => {
                eprintln!("error: {why}");
                3
            }
        });
    }
    sum.code = [1, 3].into_iter().find(|code| verdicts.contains(code)).unwrap_or(0);
    sum
}

fn bounds(options: &Options, own: Option<Bound>) -> Vec<(&'static str, Bound)> {
    // Also where what is named is as it is anyway, one's own bound is what was asked for.
    let mut bounds = if own.is_some() || options.own != Own::default() {
        vec![("own", options.own.over(own.unwrap_or_else(Bound::small)))]
    } else {
        match options.bound {
            Some(Size::Small) => Bound::small_suite(),
            Some(Size::Full) => Bound::full_suite(),
            Some(Size::Ci) | None => Bound::ci_suite(),
        }
    };
    if let Some(states) = options.states {
        for (_, bound) in &mut bounds {
            bound.states = states;
        }
    }
    bounds
}

/// How long the search takes nobody knows before it ends, so what is told is how far it is.
fn search(bound: Bound, guards: Guards) -> Result<Outcome, String> {
    let every = Duration::from_secs(if std::io::stderr().is_terminal() { 1 } else { 10 });
    let mut last = Instant::now();
    run(bound, guards, &mut |states, depth, left| {
        if last.elapsed() >= every {
            last = Instant::now();
            eprintln!("searching  {states} states, depth {depth}, {left} left at this depth");
        }
    })
}

fn report(outcome: &Outcome) -> u8 {
    let Outcome { states, steps, depth, sizes: (ops, files, commits), took, .. } = outcome;
    println!("states     {states}");
    println!("steps      {steps}");
    println!("depth      {depth}");
    println!("met        {ops} operations, {files} files, {commits} commits");
    println!("took       {:.1} s", took.as_secs_f64());
    for found in outcome.broken.iter().chain(&outcome.stuck) {
        show(found);
    }
    for what in &outcome.missed {
        println!("missed     never happened: {what}");
    }
    let (code, verdict) = verdict(outcome);
    println!("verdict    {verdict}");
    code
}

/// The exit code, and why. What never happened breaks nothing, and proves nothing.
fn verdict(outcome: &Outcome) -> (u8, &'static str) {
    if outcome.broken.is_some() || outcome.stuck.is_some() {
        (1, "does not hold")
    } else if !outcome.exhausted {
        (3, "cut off: nothing is proved; name a larger --states or a smaller bound")
    } else if !outcome.missed.is_empty() {
        (3, "no promise is broken, but nothing is proved where so little happens; name a larger bound")
    } else {
        (0, "exhausted; every promise held in every state")
    }
}

fn show(found: &Found) {
    match found.promise {
        0 => println!("stuck      {}", found.what),
        promise => println!("broken     promise {promise}: {}", found.what),
    }
    for (at, line) in found.trace.iter().enumerate() {
        println!("{:>8}.  {line}", at + 1);
    }
}

fn all_variants() -> ExitCode {
    let (started, mut missed) = (SystemTime::now(), 0_u32);
    for variant in VARIANTS {
        let mut guards = Guards::default();
        (variant.leave_out)(&mut guards);
        let line = match search((variant.bound)(), guards) {
            Ok(Outcome { broken: Some(found), states, took, .. }) => format!(
                "noticed    after {states} states, {:.1} s, {} steps: promise {}: {}",
                took.as_secs_f64(),
                found.trace.len(),
                found.promise,
                found.what
            ),
            Ok(outcome) => {
                missed += 1;
                format!("MISSED     {} states, exhausted: {}", outcome.states, outcome.exhausted)
            }
            Err(why) => {
                missed += 1;
                format!("MISSED     {why}")
            }
        };
        println!("{:<28} {line}", variant.name);
    }
    let numbers = [("variants", VARIANTS.len() as f64), ("missed", f64::from(missed))];
    let numbers = numbers.map(|(name, count)| (name.to_owned(), count));
    super::keep_record("model-variants", started, super::held_or_broken(missed == 0), numbers.into());
    ExitCode::from(u8::from(missed > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_search_that_saw_everything_counts_as_exhausted() {
        let bound = Bound { claimers: 1, claims: 2, operator: 0, ..Bound::small() };
        let sum = suite(&[("whole", bound), ("cut", Bound { states: 10, ..bound })], Guards::default());
        assert_eq!((sum.exhausted, sum.code), (1, 3));
        let broken = Guards { read_after_claim: false, ..Guards::default() };
        let sum = suite(&[("broken", Bound { operator: 1, ..bound })], broken);
        assert_eq!((sum.exhausted, sum.code), (0, 1));
    }

    /// A bound in which something never happened was told as broken.
    #[test]
    fn what_never_happened_proves_nothing_and_breaks_nothing() {
        let bound = Bound { claimers: 1, claims: 1, operator: 0, faults: 0, ..Bound::small() };
        let whole = search(bound, Guards::default()).unwrap();
        assert_eq!(verdict(&whole).0, 0, "{whole:?}");
        let idle = Outcome { missed: vec!["cancel"], ..whole };
        assert_eq!(verdict(&idle).0, 3);
        let cut = Outcome { exhausted: false, ..idle.clone() };
        assert_eq!(verdict(&cut).0, 3);
        let found = Found { promise: 1, what: String::new(), trace: Vec::new() };
        assert_eq!(verdict(&Outcome { broken: Some(found), ..idle }).0, 1);
    }

    /// `--claimers 2` ran all of CI's bounds, because two claimers are what the small bound has anyway.
    #[test]
    fn a_bound_of_ones_own_is_searched_also_where_it_is_as_the_small_one() {
        let none =
            || Options { variant: None, variants: false, bound: None, states: None, own: Own::default() };
        assert_eq!(bounds(&none(), None), Bound::ci_suite());
        let own = Own { claimers: Some(Bound::small().claimers), ..Own::default() };
        assert_eq!(bounds(&Options { own, ..none() }, None), [("own", Bound::small())]);
        let cut = bounds(&Options { bound: Some(Size::Full), states: Some(9), ..none() }, None);
        assert_eq!(cut, [("full", Bound { states: 9, ..Bound::full_suite()[0].1 })]);
        assert_eq!(layer(&cut), None);
    }

    /// Another bound than these says nothing to the gate.
    #[test]
    fn each_suite_has_a_layer_of_its_own() {
        assert_eq!(layer(&Bound::ci_suite()), Some("model"));
        assert_eq!(layer(&Bound::full_suite()), Some("model-full"));
        assert_eq!(layer(&Bound::small_suite()), None);
        assert_eq!(layer(&[("own", Bound::small())]), None);
    }
}
