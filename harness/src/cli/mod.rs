//! `orch-harness`: one file per command.

pub mod bugs;
mod model;
pub(crate) mod probe;
pub mod sim;

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
    Sim(sim::Sim),
    Bugs(bugs::Bugs),
    Probe(probe::ProbeArgs),
    Model(model::Options),
}

/// Runs the command line.
///
/// Exit codes: 0 everything held, 1 something did not, 2 usage, 3 the run is invalid.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Sim(sim) => sim.run(),
        Command::Bugs(bugs) => bugs.run(),
        Command::Probe(args) => probe::main(&args),
        Command::Model(options) => model::main(&options),
    }
}
