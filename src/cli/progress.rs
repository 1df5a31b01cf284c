//! A progress bar for what takes long in a large queue: on a terminal only, and only for people.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::context::Context;
use crate::world::env;

/// Below this number of tasks nobody notices the time.
const WORTH_IT: usize = 2_000;

/// A bar on standard error, or nothing where nobody would see it.
pub struct Bar(Option<ProgressBar>);

impl Bar {
    /// A bar with a word for what is being done.
    #[must_use]
    pub fn new(context: &Context, doing: &'static str) -> Bar {
        let globals = &context.globals;
        if globals.json || globals.quiet || !env::stderr_is_terminal() {
            return Bar(None);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}") {
            bar.set_style(style);
        }
        bar.set_message(doing);
        bar.enable_steady_tick(Duration::from_millis(200));
        Bar(Some(bar))
    }

    /// So many of so many.
    pub fn at(&self, done: usize, all: usize) {
        let Some(bar) = self.0.as_ref().filter(|_| all >= WORTH_IT) else { return };
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
