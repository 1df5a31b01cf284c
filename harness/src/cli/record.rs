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
  orch-harness record tests -- cargo test --locked --workspace

Exit codes: 0 the command succeeded, else the code of the command; 2 usage, 3 the command cannot be
started, or the record cannot be written")]
pub struct MakeRecord {
    /// Name of the layer: letters, digits and hyphens
    #[arg(value_name = "LAYER", value_parser = layer)]
    layer: String,

    /// The command
    #[arg(value_name = "ARGV", required = true, last = true)]
    command: Vec<String>,
}

/// Commands of this program that write records of their own, named after them.
const OWN: [&str; 8] = ["sim", "loom", "bugs", "model", "crash", "mutants", "soak", "probe"];

/// The name of a layer, which becomes that of a file, and must not take the place of what a command has shown.
fn layer(text: &str) -> Result<String, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err("it becomes the name of a file: only letters, digits and hyphens".to_owned());
    }
    // There are disks to which `SIM` is the same.
    let small = text.to_ascii_lowercase();
    let own = OWN.iter().find(|own| small == **own || small.starts_with(&format!("{own}-")));
    match own {
        Some(own) => Err(format!(
            "`orch-harness {own}` writes that record itself, and one of another command would take its place: choose \
             another name, such as tests"
        )),
        None => Ok(text.to_owned()),
    }
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

    /// `../../evil` wrote outside of the folder, and `record sim -- true` was a simulation that had held.
    #[test]
    fn a_layer_has_a_name_that_is_a_file_and_none_of_the_programs_own() {
        for name in ["tests", "corpus", "Layer-2", "simple", "models"] {
            assert_eq!(layer(name).as_deref(), Ok(name));
        }
        for name in ["", "../../evil", "a/b", "a.b", "a b", "é", ".."] {
            assert!(layer(name).is_err_and(|why| why.contains("letters, digits and hyphens")), "{name}");
        }
        for name in [
            "sim",
            "SIM",
            "sim-workers",
            "loom-full",
            "bugs-table",
            "model-variants",
            "crash-planted",
            "soak-24h",
        ] {
            assert!(layer(name).is_err_and(|why| why.contains("writes that record itself")), "{name}");
        }
    }

    /// What a release asks of a record that `record` makes must be something that it takes.
    #[test]
    fn the_layers_that_a_release_wants_recorded_are_taken() {
        let slo: crate::gate::Slo = crate::yaml::parse(crate::gate::BUILT_IN, "slo.yaml").unwrap();
        for wanted in slo.release {
            assert_eq!(layer(&wanted.layer).is_ok(), wanted.command.is_some(), "{}", wanted.layer);
        }
    }

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
