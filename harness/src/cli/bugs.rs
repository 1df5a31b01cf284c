//! `orch-harness bugs`: takes one guard away after the other and counts the seeds until the simulation notices.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use clap::Args;

use super::held_or_broken;
use super::sim::{guard, on_all_cores};
use crate::corpus::Entry;
use crate::drive;
use crate::record;
use crate::report::planted::{Row, Table};
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
  orch-harness bugs --keep harness/corpus           shrink each plan and keep it

Exit codes: 0 each was noticed, 1 one was not, 2 usage")]
pub struct Bugs {
    /// Only this one; repeated for several
    #[arg(long, value_name = "NAME", value_parser = guard)]
    only: Vec<Broken>,
    /// Seeds that each may take, instead of its own number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
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
        let rows = self.table(&chosen);
        let (planted, missed) = (rows.len(), rows.iter().filter(|row| row.seeds.is_none()).count());
        println!("{planted} planted, {missed} missed");
        // With other limits or machines it says nothing about the table.
        if self.only.is_empty() && self.seeds.is_none() && self.profile.is_none() {
            let numbers = [("planted", planted as f64), ("missed", missed as f64)];
            let numbers = numbers.map(|(name, count)| (name.to_owned(), count));
            super::keep_record("bugs", started, held_or_broken(missed == 0), numbers.into());
            keep_table(rows, &record::folder());
        }
        if missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    /// Takes the guards away on all cores, and prints each row as soon as it is known. The rows in the order of the
    /// guards.
    fn table(&self, chosen: &[Broken]) -> Vec<Row> {
        let next = AtomicU64::new(0);
        let rows = Mutex::new(BTreeMap::new());
        on_all_cores(chosen.len() as u64, || {
            loop {
                let at = next.fetch_add(1, Ordering::SeqCst) as usize;
                let Some(broken) = chosen.get(at) else { return };
                let row = self.row(*broken);
                let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
                println!("{}", line(&row));
                rows.insert(at, row);
            }
        });
        rows.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
    }

    /// Takes one guard away.
    fn row(&self, broken: Broken) -> Row {
        let begun = Instant::now();
        let limit = self.seeds.unwrap_or(broken.within());
        let found = (0..limit).find_map(|seed| self.one(seed, broken));
        let broke = found.as_ref().map(|(_, violation)| {
            let what: String = violation.what.lines().next().unwrap_or_default().chars().take(100).collect();
            format!("promise {}: {what}", violation.promise)
        });
        let seeds = found.map(|(seeds, _)| seeds);
        Row { guard: broken.name(), broke, limit, seeds, seconds: begun.elapsed().as_secs_f64() }
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

/// A row as people read it.
fn line(row: &Row) -> String {
    let Row { guard, broke, limit, seeds, seconds } = row;
    let (took, broke) = (seeds.unwrap_or(*limit), broke.as_deref().unwrap_or("NOT FOUND"));
    format!("{guard:<28} {took:>6} {limit:>6} {seconds:>8.1}  {broke}")
}

/// Writes the table beside the record, for the report of a soak.
fn keep_table(rows: Vec<Row>, records: &Path) {
    let commit = record::commit(Path::new(".")).unwrap_or_else(|_| "unknown".to_owned());
    match (Table { commit, rows }).write(records) {
        Ok(path) => println!("table   {}", path.display()),
        Err(why) => eprintln!("no table: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bugs(seeds: Option<u64>) -> Bugs {
        Bugs { only: Vec::new(), seeds, profile: None, keep: None, shrink: 1 }
    }

    #[test]
    fn the_table_keeps_what_each_guard_took_and_where_nothing_was_found() {
        let chosen = [Broken::RefusalIgnored, Broken::DiceRepeat];
        let found = bugs(None).table(&chosen[..1]).remove(0);
        assert_eq!((found.guard.as_str(), found.limit), ("refusal-ignored", 5));
        assert!(found.seeds.is_some_and(|seeds| (1..=5).contains(&seeds)), "{found:?}");
        assert!(found.broke.as_deref().is_some_and(|broke| broke.starts_with("promise ")), "{found:?}");
        // Without a single seed nothing is found, whatever the guard.
        let rows = bugs(Some(0)).table(&chosen);
        let guards: Vec<&str> = rows.iter().map(|row| row.guard.as_str()).collect();
        assert_eq!(guards, ["refusal-ignored", "dice-repeat"]);
        assert!(rows.iter().all(|row| row.seeds.is_none() && line(row).ends_with("  NOT FOUND")));
        let dir = tempfile::tempdir().unwrap();
        keep_table(rows.clone(), dir.path());
        assert_eq!(Table::read(dir.path()).unwrap().unwrap().rows, rows);
    }
}
