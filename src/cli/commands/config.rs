//! `orch config show`: the effective settings and the layer that each comes from.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::render::style::{Style, Tone};
use crate::cli::render::text;
use crate::machine;
use crate::store::layout::Layout;
use crate::store::settings_load::Shown;
use crate::usecase::error::Result;

/// Look at the settings that are in force
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch config show
  orch config show --origin
  ORCH_LEASE_TTL=5m orch config show --origin --json")]
pub struct Config {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What `orch config` can do.
#[derive(Subcommand, Debug)]
pub enum ConfigCommand {
    /// List every setting with its value
    ///
    /// Environment (ORCH_LEASE_TTL and so on) comes before this machine's .git/orch/config.yaml, that before
    /// orch.yaml, and that before the defaults.
    Show {
        /// Say where each value comes from
        #[arg(long)]
        origin: bool,
    },
}

impl Config {
    /// Shows them.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let ConfigCommand::Show { origin } = self.command;
        let layout = Layout::new(context.state()?);
        let all = machine::settings(context.disk(), &layout)?.show();
        context.print(
            || all.iter().map(|one| to_json(one, origin)).collect::<Vec<_>>().into(),
            |style| all.iter().map(|one| to_text(one, origin, style)).collect(),
        )
    }
}

fn to_json(one: &Shown, origin: bool) -> Value {
    let mut line = json!({ "key": one.key, "value": one.value });
    if origin {
        line["origin"] = json!(one.origin.to_string());
    }
    line
}

fn to_text(one: &Shown, origin: bool, style: Style) -> String {
    let from = format!("  # {}", text::line(&one.origin.to_string()));
    let from = if origin { style.paint(Tone::Dim, &from) } else { String::new() };
    format!("{}: {}{from}\n", style.paint(Tone::Bold, one.key), text::line(&one.value))
}
