//! `orch-harness crash`: commands that are killed, or fail, at each of their calls.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use clap::Args;

use crate::crash::cases::{CASES, Case};
use crate::crash::{Explored, Found, explore, noticed};
use crate::sim::faults::Broken;

use super::{held_or_broken, keep_record};

/// Kill commands at each of their calls, let each call fail, and see what is left
///
/// One line for each command: its calls, those at which a death differs from the one before, and the tries. With
/// --depth 2 the command that comes after a death is killed at each of its calls, too.
#[derive(Args)]
#[command(after_help = "\
Examples:
  orch-harness crash                        every command, one blow
  orch-harness crash --depth 2              every command, and the one after it; minutes
  orch-harness crash --case claim --depth 2
  orch-harness crash --planted              guards that are taken away; each must be noticed

Exit codes: 0 everything held, 1 something did not (with --planted: a missing guard was not
noticed), 2 usage, 3 a command does not work without any blow (with --planted: so nothing was shown
of a guard), or a blow did not fall")]
pub struct Crash {
    /// Only this command.
    #[arg(long, value_name = "NAME", value_parser = CASES.iter().map(|case| case.name).collect::<Vec<_>>())]
    case: Option<String>,

    /// Blows in a row: 1 or 2.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    depth: u8,

    /// Take guards away, to see that it is noticed.
    #[arg(long, conflicts_with = "depth")]
    planted: bool,
}

/// Guards whose absence this layer must notice, whatever the other layers do.
pub const PLANTED: [Broken; 5] = [
    Broken::NoDirectorySync,
    Broken::NoFileSync,
    Broken::WriteInPlace,
    Broken::LostAnswerIsSuccess,
    Broken::FetchBringsNothing,
];

impl Crash {
    /// Tries, and prints what came of it.
    #[must_use]
    pub fn run(&self) -> ExitCode {
        if self.planted {
            return self.planted();
        }
        let (started, clock) = (SystemTime::now(), Instant::now());
        let (mut tries, mut commands, mut broken, mut invalid) = (0, 0_u32, 0, 0);
        for case in CASES.iter().filter(|case| self.wants(case.name)) {
            commands += 1;
            match explore(case, self.depth, None) {
                Ok(explored) => {
                    println!("{:<14} {}", case.name, told(&explored));
                    for found in &explored.found {
                        println!("    {}: {}", found.point, found.what);
                    }
                    tries += explored.tries;
                    broken += explored.found.len();
                    invalid += usize::from(explored.struck < explored.tries);
                }
                Err(why) => {
                    eprintln!("error: {why}");
                    invalid += 1;
                }
            }
        }
        println!("{commands} commands, {tries} tries in {:.1} s", clock.elapsed().as_secs_f64());
        if self.case.is_none() {
            #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
            let numbers = [
                ("commands", f64::from(commands)),
                ("tries", tries as f64),
                ("depth", f64::from(self.depth)),
                ("failures", broken as f64),
            ];
            let numbers: BTreeMap<String, f64> = numbers.map(|(name, n)| (name.to_owned(), n)).into();
            keep_record("crash", started, held_or_broken(broken + invalid == 0), numbers);
        }
        ExitCode::from(if broken > 0 { 1 } else { 3 * u8::from(invalid > 0) })
    }

    fn wants(&self, name: &str) -> bool {
        self.case.as_deref().is_none_or(|wanted| wanted == name)
    }

    /// The commands that were asked for and can notice that a guard is gone.
    fn able(&self, guard: Broken) -> Vec<&'static Case> {
        let able = |case: &&Case| self.wants(case.name) && (case.shared || !at_the_remote(guard));
        CASES.iter().filter(able).collect()
    }

    fn planted(&self) -> ExitCode {
        let (started, mut missed, mut broken) = (SystemTime::now(), 0_u32, 0_u32);
        for guard in PLANTED {
            let able = self.able(guard);
            if able.is_empty() {
                let case = self.case.as_deref().unwrap_or("no command");
                println!(
                    "{:<24} not tried: it stands at the remote, and {case} has none",
                    format!("{guard:?}")
                );
                continue;
            }
            let noticed = noticed(able, guard);
            missed += u32::from(noticed == Ok(None));
            broken += u32::from(noticed.is_err());
            println!("{:<24} {}", format!("{guard:?}"), line(&noticed));
        }
        if self.case.is_none() {
            // A guard of which nothing was shown counts as if it had not been tried, and as missed.
            let tried = PLANTED.len() as f64 - f64::from(broken);
            let numbers = [("planted", tried), ("missed", f64::from(missed + broken))];
            let numbers = numbers.map(|(name, count)| (name.to_owned(), count));
            keep_record("crash-planted", started, held_or_broken(missed + broken == 0), numbers.into());
        }
        ExitCode::from(if missed > 0 { 1 } else { 3 * u8::from(broken > 0) })
    }
}

/// Whether a guard stands on the way to the remote, so that a command without one does not notice that it is gone.
fn at_the_remote(guard: Broken) -> bool {
    matches!(guard, Broken::LostAnswerIsSuccess | Broken::FetchBringsNothing)
}

/// What came of a guard that was taken away, in one line.
fn line(noticed: &Result<Option<Found>, String>) -> String {
    let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    match noticed {
        Ok(Some(found)) => format!("{}, {}: {}", found.case, found.point, first(&found.what)),
        Ok(None) => "MISSED".to_owned(),
        Err(why) => format!("BROKEN CASE, nothing was shown: {}", first(why)),
    }
}

fn told(explored: &Explored) -> String {
    let Explored { calls, deaths, tries, struck, found } = explored;
    let verdict = match found.len() {
        0 if struck == tries => "held".to_owned(),
        0 => format!("{} blows did not fall", tries - struck),
        many => format!("{many} DID NOT HOLD"),
    };
    format!("{calls:>5} calls {deaths:>4} deaths {tries:>7} tries  {verdict}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `--case add-local --planted` said MISSED of guards that it has no remote to notice at.
    #[test]
    fn a_command_without_a_remote_is_not_asked_for_guards_of_the_remote() {
        let crash = |case: Option<&str>| Crash { case: case.map(str::to_owned), depth: 1, planted: true };
        let asked = |case| PLANTED.map(|guard| !crash(case).able(guard).is_empty());
        assert_eq!(asked(Some("add-local")), [true, true, true, false, false]);
        assert_eq!(asked(Some("add")), [true; 5]);
        assert_eq!(asked(None), [true; 5]);
    }

    #[test]
    fn a_broken_case_reads_otherwise_than_a_guard_that_was_noticed_or_missed() {
        assert_eq!(line(&Ok(None)), "MISSED");
        let broken = line(&Err("claim does not work\nlong story".to_owned()));
        assert_eq!(broken, "BROKEN CASE, nothing was shown: claim does not work");
    }
}
