//! `orch version`: the program, the commit it was built from if that is known, and the file format.

use clap::Args;
use serde_json::json;

use crate::cli::context::Context;
use crate::usecase::error::Result;

/// Version of the format of task files.
const FORMAT: u32 = 1;

/// Show the version of the program and of the file format
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch version
  orch version --json")]
pub struct Version {}

impl Version {
    /// Shows it.
    #[expect(clippy::unused_self, reason = "every command is carried out the same way")]
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let version = env!("CARGO_PKG_VERSION");
        let commit = option_env!("ORCH_COMMIT");
        context.print(
            || json!({ "version": version, "commit": commit, "format": FORMAT }),
            |_| {
                let commit = commit.map(|commit| format!(", commit {commit}")).unwrap_or_default();
                format!("orch {version} (format {FORMAT}{commit})\n")
            },
        )
    }
}
