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
/// Exit codes: 0 everything held, 1 something did not, 2 usage, 3 the run is invalid.
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

/// Writes down for the gate what a layer has shown.
fn keep_record(layer: &str, started: SystemTime, held: bool, numbers: BTreeMap<String, f64>) {
    let verdict = if held { Verdict::Held } else { Verdict::Broken };
    match Record::of(layer, started, verdict, numbers).write(&record_folder()) {
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
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_take_them_apart() {
        assert_eq!(quoted("harness/corpus/a-1.json"), "harness/corpus/a-1.json");
        assert_eq!(quoted("git@host:me/queue.git"), "git@host:me/queue.git");
        assert_eq!(quoted("my plans/it's.json"), "'my plans/it'\\''s.json'");
        assert_eq!((quoted(""), quoted("$HOME/~")), ("''".to_owned(), "'$HOME/~'".to_owned()));
    }
}
