//! `orch-harness bugs`: takes one guard away after the other and counts the seeds until the simulation notices.

use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use clap::Args;

use super::sim::guard;
use crate::drive;
use crate::sim::faults::Broken;
use crate::sim::plan::{Plan, Profile};

/// Plant bugs, and see whether the simulation finds each of them
///
/// Without --only those that it is known to find. Guards whose absence it has not noticed yet can be named as well.
#[derive(Args)]
#[command(after_help = "\
Examples:
  orch-harness bugs
  orch-harness bugs --only push-without-compare")]
pub struct Bugs {
    /// Only this one; repeated for several
    #[arg(long, value_name = "NAME", value_parser = guard)]
    only: Vec<Broken>,
    /// Seeds that each may take
    #[arg(long, value_name = "N", default_value_t = 20)]
    seeds: u64,
}

impl Bugs {
    /// Runs it.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let started = SystemTime::now();
        let (mut planted, mut missed) = (0_u32, 0_u32);
        println!("{:<28} {:>6} {:>8}  found by", "guard taken away", "seeds", "seconds");
        let chosen = if self.only.is_empty() { Broken::NOTICED.to_vec() } else { self.only.clone() };
        for broken in chosen {
            planted += 1;
            let begun = Instant::now();
            let name = format!("{broken:?}");
            let found = (0..self.seeds).find_map(|seed| {
                let plan = Plan::draw(seed, Profile::Short, Some(broken));
                Some((seed + 1, drive::run(&plan).violations.into_iter().next()?))
            });
            let took = begun.elapsed().as_secs_f64();
            match found {
                Some((seeds, violation)) => {
                    let what: String = violation.what.chars().take(100).collect();
                    println!("{name:<28} {seeds:>6} {took:>8.1}  promise {}: {what}", violation.promise);
                }
                None => {
                    missed += 1;
                    println!("{name:<28} {:>6} {took:>8.1}  NOT FOUND", self.seeds);
                }
            }
        }
        println!("{planted} planted, {missed} missed");
        if self.only.is_empty() {
            let numbers = [("planted", planted), ("missed", missed)];
            let numbers = numbers.map(|(name, count)| (name.to_owned(), f64::from(count)));
            super::keep_record("bugs", started, missed == 0, numbers.into());
        }
        if missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}
