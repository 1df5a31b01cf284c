//! `orch-harness sim`: runs plans, one after the other, until one breaks a promise or the budget is used up.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use clap::Args;

use super::{held_or_broken, quoted};
use crate::corpus::{self, Entry};
use crate::drive::{self, Outcome};
use crate::record::Verdict;
use crate::shrink::shrink;
use crate::sim::faults::Broken as Guard;
use crate::sim::kernel::Micros;
use crate::sim::plan::{Plan, Profile, Sizes};
use crate::sim::probes::Probes;

/// Simulate whole machines with virtual time and every fault that a seed draws
#[derive(Args)]
#[command(after_help = "\
Examples:
  orch-harness sim                                  hunt new seeds for a minute
  orch-harness sim --seeds 1000 --profile short     the seeds 0 to 999
  orch-harness sim --seed 4711                      one seed, with the end of its trace
  orch-harness sim --corpus harness/corpus          what was found before
  orch-harness sim --seed 1 --profile long          three virtual days, eight machines, 32 agents
  orch-harness sim --profile workers                workers that run programs, too
  orch-harness sim --machines 6 --hours 12          six machines, and twelve hours of faults

Exit codes: 0 no promise was broken, 1 one was (or, with --twice, two runs of a seed differ),
2 usage, 3 it says nothing: a plan is not there or cannot be run, or, with --all-probes, something
that has to happen never did")]
pub struct Sim {
    /// Run this seed only
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Run so many seeds, beginning with --from
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// First seed [default: 0 with --seeds, else one that nobody has tried]
    #[arg(long, value_name = "N", conflicts_with = "seed")]
    from: Option<u64>,
    /// Hunt seeds for so many seconds, where it is not said how many [default: 60]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    #[arg(conflicts_with_all = ["seed", "seeds"])]
    seconds: Option<u64>,
    /// short, long, calm, local or workers
    #[arg(long, value_name = "NAME", default_value = "short", value_parser = Profile::parse)]
    profile: Profile,
    /// Machines, instead of as many as the seed draws
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    machines: Option<u16>,
    /// Agents on each machine
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    agents: Option<u16>,
    /// Tasks at the beginning
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    tasks: Option<u16>,
    /// Virtual hours with faults
    #[arg(long, value_name = "H", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    hours: Option<u16>,
    /// Replay the plans of this directory instead: what was mended stays mended, what is noticed stays noticed
    #[arg(long, value_name = "DIR", conflicts_with_all = DRAWN, conflicts_with = "tail")]
    corpus: Option<PathBuf>,
    /// Run the plan of this file of a corpus with all guards in place, and show the end of its trace
    #[arg(long, value_name = "FILE", conflicts_with_all = DRAWN, conflicts_with = "corpus")]
    plan: Option<PathBuf>,
    /// Where the plan of a seed that broke a promise goes once it is shrunk
    #[arg(long, value_name = "DIR", default_value = "harness/corpus")]
    keep: PathBuf,
    /// Shrink for so many seconds; 0 keeps nothing
    #[arg(long, value_name = "N", default_value_t = 60)]
    shrink: u64,
    /// Run each seed twice and compare
    #[arg(long)]
    twice: bool,
    /// Go on after a seed that broke a promise
    #[arg(long)]
    keep_going: bool,
    /// Say that a run shows nothing (exit code 3) where a probe was never hit
    #[arg(long)]
    all_probes: bool,
    /// Show the last lines of the trace of a single seed
    #[arg(long, value_name = "N", default_value_t = 30)]
    tail: usize,
}

/// Options of runs that are drawn; a plan that is given says everything itself.
const DRAWN: [&str; 14] = [
    "seed",
    "seeds",
    "from",
    "seconds",
    "profile",
    "machines",
    "agents",
    "tasks",
    "hours",
    "keep",
    "shrink",
    "twice",
    "keep_going",
    "all_probes",
];

impl Sim {
    /// Runs it.
    #[must_use]
    pub fn run(self) -> ExitCode {
        if self.profile == Profile::Local && self.machines.is_some_and(|machines| machines > 1) {
            eprintln!(
                "error: a queue without a remote has one machine: leave --machines or --profile local out"
            );
            return ExitCode::from(2);
        }
        if let Some(dir) = &self.corpus {
            return replay(dir);
        }
        if let Some(file) = &self.plan {
            return self.one_plan(file);
        }
        self.drawn()
    }

    /// Runs seeds.
    fn drawn(&self) -> ExitCode {
        let (started, begun) = (SystemTime::now(), Instant::now());
        let (first, count) = match (self.seed, self.seeds) {
            (Some(seed), _) => (seed, Some(1)),
            (None, Some(count)) => (self.from.unwrap_or(0), Some(count)),
            (None, None) => (self.from.unwrap_or_else(fresh), None),
        };
        let (total, broken) = self.all(first, count, begun);
        if count.is_none() && std::io::stderr().is_terminal() {
            eprintln!();
        }
        for (plan, outcome) in &broken {
            match outcome {
                Some(outcome) => {
                    report(plan, outcome);
                    if self.seed.is_none() {
                        last_steps(outcome);
                    }
                    let sizes =
                        self.sizes().options().map(|options| format!(" {options}")).unwrap_or_default();
                    again(&format!("--seed {} --profile {}{sizes}", plan.seed, plan.profile.name()));
                    self.keep(plan);
                }
                None => println!("seed {}: two runs of the same plan differ", plan.seed),
            }
        }
        total.show(begun.elapsed());
        let missing = total.probes.missing(self.profile == Profile::Workers);
        let unreached = if self.all_probes { missing.len() } else { 0 };
        if unreached > 0 {
            println!("never reached: {}", missing.join(", "));
        }
        let differ = broken.iter().filter(|(_, outcome)| outcome.is_none()).count();
        let ends = Ends { runs: total.runs, broken: broken.len() - differ, differ, unreached };
        let verdict = ends.verdict();
        println!("{}", ends.text(self.twice));
        if self.seeds.is_some() && self.sizes() == Sizes::default() {
            let numbers = BTreeMap::from([
                ("seeds".to_owned(), total.runs as f64),
                ("failures".to_owned(), broken.len() as f64),
                ("probes_missed".to_owned(), missing.len() as f64),
            ]);
            let layer = match self.profile {
                Profile::Short => "sim".to_owned(),
                other => format!("sim-{}", other.name()),
            };
            super::keep_record(&layer, started, verdict, numbers);
        }
        ExitCode::from(verdict.code())
    }

    /// How long to hunt.
    fn budget(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(60))
    }

    /// How far it is: on a terminal one line that is written anew, elsewhere a line for every hundred seeds.
    fn progress(&self, runs: u64, broken: usize, count: Option<u64>, gone: Duration) {
        let terminal = std::io::stderr().is_terminal();
        if self.seed.is_some() || !runs.is_multiple_of(if terminal { 5 } else { 100 }) {
            return;
        }
        let gone = gone.as_secs_f64();
        let left = match count {
            Some(count) => gone / runs as f64 * count.saturating_sub(runs) as f64,
            None => self.budget().as_secs_f64() - gone,
        };
        let of = count.map(|count| format!(" of {count}")).unwrap_or_default();
        let line = format!("{runs}{of} seeds, {broken} broken, {gone:.0} s, {:.0} s left", left.max(0.0));
        if terminal {
            eprint!("\r{line}\x1b[K{}", if count == Some(runs) { "\n" } else { "" });
        } else {
            eprintln!("{line}");
        }
    }

    /// The sizes that were asked for.
    fn sizes(&self) -> Sizes {
        let number = |asked: Option<u16>| asked.map(usize::from);
        Sizes {
            machines: number(self.machines),
            agents: number(self.agents),
            tasks: number(self.tasks),
            hours: number(self.hours),
        }
    }

    /// Runs the plan of a file, with all guards in place.
    fn one_plan(&self, file: &Path) -> ExitCode {
        let plan = match corpus::read(file) {
            Ok(entry) => Plan { broken: None, ..entry.plan },
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::from(Verdict::Invalid.code());
            }
        };
        let outcome = drive::run(&plan);
        show_tail(&outcome, self.tail);
        report(&plan, &outcome);
        again(&format!("--plan {}", quoted(&file.to_string_lossy())));
        let broken = usize::from(!outcome.violations.is_empty());
        let ends = Ends { runs: 1, broken, ..Ends::default() };
        println!("{}", ends.text(false));
        ExitCode::from(ends.verdict().code())
    }

    /// Shrinks a plan that broke a promise, and keeps it.
    fn keep(&self, plan: &Plan) {
        if self.shrink == 0 {
            return;
        }
        let first = |plan: &Plan| drive::run(plan).violations.into_iter().next();
        let small = shrink(plan, Duration::from_secs(self.shrink), first);
        let Some(violation) = first(&small) else { return };
        match Entry::new(&small, &violation).keep(&self.keep) {
            Ok(path) => println!("shrunk to {}", path.display()),
            Err(error) => eprintln!("cannot keep the shrunk plan: {error}"),
        }
    }

    /// Runs all seeds, as many at once as there are cores. After the first broken one no more are begun, unless
    /// all were asked for.
    fn all(&self, first: u64, count: Option<u64>, begun: Instant) -> (Totals, Vec<Broken>) {
        let budget = self.budget();
        let next = AtomicU64::new(0);
        let found = Mutex::new((Totals::default(), Vec::new()));
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                let over = count.map_or_else(|| begun.elapsed() >= budget, |count| number >= count);
                let broken = found.lock().map_or(true, |found| !self.keep_going && !found.1.is_empty());
                if over || broken {
                    return;
                }
                let plan = Plan::draw_sized(first.wrapping_add(number), self.profile, None, self.sizes());
                let outcome = drive::run(&plan);
                let differs = self.twice && drive::run(&plan).hash != outcome.hash;
                if self.seed.is_some() {
                    show_tail(&outcome, self.tail);
                }
                let Ok(mut found) = found.lock() else { return };
                found.0.add(&outcome);
                if differs {
                    found.1.push((plan, None));
                } else if !outcome.violations.is_empty() {
                    found.1.push((plan, Some(outcome)));
                }
                self.progress(found.0.runs, found.1.len(), count, begun.elapsed());
            }
        };
        on_all_cores(count.unwrap_or(u64::MAX), work);
        found.into_inner().unwrap_or_default()
    }
}

/// Replays what is kept, on all cores.
fn replay(dir: &Path) -> ExitCode {
    let begun = Instant::now();
    let entries = match corpus::load(dir) {
        Ok(entries) => entries,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(Verdict::Invalid.code());
        }
    };
    let next = AtomicU64::new(0);
    let failed = AtomicU64::new(0);
    on_all_cores(entries.len() as u64, || {
        while let Some((name, entry)) = entries.get(next.fetch_add(1, Ordering::SeqCst) as usize) {
            match entry.replay() {
                Ok(runs) => println!("{name:<28} holds, in {runs} runs"),
                Err(error) => {
                    failed.fetch_add(1, Ordering::SeqCst);
                    println!("{name:<28} FAILED: {error}");
                }
            }
        }
    });
    let failed = failed.into_inner();
    println!("{} plans, {failed} failed, {:.1} s", entries.len(), begun.elapsed().as_secs_f64());
    let verdict = held_or_broken(failed == 0);
    println!("{}: {}", verdict.word(), if failed == 0 { "every plan holds" } else { "see FAILED above" });
    ExitCode::from(verdict.code())
}

/// How the runs ended.
#[derive(Debug, Default, Clone, Copy)]
struct Ends {
    runs: u64,
    /// Those that broke a promise.
    broken: usize,
    /// Those of which a second run was another one.
    differ: usize,
    /// Probes that had to be reached, and were not.
    unreached: usize,
}

impl Ends {
    fn verdict(self) -> Verdict {
        match self {
            Ends { broken: 0, differ: 0, unreached: 0, .. } => Verdict::Held,
            Ends { broken: 0, differ: 0, .. } => Verdict::Invalid,
            _ => Verdict::Broken,
        }
    }

    /// The last line.
    fn text(self, twice: bool) -> String {
        let Ends { runs, broken, differ, unreached } = self;
        let what = match self.verdict() {
            Verdict::Held if twice => {
                "no promise was broken, and both runs of each seed were the same".to_owned()
            }
            Verdict::Held => "no promise was broken".to_owned(),
            Verdict::Invalid => {
                format!(
                    "no promise was broken, but of what has to happen {unreached} never did: run more seeds"
                )
            }
            Verdict::Broken => {
                let differ =
                    if differ > 0 { format!(", {differ} differed when run twice") } else { String::new() };
                format!("{broken} of {runs} runs broke a promise{differ}")
            }
        };
        format!("{}: {what}", self.verdict().word())
    }
}

/// Does the same work on as many threads as there are cores.
pub fn on_all_cores(pieces: u64, work: impl Fn() + Sync) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores.min(usize::try_from(pieces).unwrap_or(cores)) {
            scope.spawn(&work);
        }
    });
}

/// A plan that broke a promise, or gave two different runs.
type Broken = (Plan, Option<Outcome>);

/// A seed that nobody has tried yet.
fn fresh() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    now.as_millis() as u64 * 1_000
}

/// What happened.
fn report(plan: &Plan, outcome: &Outcome) {
    println!("seed {}: {} promises broken", plan.seed, outcome.violations.len());
    for violation in &outcome.violations {
        let at = violation.at as f64 / 1e6;
        println!("  promise {} at {at:.3} s: {}", violation.promise, violation.what);
    }
}

/// How to see it again. A plan that was shrunk is no longer that of its seed.
fn again(what: &str) {
    println!("again: cargo run --release -p orch-harness -- sim {what}");
}

/// The last steps of the machines that the first broken promise is about.
fn last_steps(outcome: &Outcome) {
    const SHOWN: usize = 20;
    let Some(violation) = outcome.violations.first() else { return };
    let machines = machines(&violation.what);
    let concerned: Vec<&String> =
        outcome.tail.iter().filter(|line| machines.is_empty() || names_one_of(line, &machines)).collect();
    for line in concerned.iter().skip(concerned.len().saturating_sub(SHOWN)) {
        println!("  {line}");
    }
}

/// The machines that a text names: `m2` itself, or the first number of a session (`agent-2-0`, `watchdog-2`).
fn machines(text: &str) -> BTreeSet<u32> {
    text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-'))
        .filter_map(|word| {
            let number = match word.split_once('-') {
                Some(("agent" | "operator" | "watchdog" | "sync" | "worker", rest)) => {
                    rest.split('-').next()?
                }
                _ => word.strip_prefix('m')?,
            };
            number.parse().ok()
        })
        .collect()
}

/// Whether a line of the trace is of one of the machines. It begins with the time and the machine.
fn names_one_of(line: &str, machines: &BTreeSet<u32>) -> bool {
    let of = line.split_whitespace().nth(1).and_then(|word| word.strip_prefix('m'));
    of.and_then(|number| number.parse().ok()).is_some_and(|number| machines.contains(&number))
}

fn show_tail(outcome: &Outcome, lines: usize) {
    let skip = outcome.tail.len().saturating_sub(lines);
    for line in outcome.tail.iter().skip(skip) {
        println!("{line}");
    }
}

#[derive(Default)]
struct Totals {
    runs: u64,
    steps: u64,
    calls: u64,
    claims: u64,
    finished: u64,
    acknowledged: u64,
    virtual_time: Micros,
    probes: Probes,
}

impl Totals {
    fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.steps += outcome.steps;
        self.calls += outcome.calls;
        self.claims += outcome.claims;
        self.finished += outcome.finished as u64;
        self.acknowledged += outcome.acknowledged;
        self.virtual_time += outcome.virtual_time;
        self.probes.join(&outcome.probes);
    }

    fn show(&self, took: Duration) {
        let hours = self.virtual_time as f64 / 3.6e9;
        println!(
            "{} seeds: {} commands, {} calls, {} claims, {} tasks done, {} acts acknowledged",
            self.runs, self.steps, self.calls, self.claims, self.finished, self.acknowledged
        );
        println!("{hours:.1} virtual hours in {:.1} s", took.as_secs_f64());
    }
}

/// The guard of a name, as the table of planted bugs shows it.
///
/// # Errors
/// The names there are.
pub fn guard(text: &str) -> Result<Guard, String> {
    Guard::all().find(|guard| guard.name() == text).ok_or_else(|| {
        let all: Vec<String> = Guard::all().map(Guard::name).collect();
        format!("one of {}", all.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It ended without a word about whether anything was wrong.
    #[test]
    fn the_last_line_says_whether_it_held() {
        let ends = |broken, differ, unreached| Ends { runs: 30, broken, differ, unreached };
        for (ends, twice, code, says) in [
            (ends(0, 0, 0), false, 0, "held: no promise was broken"),
            (ends(0, 0, 0), true, 0, "held: no promise was broken, and both runs of each seed were the same"),
            (ends(2, 0, 1), false, 1, "broken: 2 of 30 runs broke a promise"),
            (ends(0, 1, 0), true, 1, "broken: 0 of 30 runs broke a promise, 1 differed when run twice"),
            (
                ends(0, 0, 3),
                false,
                3,
                "invalid: no promise was broken, but of what has to happen 3 never did: run more seeds",
            ),
        ] {
            assert_eq!((ends.verdict().code(), ends.text(twice).as_str()), (code, says));
        }
    }

    /// An empty folder and a plan that cannot be run were matters of usage, a failure, or a panic.
    #[test]
    fn what_is_no_plan_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(replay(dir.path()), ExitCode::from(3));
        assert_eq!(replay(&dir.path().join("nowhere")), ExitCode::from(3));
    }

    #[test]
    fn the_machines_of_a_broken_promise_are_found() {
        let found =
            machines("T-0-2: snooze by operator-0 was told as published and is not, on m3 (agent-1-2, T-m4)");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [0, 1, 3]);
        assert!(machines("T-1-10001 was lost").is_empty());
        let of = |line| names_one_of(line, &BTreeSet::from([1]));
        assert!(of("    4128.935 m1 sync-0 sync: timeout: no answer"));
        assert!(!of("    4138.182 m11 agent-1-0 pick: ok") && !of("    4138.182 the remote is away"));
    }
}
