//! The program `orch`: arguments in, exit code out. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Every exit code of the contract lies between 0 and 255.
    ExitCode::from(u8::try_from(orch::cli::main(std::env::args_os())).unwrap_or(1))
}
