//! `orch watchdog`: rounds of `orch recover`, once or for ever. Nothing is decided here.

use std::time::Duration;

use clap::Args;

use super::recover::{JudgeArgs, text};
use crate::cli::context::Context;
use crate::cli::{data, failure, values};
use crate::machine::{self, Options};
use crate::usecase::error::Result;
use crate::usecase::queue::Queue;
use crate::usecase::watch::{self, Rules, Watched};
use crate::watchdog::{self, Post, Timing, Told};

/// Take tasks back from sessions that have vanished, again and again
///
/// With --once it is `orch recover` for a timer: what was seen is remembered from one run to the next. Without
/// it one report per round is printed, under --json one document per line.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch watchdog --once            from cron or systemd
  orch watchdog --every 5m
  orch watchdog --once --trust-clocks")]
pub struct Watchdog {
    /// One round only
    #[arg(long, conflicts_with = "every")]
    pub once: bool,

    /// Pause between rounds [default: a third of the queue's lease]
    #[arg(long, value_name = "SPAN", value_parser = values::span)]
    pub every: Option<Duration>,

    /// How leases are judged.
    #[command(flatten)]
    pub judge: JudgeArgs,
}

impl Watchdog {
    /// Watches until a signal ends the process, or once. A remote that does not answer is asked again in the
    /// next round; every other failure ends it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let rules = Rules { trust_clocks: self.judge.trust_clocks };
        if self.once {
            let watched = context.queue(|queue| watch::round(queue, rules))?;
            return tell(context, &watched);
        }
        let timing = Timing { every: self.every, sync: None };
        watchdog::run(&mut Terminal { options: context.options()?, context }, timing, rules)?;
        Ok(failure::OK)
    }
}

/// Tells every round on standard output.
struct Terminal<'c> {
    options: Options,
    context: &'c mut Context,
}

impl Post for Terminal<'_> {
    fn open(&mut self) -> Result<Queue> {
        machine::open(&self.options)
    }

    fn tell(&mut self, told: Told) -> Result<()> {
        match told {
            Told::Round(watched) => tell(self.context, &watched).map(drop),
            Told::Trouble(error) => {
                self.context.warn(error.message);
                Ok(())
            }
            Told::Notice(notice) => {
                self.context.warn(notice);
                Ok(())
            }
            Told::Synced(_) => Ok(()),
        }
    }

    fn pause(&mut self, span: Duration) -> bool {
        self.context.flush_notices();
        self.context.sleep(span);
        true
    }
}

fn tell(context: &Context, watched: &Watched) -> Result<i32> {
    context.print(|| data::watched(watched), |style| text(watched, style))
}
