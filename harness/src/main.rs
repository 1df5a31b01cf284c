//! The command line of the reliability harness: parse, run one layer, exit with its verdict.

use std::process::ExitCode;

/// Simulations spend their time on small pieces of memory, which this one hands out faster than the system's. `orch`
/// itself keeps the system's: its commands are over before it would matter.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    orch_harness::cli::main()
}
