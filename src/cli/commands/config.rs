//! `orch config`: the effective settings with the layer that each comes from, and changing one.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::failure;
use crate::cli::render::style::{Style, Tone};
use crate::cli::render::text;
use crate::machine;
use crate::store::layout::Layout;
use crate::store::settings_load::Shown;
use crate::usecase::config::{self, Changed, Scope};
use crate::usecase::error::Result;
use crate::world::remote::failure::without_secrets;

/// Look at the settings that are in force, or change one
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch config show
  orch config show --origin
  orch config set queue.paused true
  orch config set --machine sync.timeout 60s
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
    /// Change one setting for all machines, or with --machine for this one
    ///
    /// The remote and the branch are always this machine's own.
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
    /// Shows them, or changes one.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let layout = Layout::new(context.state()?);
        match self.command {
            ConfigCommand::Show { origin } => show(context, &layout, origin),
            ConfigCommand::Set { key, value, machine } => {
                let scope = if machine { Scope::Machine } else { Scope::Usual };
                set(context, &layout, scope, &key, &value)
            }
        }
    }
}

/// Shows what can be read. What cannot is an error all the same: nobody may take a part for the whole.
fn show(context: &mut Context, layout: &Layout, origin: bool) -> Result<i32> {
    let (loaded, problems) = machine::settings_as_found(context.disk(), layout);
    let mut all = loaded.show();
    for one in &mut all {
        // A remote may be written with a password; nothing that is printed shows one.
        one.value = without_secrets(&one.value);
    }
    let mut problems = problems.into_iter();
    let first = problems.next();
    problems.for_each(|problem| context.warn(problem.message));
    if let (Some(problem), true) = (&first, context.globals.json) {
        // One document: the data or the error.
        return Err(problem.clone().hint("correct it there; without --json what can be read is listed"));
    }
    context.print(
        || all.iter().map(|one| to_json(one, origin)).collect::<Vec<_>>().into(),
        |style| all.iter().map(|one| to_text(one, origin, style)).collect(),
    )?;
    first.map_or(Ok(failure::OK), Err)
}

fn set(context: &mut Context, layout: &Layout, scope: Scope, key: &str, value: &str) -> Result<i32> {
    if key == config::BRANCH {
        context.queue(|queue| config::may_change(queue, key, value))?;
    }
    let written = if config::is_shared(scope, key) {
        // A file that keeps the queue from being opened may be mended by this very setting.
        let opens = machine::settings(context.disk(), layout).is_ok();
        let mended = if opens { None } else { Some(plain(context, layout, scope, key, value)?) };
        let shared = context.queue(|queue| config::share(queue, key, value))?;
        let changed = shared.done.changed || mended.is_some_and(|done| done.changed);
        Written { published: Some(shared.published), done: Changed { changed, ..shared.done } }
    } else {
        Written { published: None, done: plain(context, layout, scope, key, value)? }
    };
    let Written { done, published } = written;
    if published == Some(false) {
        context.unpublished("orch.yaml is changed here");
    }
    let (path, value) = (done.path.display().to_string(), without_secrets(value));
    context.print(
        || {
            let mut out = json!({"key": key, "value": value, "file": path, "changed": done.changed});
            if let Some(published) = published {
                out["published"] = published.into();
            }
            out
        },
        |_| format!("{}: {} in {path}\n", text::line(key), text::line(&value)),
    )
}

struct Written {
    done: Changed,
    published: Option<bool>,
}

fn plain(context: &Context, layout: &Layout, scope: Scope, key: &str, value: &str) -> Result<Changed> {
    config::set(context.disk(), layout, scope, key, value)
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
