//! `orch-harness model`: search through the protocol within a bound.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use clap::{Args, ValueEnum};

use crate::model::{Bound, Found, Guards, Outcome, VARIANTS, run};

const EXAMPLES: &str = "\
Examples:
  orch-harness model                                  the protocol, within CI's bounds
  orch-harness model --bound small                    in seconds
  orch-harness model --bound full                     everybody at once; minutes and some gigabytes
  orch-harness model --variant delete-before-fold     what happens without that guard
  orch-harness model --variants                       every guard left out in turn; each must be noticed
  orch-harness model --claimers 3 --operator 0        a bound of one's own (the rest as: everybody once, 1 fault)

For the gate, CI's bounds, the full one and --variants leave a record each: `model`, `model-full`, `model-variants`.

Exit codes: 0 everything held, 1 a promise is broken or the task cannot come to rest (with --variants: a
variant was not noticed), 2 usage, 3 the search was cut off before it had seen everything.";

/// Search through everything that can happen to one task, on the real rules.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Leave out one guard.
    #[arg(long, value_name = "NAME", conflicts_with = "variants")]
    variant: Option<String>,
    /// Leave out each guard in turn.
    #[arg(long)]
    variants: bool,
    /// How far to go; default is ci. The options below make a bound of one's own instead.
    #[arg(long, value_enum)]
    bound: Option<Size>,
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
    /// Give up (and do not pass) after this many states.
    #[arg(long, value_name = "N")]
    states: Option<usize>,
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
        super::keep_record(layer, started, code == 0, numbers);
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
    let base = own.unwrap_or_else(Bound::small);
    let bound = Bound {
        claimers: options.claimers.unwrap_or(base.claimers),
        claims: options.claims.unwrap_or(base.claims),
        beats: options.beats.unwrap_or(base.beats),
        operator: options.operator.unwrap_or(base.operator),
        watchdog: options.watchdog.unwrap_or(base.watchdog),
        takeover: options.takeover.unwrap_or(base.takeover),
        folders: options.folders.unwrap_or(base.folders),
        faults: options.faults.unwrap_or(base.faults),
        all_ends: options.all_ends.unwrap_or(base.all_ends),
        split: options.split.unwrap_or(base.split),
        late: options.late.unwrap_or(base.late),
        states: options.states.unwrap_or(base.states),
    };
    match options.bound {
        _ if bound != base => vec![("own", bound)],
        None if own.is_some() => vec![("own", bound)],
        Some(Size::Small) => Bound::small_suite(),
        Some(Size::Full) => Bound::full_suite(),
        Some(Size::Ci) | None => Bound::ci_suite(),
    }
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
    if !outcome.exhausted {
        println!("verdict    cut off: nothing is proved; name a larger --states or a smaller bound");
        return 3;
    }
    if outcome.holds() {
        println!("verdict    exhausted; every promise held in every state");
        return 0;
    }
    println!("verdict    does not hold");
    1
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
    super::keep_record("model-variants", started, missed == 0, numbers.into());
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

    /// Another bound than these says nothing to the gate.
    #[test]
    fn each_suite_has_a_layer_of_its_own() {
        assert_eq!(layer(&Bound::ci_suite()), Some("model"));
        assert_eq!(layer(&Bound::full_suite()), Some("model-full"));
        assert_eq!(layer(&Bound::small_suite()), None);
        assert_eq!(layer(&[("own", Bound::small())]), None);
    }
}
