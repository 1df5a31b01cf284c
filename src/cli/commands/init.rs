//! `orch init`: finds the place, and leaves the rest to `machine`.

use clap::Args;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::place;
use crate::cli::render::{page, text};
use crate::machine::{self, InitRequest};
use crate::usecase::error::Result;

/// Create a queue here, or connect one to a remote
///
/// Makes the directory `state`, a git repository of its own. Inside a code repository its `origin` becomes the
/// remote that machines share, and the code itself is never touched. Running it again changes nothing.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch init
  orch init --remote git@github.com:me/queue.git
  orch init --state /srv/queue --remote /srv/git/queue.git --branch orch-state")]
pub struct Init {
    /// Repository that machines share [default: origin of the code repository, if there is one]
    #[arg(long, value_name = "URL")]
    pub remote: Option<String>,

    /// State branch there [default: orch-state]
    #[arg(long, value_name = "NAME")]
    pub branch: Option<String>,
}

impl Init {
    /// Creates it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let named = context.globals.named_state();
        let state = place::for_init(context.disk(), named.as_deref())?;
        // Looked for before there is a nearer one.
        let outer = if named.is_none() { place::find(context.disk(), None).ok() } else { None };
        let request = InitRequest {
            state,
            remote: self.remote,
            branch: self.branch,
            session: context.globals.named_session(),
            no_sync: context.globals.no_sync,
        };
        let inited = machine::init(&request)?;
        inited.notes.iter().for_each(|note| context.warn(note.clone()));
        if let Some(outer) = outer.filter(|outer| inited.created && *outer != inited.state) {
            context.warn(format!(
                "{} is a queue already, and commands from here on down now use {} instead, as a machine of its own; to \
                 use the former from here, say --state or ORCH_STATE",
                outer.display(),
                inited.state.display()
            ));
        }
        let state = inited.state.display().to_string();
        context.print(
            || json!({ "state": state, "remote": inited.remote, "branch": inited.branch, "created": inited.created }),
            |style| {
                let verb = if inited.created { "created" } else { "it was here already" };
                let remote = inited.remote.as_deref().unwrap_or("none: this queue stays on this machine");
                let head = format!("{}  {verb}\n", text::line(&state));
                let branch = page::fact("branch", &inited.branch, style);
                format!("{head}{}{branch}", page::fact("remote", remote, style))
            },
        )
    }
}
