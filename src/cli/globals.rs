//! Options that every command has, before or after its name.

use std::path::PathBuf;

use super::render::style::ColorChoice;
use crate::world::env;

/// Options of every command.
#[derive(clap::Args, Debug, Clone, Default)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// State directory [env: ORCH_STATE] [default: the nearest state/orch.yaml upwards]
    #[arg(long, value_name = "DIR", global = true)]
    pub state: Option<PathBuf>,

    /// Print one JSON document: data on standard output, an error on standard error
    #[arg(long, global = true)]
    pub json: bool,

    /// Name of the session that acts [env: ORCH_SESSION] [default: user@host:pid-of-parent]
    #[arg(long, value_name = "NAME", alias = "owner-session", global = true)]
    pub session: Option<String>,

    /// No notices on standard error
    #[arg(long, short, global = true)]
    pub quiet: bool,

    /// When to use colours: auto (on a terminal, unless NO_COLOR is set), always or never
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        hide_possible_values = true,
        global = true
    )]
    pub color: ColorChoice,

    /// Do not contact the remote; what changes is published later
    #[arg(long, global = true)]
    pub no_sync: bool,
}

impl Globals {
    /// The state directory that was named, by option or environment.
    #[must_use]
    pub fn named_state(&self) -> Option<PathBuf> {
        self.state.clone().or_else(|| env::var_os("ORCH_STATE").map(PathBuf::from))
    }

    /// The session that was named, by option or environment.
    #[must_use]
    pub fn named_session(&self) -> Option<String> {
        self.session.clone().or_else(|| env::var("ORCH_SESSION"))
    }
}
