//! `orch completions`: scripts for shells, made from the same table that parses the command line.

use clap::Args;
use clap_complete::Shell;
use serde_json::json;

use crate::cli::command;
use crate::cli::context::Context;
use crate::usecase::error::Result;

/// Print completions for a shell
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch completions bash > ~/.local/share/bash-completion/completions/orch
  orch completions zsh > ~/.zfunc/_orch
  orch completions fish > ~/.config/fish/completions/orch.fish")]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

impl Completions {
    /// Prints them.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command(), "orch", &mut script);
        let script = String::from_utf8_lossy(&script).into_owned();
        context.print(|| json!({ "shell": self.shell.to_string(), "script": script }), |_| script.clone())
    }
}
