//! `orch-harness record`: runs any command and writes down how it ended, so that the gate knows of it.

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};
use std::time::SystemTime;

use clap::Args;

use crate::record::{Record, Verdict, folder};

/// Run a command and write a record of it for `gate --rc`
///
/// For layers that are no command of this program, such as the test suite. The record holds the command as well, because
/// only of the right one it says anything. The exit code is that of the command.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch-harness record tests -- cargo test --locked --workspace")]
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
        let (record, code) = self.record();
        match record.write(&folder()) {
            Ok(path) => println!("record  {}", path.display()),
            Err(why) => {
                eprintln!("error: {why}");
                return ExitCode::from(3);
            }
        }
        ExitCode::from(u8::try_from(code).unwrap_or(1))
    }

    /// Runs the command: what is to be written down of it, and its exit code.
    fn record(self) -> (Record, i32) {
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
        let record = Record::of(&self.layer, started, verdict, BTreeMap::new());
        (Record { command: self.command, ..record }, code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_holds_the_command_and_how_it_ended() {
        let of = |script: &str| {
            let command = ["sh", "-c", script].map(str::to_owned).to_vec();
            MakeRecord { layer: "tests".to_owned(), command }.record()
        };
        let (record, code) = of("exit 0");
        assert_eq!(
            (record.verdict, record.command.join(" ").as_str(), code),
            (Verdict::Held, "sh -c exit 0", 0)
        );
        let (record, code) = of("exit 7");
        assert_eq!((record.verdict, code), (Verdict::Broken, 7));
    }
}
