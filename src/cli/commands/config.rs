//! `orch config`: what is set and by whom, and changing one setting.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::cli::context::Context;
use crate::cli::render::style::{Style, Tone};
use crate::cli::render::text;
use crate::machine;
use crate::store::layout::Layout;
use crate::store::settings_load::Shown;
use crate::usecase::config::{self, Scope};
use crate::usecase::error::Result;
use crate::world::remote::failure::without_secrets;

/// Show settings and where they come from, or change one
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch config show --origin
  orch config set queue.paused true
  orch config set --machine sync.timeout 60s")]
pub struct Config {
    /// What to do.
    #[command(subcommand)]
    pub what: What,
}

/// What to do with settings.
#[derive(Subcommand, Debug)]
pub enum What {
    /// Show every setting that is in effect
    Show {
        /// Also show where each comes from
        #[arg(long)]
        origin: bool,
    },
    /// Change one setting: for all machines, or with --machine for this one
    Set {
        /// The setting, like `lease.ttl`
        #[arg(value_name = "KEY")]
        key: String,
        /// Its new value
        #[arg(value_name = "VALUE", allow_hyphen_values = true)]
        value: String,
        /// Only for this machine
        #[arg(long)]
        machine: bool,
    },
}

impl Config {
    /// Shows or changes it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let layout = Layout::new(context.state()?);
        match self.what {
            What::Show { origin } => show(context, &layout, origin),
            What::Set { key, value, machine } => {
                let scope = if machine { Scope::Machine } else { Scope::Usual };
                let done = config::set(context.disk(), &layout, scope, &key, &value)?;
                if done.shared {
                    // The next command publishes the file anyway; this one does it at once where it can.
                    context.queue(|queue| queue.settle().map(drop))?;
                }
                let path = done.path.display().to_string();
                let value = without_secrets(&value);
                context.print(
                    || json!({"key": key, "value": value, "file": path, "changed": done.changed}),
                    |_| format!("{}: {} in {path}\n", text::line(&key), text::line(&value)),
                )
            }
        }
    }
}

fn show(context: &Context, layout: &Layout, origin: bool) -> Result<i32> {
    let mut settings = machine::settings(context.disk(), layout)?.show();
    for setting in &mut settings {
        setting.value = without_secrets(&setting.value);
    }
    context.print(
        || {
            let one =
                |s: &Shown| (s.key.to_owned(), json!({"value": s.value, "origin": s.origin.to_string()}));
            Value::Object(settings.iter().map(one).collect::<Map<_, _>>())
        },
        |style| settings.iter().map(|setting| line(setting, origin, style)).collect(),
    )
}

fn line(setting: &Shown, origin: bool, style: Style) -> String {
    let from = if origin {
        format!("  {}", style.paint(Tone::Dim, &format!("# {}", text::line(&setting.origin.to_string()))))
    } else {
        String::new()
    };
    format!("{}: {}{from}\n", style.paint(Tone::Bold, setting.key), text::line(&setting.value))
}
