//! `orch-harness`: one file per command.

mod gate;
mod record;
mod report;
mod soak;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Prove the promises of orch, and find out whether a remote keeps its own.
#[derive(Parser)]
#[command(name = "orch-harness", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Gate(gate::Gate),
    Record(record::MakeRecord),
    Report(report::MakeReport),
    Soak(soak::Soak),
}

/// Runs the command line.
///
/// Exit codes: 0 everything held, 1 something did not, 2 usage, 3 what was run is invalid.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Gate(gate) => gate.run(),
        Command::Record(record) => record.run(),
        Command::Report(report) => report.run(),
        Command::Soak(soak) => soak.run(),
    }
}
