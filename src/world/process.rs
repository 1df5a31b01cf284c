//! Supervised children: the types of the seam.
//!
//! A [`Child`] stands for a whole tree of processes. It is a stream of events that one thread pulls, so a
//! simulation needs no threads either. The real tree lives under a small supervisor process (see
//! [`supervisor`]): when the worker goes, however it goes, the tree goes.

mod launch;
pub mod real;
pub mod supervisor;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tree;
mod usage;
mod wire;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use launch::MARK;
pub use real::RealProcess;

/// A program to start. Nothing is inherited but what stands here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program file, absolute (see [`super::Process::find_program`]).
    pub program: PathBuf,
    /// Argument vector; the first is the name that the program sees. Never empty.
    pub argv: Vec<String>,
    /// Working directory, absolute.
    pub cwd: PathBuf,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// All that the program can read from its standard input; end of file follows.
    pub stdin: Vec<u8>,
    /// See [`Child::fence_at`]; in force from the first moment.
    pub fence_at: Option<Duration>,
}

/// The two outputs of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// `stdout` or `stderr`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// What a child did next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Event {
    /// Nothing within the time given.
    Idle,
    /// Bytes of one output, in order, cut anywhere.
    Output(Stream, Vec<u8>),
    /// The tree is gone and both outputs are complete. Always the last event; it repeats.
    Exited(Exit),
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code of the program itself; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Signal that ended the program itself.
    pub signal: Option<i32>,
    /// Processor time of the tree in user mode, milliseconds.
    pub user_ms: u64,
    /// Processor time of the tree in the kernel, milliseconds.
    pub sys_ms: u64,
    /// Largest resident size of any process of the tree, KiB.
    pub max_rss_kb: u64,
    /// Processes that were still there when the program had ended, and were ended then.
    pub stragglers: u32,
    /// Processes that even `SIGKILL` did not end in time (waiting in the kernel).
    pub survivors: u32,
    /// The supervisor ended the tree by itself because the time of [`Child::fence_at`] had come.
    pub fenced: bool,
    /// The supervisor itself was killed; the rest of the tree was hunted down by its mark.
    pub orphaned: bool,
}

/// What a tree is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// `SIGTERM`: finish soon.
    Term,
    /// `SIGKILL`, again and again until nothing is left.
    Kill,
}

/// A running tree of processes. Dropping it kills the tree.
pub trait Child {
    /// Process number of the program.
    fn pid(&self) -> u32;
    /// Waits for the next event, at most `wait`.
    ///
    /// # Errors
    /// Only when the operating system refuses to wait or to read; the tree is then killed by dropping it.
    fn next(&mut self, wait: Duration) -> io::Result<Event>;
    /// Signals every process of the tree, also those that left the process group.
    ///
    /// # Errors
    /// When the signal could not be handed over.
    fn signal(&mut self, signal: Signal) -> io::Result<()>;
    /// Sets the moment (time of [`super::Clock::boottime`]) at which the tree is killed even if this
    /// process is stopped or stuck by then. The last call counts.
    ///
    /// # Errors
    /// When the deadline could not be handed over; the previous one stays in force.
    fn fence_at(&mut self, boottime: Duration) -> io::Result<()>;
}
