//! `orch-harness loom`: every interleaving of a few real processes within a bound, and the mutants that it must kill.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;

use crate::interleave::baseline::{self, Baseline, Run};
use crate::interleave::scenes::{MUTANTS, Mutant, SCENES, Scene, named};
use crate::interleave::{Bound, Outcome, hunt, run, tried_harms};

const EXAMPLES: &str = "\
Examples:
  orch-harness loom                                      pull requests' bounds, and the mutants
  orch-harness loom --full                               the bounds of the night
  orch-harness loom --scenario claim-claim --bound all   one scenario, without a bound
  orch-harness loom --mutants                            only guards taken away: all noticed?
  orch-harness loom --harm --scenario claim-claim        kill the first process at every call, and
                                                         lose every answer
  orch-harness loom --full --record harness/src/interleave/baseline.json
                                                         note new numbers of executions

For the gate, a whole run leaves a record: `loom-full` with --full, else `loom`.

Exit codes: 0 everything held, 1 a promise is broken, or a mutant was not noticed, 2 usage, 3 a run
says nothing: it explored fewer executions than it used to, an answer that it is about was never
given, or no mutant is planted in the scenario.";

/// Let loom try every order in which a few processes can run
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Loom {
    /// Only this scenario; repeated for several
    #[arg(long, value_name = "NAME", value_parser = scenario)]
    scenario: Vec<&'static Scene>,
    /// How often processes may be interrupted where they could go on. `all` is without a bound, and
    /// so is `exchanges`, where a process is interrupted only where it takes or leaves a lock, or asks
    /// the remote
    #[arg(long, value_name = "N|exchanges|all", conflicts_with = "full")]
    bound: Option<Bound>,
    /// The bounds of the night
    #[arg(long)]
    full: bool,
    /// Only the mutants (with --scenario, those that it is to notice)
    #[arg(long, conflicts_with_all = ["full", "bound", "harm", "record"])]
    mutants: bool,
    /// Also kill the first process at every call, and lose every answer of the remote
    #[arg(long)]
    harm: bool,
    /// Note scenario, bound, executions and seconds in this file, as later runs are compared with
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// List scenarios and mutants, and run none
    #[arg(long)]
    list: bool,
}

fn scenario(text: &str) -> Result<&'static Scene, String> {
    named(text).ok_or_else(|| {
        let all: Vec<&str> = SCENES.iter().map(|scene| scene.name).collect();
        format!("one of {}", all.join(", "))
    })
}

/// What is counted over all scenarios.
#[derive(Default)]
struct Sum {
    broken: u32,
    invalid: u32,
    exhausted: u32,
    /// Explorations of every order of locks and questions to the remote.
    exchanges: u32,
    iterations: u64,
    explored: u32,
    planted: u32,
    killed: u32,
    /// Executions of the mutants.
    hunted: u64,
}

impl Sum {
    /// What was done, in one line: nothing of what was not.
    fn text(&self) -> String {
        let mut text = format!("{} executions", self.iterations + self.hunted);
        if self.explored > 0 {
            text += &format!(", {} of {} explorations without a bound", self.exhausted, self.explored);
            if self.exchanges > 0 {
                text += &format!(" and {} of all exchanges", self.exchanges);
            }
        }
        if self.planted > 0 {
            text += &format!(", {} of {} mutants noticed", self.killed, self.planted);
        }
        text
    }
}

impl Loom {
    /// Runs it.
    #[must_use]
    pub fn run(self) -> ExitCode {
        if self.list {
            return list();
        }
        let mutants = self.planted();
        if self.mutants && mutants.is_empty() {
            eprintln!("error: {}", nothing_planted(&self.scenario));
            return ExitCode::from(3);
        }
        let started = SystemTime::now();
        let mut sum = Sum::default();
        let mut notes = Baseline::new();
        if !self.mutants {
            let chosen: Vec<&Scene> =
                if self.scenario.is_empty() { SCENES.iter().collect() } else { self.scenario.clone() };
            println!("{:<30} {:>7} {:>10} {:>8}  verdict", "scenario", "bound", "executions", "seconds");
            for scene in &chosen {
                for bound in self.bounds(scene) {
                    self.explore(scene, bound, &mut sum, &mut notes);
                }
            }
            if self.harm {
                for scene in &chosen {
                    harm(scene, &mut sum);
                }
            }
        }
        if !mutants.is_empty() {
            println!(
                "{:<30} {:>7} {:>10} {:>8}  noticed by",
                "guard taken away", "bound", "executions", "seconds"
            );
        }
        for mutant in mutants {
            kill(mutant, &mut sum);
        }
        if let Some(file) = &self.record
            && let Err(why) = baseline::write(file, &notes)
        {
            eprintln!("error: {}: {why}", file.display());
            sum.invalid += 1;
        }
        println!("{}", sum.text());
        if self.is_whole() && !self.mutants {
            let numbers = [
                ("scenarios", SCENES.len() as f64),
                ("exhausted", f64::from(sum.exhausted)),
                ("exchanges", f64::from(sum.exchanges)),
                ("iterations", sum.iterations as f64),
                ("mutants_killed", f64::from(sum.killed)),
                ("mutants_missed", MUTANTS.len() as f64 - f64::from(sum.killed)),
            ];
            let numbers: BTreeMap<String, f64> =
                numbers.map(|(name, number)| (name.to_owned(), number)).into();
            let held = super::held_or_broken(sum.broken + sum.invalid == 0);
            super::keep_record(layer(self.full), started, held, numbers);
        }
        ExitCode::from(match (sum.broken, sum.invalid) {
            (0, 0) => 0,
            (0, _) => 3,
            _ => 1,
        })
    }

    /// Everything, within the bounds that were agreed on.
    fn is_whole(&self) -> bool {
        self.scenario.is_empty() && self.bound.is_none()
    }

    /// The mutants that are to be planted.
    fn planted(&self) -> Vec<&'static Mutant> {
        let chosen = |mutant: &&Mutant| {
            self.scenario.is_empty() || self.scenario.iter().any(|scene| scene.name == mutant.scene)
        };
        if self.mutants || self.is_whole() { MUTANTS.iter().filter(chosen).collect() } else { Vec::new() }
    }

    fn bounds(&self, scene: &'static Scene) -> Vec<Bound> {
        match self.bound {
            Some(bound) => vec![bound],
            None if self.full => scene.full.to_vec(),
            None => vec![scene.ci],
        }
    }

    fn explore(&self, scene: &'static Scene, bound: Bound, sum: &mut Sum, notes: &mut Baseline) {
        let outcome = run(scene, bound, None, crate::interleave::seat::Harm::default(), progress);
        sum.iterations += outcome.iterations;
        sum.explored += 1;
        let explored = Run::of(&outcome);
        let verdict = if outcome.broken.is_some() {
            sum.broken += 1;
            "BROKEN".to_owned()
        } else if !outcome.unseen.is_empty() && bound != Bound::Within(0) {
            sum.invalid += 1;
            format!("INVALID: never seen: {}", outcome.unseen.join(", "))
        } else if let Some(why) = baseline::shrunk(scene.name, bound, &explored) {
            sum.invalid += u32::from(self.record.is_none());
            format!("INVALID: {why}")
        } else {
            sum.exhausted += u32::from(bound == Bound::All);
            sum.exchanges += u32::from(bound == Bound::Exchanges);
            let (orders, cut) = (outcome.orders.len(), outcome.cut);
            format!("held, {} endings of {orders} orders, {cut} cut off", outcome.endings.len())
        };
        line(scene.name, bound, &outcome, &verdict);
        show(&outcome);
        notes.entry(scene.name.to_owned()).or_default().insert(bound.to_string(), explored);
    }
}

/// Why there is nothing to do for `--mutants`.
fn nothing_planted(chosen: &[&Scene]) -> String {
    let chosen: Vec<&str> = chosen.iter().map(|scene| scene.name).collect();
    let there: BTreeSet<&str> = MUTANTS.iter().map(|mutant| mutant.scene).collect();
    let there: Vec<&str> = there.into_iter().collect();
    format!("no mutant is planted in {}; there are some in {}", chosen.join(", "), there.join(", "))
}

/// The layer that a whole run shows. The small bounds must not pass for those of the night.
fn layer(full: bool) -> &'static str {
    if full { "loom-full" } else { "loom" }
}

/// Kills the first process at each of its calls in turn, and loses each answer.
fn harm(scene: &'static Scene, sum: &mut Sum) {
    let (mut whole, mut tried) = (Outcome::default(), 0);
    for harm in tried_harms(scene) {
        let outcome = run(scene, scene.harmed, None, harm, progress);
        tried += 1;
        whole.iterations += outcome.iterations;
        whole.took += outcome.took;
        if outcome.broken.is_some() {
            println!("{} with {harm:?}", scene.name);
            show(&outcome);
            sum.broken += 1;
            whole.broken = outcome.broken;
            break;
        }
    }
    sum.iterations += whole.iterations;
    if tried > 0 {
        let verdict = if whole.broken.is_some() { "BROKEN" } else { "held" };
        let verdict = format!("{verdict}, the first process harmed in {tried} ways");
        line(scene.name, scene.harmed, &whole, &verdict);
    }
}

fn kill(mutant: &'static Mutant, sum: &mut Sum) {
    let (bound, outcome) = hunt(mutant, progress);
    sum.planted += 1;
    sum.hunted += outcome.iterations;
    let name = format!("{:?}", mutant.broken);
    let verdict = match &outcome.broken {
        Some((violations, _)) => {
            sum.killed += 1;
            let what = violations.first().map(|found| format!("promise {}: {}", found.promise, found.what));
            let short: String = what.unwrap_or_default().chars().take(90).collect();
            format!("{}, {short}", mutant.scene)
        }
        None => {
            sum.broken += 1;
            format!("NOT NOTICED in {}", mutant.scene)
        }
    };
    line(&name, bound, &outcome, &verdict);
}

fn line(name: &str, bound: Bound, outcome: &Outcome, verdict: &str) {
    let took = outcome.took.as_secs_f64();
    println!("{name:<30} {bound:>7} {:>10} {took:>8.1}  {verdict}", outcome.iterations);
}

fn show(outcome: &Outcome) {
    let Some((violations, trail)) = &outcome.broken else { return };
    for found in violations {
        println!("  promise {}: {}", found.promise, found.what);
    }
    for (at, step) in trail.iter().enumerate() {
        println!("{:>8}.  {step}", at + 1);
    }
}

/// How many executions there will be nobody knows before the end, so what is told is how many there were.
fn progress(iterations: u64) {
    let every = if std::io::stderr().is_terminal() { 500 } else { 20_000 };
    if iterations.is_multiple_of(every) {
        eprintln!("exploring  {iterations} executions");
    }
}

fn list() -> ExitCode {
    for scene in SCENES {
        let cast: Vec<String> =
            scene.cast.iter().map(|part| format!("{:?}", part.act).to_lowercase()).collect();
        let place = match (scene.machines, scene.shared) {
            (_, false) => "one clone, no remote".to_owned(),
            (1, true) => "one clone".to_owned(),
            (count, true) => format!("{count} clones"),
        };
        let ci = scene.ci;
        let full = scene.full.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        println!("{:<30} {}, {place}, bound {ci}, full {full}", scene.name, cast.join(" beside "));
    }
    for mutant in MUTANTS {
        println!("{:<30} must be noticed in {}", format!("{:?}", mutant.broken), mutant.scene);
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::{BUILT_IN, Slo};

    fn loom(scenario: &str, mutants: bool) -> Loom {
        let scenario = vec![named(scenario).unwrap()];
        Loom { scenario, bound: None, full: false, mutants, harm: false, record: None, list: false }
    }

    /// It held, with "0 executions … 0 of 7 mutants noticed".
    #[test]
    fn a_scenario_without_mutants_shows_nothing_of_any() {
        let idle = loom("publish-publish", true);
        assert!(idle.planted().is_empty());
        assert_eq!(loom("publish-publish", true).run(), ExitCode::from(3));
        let why = nothing_planted(&idle.scenario);
        assert!(
            why.starts_with("no mutant is planted in publish-publish; there are some in claim-"),
            "{why}"
        );
        assert_eq!(loom("claim-claim", true).planted().len(), 1);
        assert!(loom("claim-claim", false).planted().is_empty());
    }

    #[test]
    fn the_last_line_tells_only_what_was_done() {
        let mut sum = Sum { iterations: 20, explored: 1, exhausted: 1, ..Sum::default() };
        assert_eq!(sum.text(), "20 executions, 1 of 1 explorations without a bound");
        sum.exchanges = 2;
        assert_eq!(sum.text(), "20 executions, 1 of 1 explorations without a bound and 2 of all exchanges");
        (sum.planted, sum.killed, sum.exchanges) = (7, 6, 0);
        assert_eq!(sum.text(), "20 executions, 1 of 1 explorations without a bound, 6 of 7 mutants noticed");
        let sum = Sum { hunted: 3, planted: 1, killed: 1, ..Sum::default() };
        assert_eq!(sum.text(), "3 executions, 1 of 1 mutants noticed");
    }

    /// A minute of small bounds wrote the same record as the hours of the night, and a release was content with it.
    #[test]
    fn a_release_is_not_content_with_the_small_bounds() {
        let slo: Slo = crate::yaml::parse(BUILT_IN, "slo.yaml").unwrap();
        let demanded = |full| slo.release.iter().any(|demanded| demanded.layer == layer(full));
        assert!(demanded(true) && !demanded(false));
    }
}
