//! `orch-harness`: one file per command.

mod model;

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
    Model(model::Options),
}

/// Runs the command line.
///
/// Exit codes: 0 everything held, 1 something did not, 2 usage.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Model(options) => model::main(&options),
    }
}
