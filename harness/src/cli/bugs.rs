//! `orch-harness bugs`: takes one guard away after the other and counts the seeds until the simulation notices.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use clap::Args;

use super::sim::{guard, on_all_cores};
use crate::corpus::Entry;
use crate::drive;
use crate::shrink::shrink;
use crate::sim::faults::Broken;
use crate::sim::oracle::Violation;
use crate::sim::plan::{Plan, Profile};

/// Plant bugs, and see whether the simulation finds each of them
///
/// Without --only those that it is known to find, each within a number of seeds of its own. Guards behind which another
/// one stands can be named as well.
#[derive(Args)]
#[command(after_help = "\
Examples:
  orch-harness bugs
  orch-harness bugs --only push-without-compare
  orch-harness bugs --keep harness/corpus           shrink each plan and keep it")]
pub struct Bugs {
    /// Only this one; repeated for several
    #[arg(long, value_name = "NAME", value_parser = guard)]
    only: Vec<Broken>,
    /// Seeds that each may take, instead of its own number
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// Machines of this profile, instead of those that suit the guard
    #[arg(long, value_name = "NAME", value_parser = Profile::parse)]
    profile: Option<Profile>,
    /// Shrink what is found, and keep it here
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Shrink each for so many seconds
    #[arg(long, value_name = "N", default_value_t = 20)]
    shrink: u64,
}

impl Bugs {
    /// Runs it.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let started = SystemTime::now();
        println!("{:<28} {:>6} {:>6} {:>8}  found by", "guard taken away", "seeds", "of", "seconds");
        let chosen = if self.only.is_empty() { Broken::NOTICED.to_vec() } else { self.only.clone() };
        let (next, missed) = (AtomicU64::new(0), AtomicU64::new(0));
        let out = Mutex::new(());
        on_all_cores(chosen.len() as u64, || {
            while let Some(broken) = chosen.get(next.fetch_add(1, Ordering::SeqCst) as usize) {
                let begun = Instant::now();
                let most = self.seeds.unwrap_or(broken.within());
                let found = (0..most).find_map(|seed| self.one(seed, *broken));
                let took = begun.elapsed().as_secs_f64();
                let _turn = out.lock();
                let name = broken.name();
                match &found {
                    Some((seeds, violation)) => {
                        let what: String =
                            violation.what.lines().next().unwrap_or_default().chars().take(100).collect();
                        let promise = violation.promise;
                        println!("{name:<28} {seeds:>6} {most:>6} {took:>8.1}  promise {promise}: {what}");
                    }
                    None => {
                        missed.fetch_add(1, Ordering::SeqCst);
                        println!("{name:<28} {most:>6} {most:>6} {took:>8.1}  NOT FOUND");
                    }
                }
            }
        });
        let (planted, missed) = (chosen.len(), missed.into_inner());
        println!("{planted} planted, {missed} missed");
        if self.only.is_empty() {
            let numbers = [("planted", planted as f64), ("missed", missed as f64)];
            let numbers = numbers.map(|(name, count)| (name.to_owned(), count));
            super::keep_record("bugs", started, missed == 0, numbers.into());
        }
        if missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    /// Whether one seed notices, and how many that makes.
    fn one(&self, seed: u64, broken: Broken) -> Option<(u64, Violation)> {
        let plan = Plan::draw(seed, self.profile.unwrap_or(broken.profile()), Some(broken));
        let first = |plan: &Plan| drive::run(plan).violations.into_iter().next();
        let violation = first(&plan)?;
        // What breaks with the guard in place shows nothing about its absence.
        first(&Plan { broken: None, ..plan.clone() }).is_none().then_some(())?;
        if let Some(dir) = &self.keep {
            let small = shrink(&plan, Duration::from_secs(self.shrink), first);
            if let Some(Err(error)) = first(&small).map(|found| Entry::new(&small, &found).keep(dir)) {
                eprintln!("cannot keep the plan: {error}");
            }
        }
        Some((seed + 1, violation))
    }
}
