//! `orch-harness sim`: runs plans, one after the other, until one breaks a promise or the budget is used up.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use crate::drive::{self, Outcome};
use crate::sim::faults::Broken;
use crate::sim::kernel::Micros;
use crate::sim::plan::{Plan, Profile};
use crate::sim::probes::Probes;

/// Simulate whole machines with virtual time and every fault that a seed draws
#[derive(Args)]
#[command(after_help = "\
Examples:
  orch-harness sim                                  hunt new seeds for a minute
  orch-harness sim --seeds 1000 --profile short     the seeds 0 to 999
  orch-harness sim --seed 4711                      one seed, with the end of its trace
  orch-harness sim --seed 1 --profile long          three virtual days, eight machines, 32 agents")]
pub struct Sim {
    /// Run this seed only
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Run so many seeds, beginning with --from
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// First of --seeds
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    /// Hunt new seeds for so many seconds (when no seed is named)
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// short, long or calm
    #[arg(long, value_name = "NAME", default_value = "short", value_parser = Profile::parse)]
    profile: Profile,
    /// Run each seed twice and compare
    #[arg(long)]
    twice: bool,
    /// Fail where a probe was never hit
    #[arg(long)]
    all_probes: bool,
    /// Show the last lines of the trace of a single seed
    #[arg(long, value_name = "N", default_value_t = 30)]
    tail: usize,
}

impl Sim {
    /// Runs it.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let begun = Instant::now();
        let budget = Duration::from_secs(self.seconds);
        let (first, count) = match (self.seed, self.seeds) {
            (Some(seed), _) => (seed, Some(1)),
            (None, Some(count)) => (self.from, Some(count)),
            (None, None) => (fresh(), None),
        };
        let mut total = Totals::default();
        for number in 0.. {
            if count.map_or_else(|| begun.elapsed() >= budget, |count| number >= count) {
                break;
            }
            let plan = Plan::draw(first + number, self.profile, None);
            let outcome = drive::run(&plan);
            if self.twice && drive::run(&plan).hash != outcome.hash {
                println!("seed {}: two runs of the same plan differ", plan.seed);
                return ExitCode::FAILURE;
            }
            total.add(&outcome);
            if self.seed.is_some() {
                show_tail(&outcome, self.tail);
            }
            if !outcome.violations.is_empty() {
                report(&plan, &outcome);
                return ExitCode::FAILURE;
            }
            if (number + 1) % 100 == 0 {
                eprintln!("{} seeds, {:.0} s", number + 1, begun.elapsed().as_secs_f64());
            }
        }
        total.show(begun.elapsed());
        let missing = total.probes.missing();
        if self.all_probes && !missing.is_empty() {
            println!("never reached: {}", missing.join(", "));
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }
}

/// A seed that nobody has tried yet.
fn fresh() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    now.as_millis() as u64 * 1_000
}

/// What happened, and how to see it again.
pub fn report(plan: &Plan, outcome: &Outcome) {
    println!("seed {}: {} promises broken", plan.seed, outcome.violations.len());
    for violation in &outcome.violations {
        let at = violation.at as f64 / 1e6;
        println!("  promise {} at {at:.3} s: {}", violation.promise, violation.what);
    }
    let profile = format!("{:?}", plan.profile).to_lowercase();
    println!("again: cargo run --release -p orch-harness -- sim --seed {} --profile {profile}", plan.seed);
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
            "{} seeds held: {} commands, {} calls, {} claims, {} tasks done, {} acts acknowledged",
            self.runs, self.steps, self.calls, self.claims, self.finished, self.acknowledged
        );
        println!("{hours:.1} virtual hours in {:.1} s", took.as_secs_f64());
    }
}

/// The guard of a name, as the table of planted bugs shows it.
///
/// # Errors
/// The names there are.
pub fn guard(text: &str) -> Result<Broken, String> {
    let name = |guard: &Broken| {
        serde_json::to_value(guard)
            .ok()
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default()
    };
    Broken::ALL.into_iter().find(|guard| name(guard) == text).ok_or_else(|| {
        let all: Vec<String> = Broken::ALL.iter().map(name).collect();
        format!("one of {}", all.join(", "))
    })
}
