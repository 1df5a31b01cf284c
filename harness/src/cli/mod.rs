//! `orch-harness`: one file per command.

pub mod bugs;
mod crash;
mod gate;
mod loom;
mod model;
mod mutants;
pub(crate) mod probe;
mod record;
mod report;
mod signals;
pub mod sim;
mod soak;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Parser, Subcommand};

use crate::record::{Record, Verdict, folder as record_folder};

/// Prove the promises of orch, and find out whether a remote keeps its own.
#[derive(Parser)]
#[command(name = "orch-harness", version, max_term_width = 100)]
#[command(after_help = "\
Examples:
  orch-harness probe --remote git@github.com:me/queue.git    is this remote fit for agents?
  orch-harness sim --seeds 100                               simulated machines under faults
  orch-harness soak                                          real processes, two minutes
  orch-harness gate --report target/soak/smoke               what came of it, and the objectives
  orch-harness help sim                                      more about one command

Exit codes: 0 everything held, 1 a promise is broken or something did not hold, 2 usage, 3 the run
says nothing: something that it needs is missing or invalid, or too little was done")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Sim(sim::Sim),
    Bugs(bugs::Bugs),
    Mutants(mutants::Mutants),
    Probe(probe::ProbeArgs),
    Model(model::Options),
    Crash(crash::Crash),
    Loom(loom::Loom),
    Gate(gate::Gate),
    Record(record::MakeRecord),
    Report(report::MakeReport),
    Soak(soak::Soak),
}

/// Runs the command line.
///
/// Exit codes: 0 everything held, 1 something did not, 2 usage, 3 the run says nothing.
#[must_use]
pub fn main() -> ExitCode {
    end_quietly_without_readers();
    match Cli::parse().command {
        Command::Sim(sim) => sim.run(),
        Command::Bugs(bugs) => bugs.run(),
        Command::Mutants(mutants) => mutants.run(),
        Command::Probe(args) => probe::main(&args),
        Command::Loom(loom) => loom.run(),
        Command::Model(options) => model::main(&options),
        Command::Crash(crash) => crash.run(),
        Command::Gate(gate) => gate.run(),
        Command::Record(record) => record.run(),
        Command::Report(report) => report.run(),
        Command::Soak(soak) => soak.run(),
    }
}

/// Whoever reads the output may go, as `head` does; that is no reason for a panic. The signal that would end the process
/// stays ignored, because servers and children of the harness must not end it.
fn end_quietly_without_readers() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<String>();
        if text.is_some_and(|text| text.starts_with("failed printing to std") && text.contains("os error 32"))
        {
            std::process::exit(141);
        }
        report(panic);
    }));
}

/// Writes down for the gate what a layer has shown, unless an earlier run has shown more of the same sources.
fn keep_record(layer: &str, started: SystemTime, verdict: Verdict, numbers: BTreeMap<String, f64>) {
    let (record, folder) = (Record::of(layer, started, verdict, numbers), record_folder());
    let path = folder.join(format!("{layer}.json"));
    if Record::read(&path).is_ok_and(|before| before.outweighs(&record)) {
        println!("record  {} stays: a larger run of this commit held", path.display());
        return;
    }
    match record.write(&folder) {
        Ok(path) => println!("record  {}", path.display()),
        Err(why) => eprintln!("no record: {why}"),
    }
}

/// Held, or broken.
fn held_or_broken(held: bool) -> Verdict {
    if held { Verdict::Held } else { Verdict::Broken }
}

/// A word as a shell takes it: with quotes where it needs some.
#[must_use]
pub(crate) fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-./:@%+=,".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// What the command line says to these words, where it refuses them.
    fn refusal(line: &str) -> Option<String> {
        let words = line.split(' ').map(|word| if word == "EMPTY" { "" } else { word });
        let refused = Cli::try_parse_from(["orch-harness"].into_iter().chain(words)).err()?;
        assert_eq!(refused.exit_code(), 2, "{line}: {refused}");
        Some(refused.to_string())
    }

    /// Each of these was taken: what it asks for was left out in silence, or it did nothing and held.
    #[test]
    fn what_cannot_be_done_as_it_is_asked_is_a_matter_of_usage() {
        for (line, says) in [
            ("sim --seeds 0", "--seeds"),
            ("sim --seconds 0", "--seconds"),
            ("sim --seeds 5 --seconds 5", "cannot be used with"),
            ("sim --seed 5 --from 5", "cannot be used with"),
            ("sim --plan x.json --machines 3", "cannot be used with"),
            ("sim --plan x.json --profile long", "cannot be used with"),
            ("sim --plan x.json --twice", "cannot be used with"),
            ("sim --plan x.json --seconds 5", "cannot be used with"),
            ("sim --corpus x --hours 3", "cannot be used with"),
            ("sim --corpus x --all-probes", "cannot be used with"),
            ("sim --corpus x --tail 5", "cannot be used with"),
            ("bugs --seeds 0", "--seeds"),
            ("loom --mutants --record x.json", "cannot be used with"),
            ("model --bound full --claimers 3", "cannot be used with"),
            ("model --variant x --bound full", "cannot be used with"),
            ("model --variants --claimers 3", "cannot be used with"),
            ("model --variants --bound full", "cannot be used with"),
            ("model --variants --states 5", "cannot be used with"),
            ("gate --report x --records y", "--rc"),
            ("probe --remote EMPTY", "it is empty"),
            ("probe --remote x --repository /nowhere/at/all", "there is no such folder"),
            ("probe --remote x --clean all", "it is no name of a run"),
            ("record ../../evil -- true", "letters, digits and hyphens"),
            ("record EMPTY -- true", "letters, digits and hyphens"),
            ("record sim -- true", "`orch-harness sim` writes that record itself"),
        ] {
            let said = refusal(line).unwrap_or_else(|| panic!("`{line}` is taken"));
            assert!(said.contains(says), "{line}: {said}");
        }
    }

    #[test]
    fn what_can_be_done_is_taken() {
        for line in [
            "sim --from 5 --seconds 5",
            "sim --from 5 --seeds 5 --twice",
            "sim --plan x.json --tail 5",
            "sim --corpus x",
            "model --claimers 2 --states 9",
            "model --bound full --states 9",
            "model --variant x --claimers 3",
            "gate --rc --records y",
            "loom --mutants --scenario claim-claim",
            "probe --remote . --repository .",
            "record tests -- true",
        ] {
            assert_eq!(refusal(line), None, "{line}");
        }
    }

    /// `sim`, `bugs`, `mutants`, `record` and the program itself did not say what their exit codes mean, and examples
    /// that are wider than the help were broken into lines that nobody can copy.
    #[test]
    fn every_help_has_examples_and_exit_codes_and_no_line_that_is_broken_again() {
        let mut program = Cli::command();
        program.build();
        let commands: Vec<clap::Command> = program.get_subcommands().cloned().collect();
        for mut command in
            commands.into_iter().chain([program]).filter(|command| command.get_name() != "help")
        {
            let name = command.get_name().to_owned();
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let help = command.render_long_help().to_string();
            assert!(after.contains("Examples:\n  orch-harness"), "{name}: {after}");
            assert!(help.contains("Exit codes: 0 ") && help.contains("2 usage"), "{name}: {help}");
            for line in after.lines() {
                assert!(line.chars().count() <= 100, "{name}: {line}");
            }
        }
    }

    #[test]
    fn words_are_quoted_where_a_shell_would_take_them_apart() {
        assert_eq!(quoted("harness/corpus/a-1.json"), "harness/corpus/a-1.json");
        assert_eq!(quoted("git@host:me/queue.git"), "git@host:me/queue.git");
        assert_eq!(quoted("my plans/it's.json"), "'my plans/it'\\''s.json'");
        assert_eq!((quoted(""), quoted("$HOME/~")), ("''".to_owned(), "'$HOME/~'".to_owned()));
    }
}
