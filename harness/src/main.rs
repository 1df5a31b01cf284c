//! The command line of the reliability harness: parse, run one layer, exit with its verdict.

use std::process::ExitCode;

fn main() -> ExitCode {
    orch_harness::cli::main()
}
