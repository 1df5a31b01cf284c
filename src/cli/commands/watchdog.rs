//! `orch watchdog`: rounds of `orch recover`, once or for ever. Nothing is decided here.

use std::time::Duration;

use clap::Args;

use super::recover::{JudgeArgs, text};
use crate::cli::context::Context;
use crate::cli::{data, values};
use crate::protocol::lease::renewal_interval;
use crate::usecase::error::{Kind, Result};
use crate::usecase::watch::{self, Rules, Watched};

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

/// Rounds are at least this far apart, whatever was asked for.
const SHORTEST: Duration = Duration::from_millis(200);

impl Watchdog {
    /// Watches until a signal ends the process, or once. A remote that does not answer is asked again in the
    /// next round; every other failure ends it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        loop {
            let outcome = self.round(context);
            if self.once {
                let (watched, _) = outcome?;
                return tell(context, &watched);
            }
            let pause = match outcome {
                Ok((watched, pause)) => {
                    tell(context, &watched)?;
                    pause
                }
                Err(error) if error.kind == Kind::Unreachable => {
                    context.warn(error.message);
                    self.every.unwrap_or(Duration::from_secs(60))
                }
                Err(error) => return Err(error),
            };
            context.flush_notices();
            context.sleep(pause.max(SHORTEST));
        }
    }

    /// One round, and the pause after it.
    fn round(&self, context: &mut Context) -> Result<(Watched, Duration)> {
        let rules = Rules { trust_clocks: self.judge.trust_clocks };
        context.queue(|queue| {
            let pause = self.every.unwrap_or_else(|| renewal_interval(queue.settings().lease.ttl));
            Ok((watch::round(queue, rules)?, pause))
        })
    }
}

fn tell(context: &Context, watched: &Watched) -> Result<i32> {
    context.print(|| data::watched(watched), |style| text(watched, style))
}
