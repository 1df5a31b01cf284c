//! Ctrl-C and SIGTERM. A command that holds nothing in memory ends at once, with the code that shells expect;
//! a command that drains clears the flag and takes the signals over.
//!
//! Ending at once is safe anywhere: it is a crash, and every file and ref is written for those.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};

use super::failure::{INTERRUPTED, TERMINATED};

/// Whether a signal ends the process at once.
#[derive(Debug, Clone)]
pub struct AtOnce(Arc<AtomicBool>);

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

    /// From now on signals are only noted: for a command that drains.
    ///
    /// # Errors
    /// The system lets nobody handle signals; they still end the process at once.
    pub fn note(&self) -> io::Result<Noted> {
        let interrupt = Arc::new(AtomicBool::new(false));
        let terminate = Arc::new(AtomicBool::new(false));
        register(SIGINT, Arc::clone(&interrupt))?;
        register(SIGTERM, Arc::clone(&terminate))?;
        self.0.store(false, Ordering::SeqCst);
        Ok(Noted { interrupt, terminate, code: TERMINATED })
    }
}

/// Signals that were noted.
#[derive(Debug)]
pub struct Noted {
    interrupt: Arc<AtomicBool>,
    terminate: Arc<AtomicBool>,
    code: i32,
}

impl Noted {
    /// How many kinds have arrived since the last look.
    pub fn arrived(&mut self) -> u32 {
        let mut count = 0;
        for (flag, code) in [(&self.interrupt, INTERRUPTED), (&self.terminate, TERMINATED)] {
            if flag.swap(false, Ordering::SeqCst) {
                self.code = code;
                count += 1;
            }
        }
        count
    }

    /// The exit code of the last one.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.code
    }
}
