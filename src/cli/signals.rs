//! Ctrl-C and SIGTERM. A command that holds nothing in memory ends at once, with the code that shells expect;
//! a command that drains clears the flag and takes the signals over.
//!
//! Ending at once is safe anywhere: it is a crash, and every file and ref is written for those.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_shutdown;

use super::failure::{INTERRUPTED, TERMINATED};

/// Whether a signal ends the process at once.
#[derive(Debug, Clone)]
pub struct AtOnce(#[expect(dead_code, reason = "read by the handlers")] Arc<AtomicBool>);

impl AtOnce {
    /// From now on SIGINT exits with 130 and SIGTERM with 143.
    #[must_use]
    pub fn install() -> Self {
        let armed = Arc::new(AtomicBool::new(true));
        for (signal, code) in [(SIGINT, INTERRUPTED), (SIGTERM, TERMINATED)] {
            // Without a handler the signal still ends the process, only with the system's own code.
            drop(register_conditional_shutdown(signal, code, Arc::clone(&armed)));
        }
        AtOnce(armed)
    }
}
