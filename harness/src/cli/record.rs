//! `orch-harness record`: runs any command and writes down how it ended, so that the gate knows of it.

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};
use std::time::SystemTime;

use clap::Args;

use crate::record::{Record, Verdict, folder};

/// Run a command and write a record of it for `gate --rc`
///
/// For layers that are no command of this program, such as the test suite. The exit code is that of the command.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch-harness record tests -- cargo test --workspace")]
pub struct MakeRecord {
    /// Name of the layer
    #[arg(value_name = "LAYER")]
    layer: String,

    /// The command
    #[arg(value_name = "ARGV", required = true, last = true)]
    command: Vec<String>,
}

impl MakeRecord {
    /// Runs it.
    pub fn run(self) -> ExitCode {
        let started = SystemTime::now();
        let status = Command::new(&self.command[0]).args(&self.command[1..]).status();
        let (verdict, code) = match &status {
            Ok(status) if status.success() => (Verdict::Held, 0),
            Ok(status) => (Verdict::Broken, status.code().unwrap_or(1)),
            Err(why) => {
                eprintln!("error: {}: {why}", self.command[0]);
                (Verdict::Invalid, 3)
            }
        };
        let written = Record::of(&self.layer, started, verdict, BTreeMap::new()).write(&folder());
        match written {
            Ok(path) => println!("record  {}", path.display()),
            Err(why) => {
                eprintln!("error: {why}");
                return ExitCode::from(3);
            }
        }
        ExitCode::from(u8::try_from(code).unwrap_or(1))
    }
}
