//! Processes that end with their test, and waiting for conditions.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::run::Run;

/// Longest wait for a condition, generous because the computer may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `probe` yields something, at most [`PATIENCE`].
#[track_caller]
pub fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A running child that is killed when its test ends.
pub struct Running(Child);

impl Running {
    /// Starts a command without input and output.
    pub fn start(command: &mut Command) -> Running {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Running(command.spawn().unwrap_or_else(|why| panic!("cannot start {command:?}: {why}")))
    }

    /// Takes over a child that was started elsewhere.
    pub fn adopt(child: Child) -> Running {
        Running(child)
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.0.try_wait().expect("it is our child")
    }

    /// Kills it with SIGKILL and reaps it.
    pub fn kill(&mut self) {
        // Both fail only if it has been reaped already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs commands at the same time: all threads start together, results come in the order given.
pub fn race(commands: Vec<Command>) -> Vec<Run> {
    let gate = std::sync::Barrier::new(commands.len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = commands
            .into_iter()
            .map(|mut command| {
                let gate = &gate;
                scope.spawn(move || {
                    gate.wait();
                    Run::of(&mut command)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a racer does not panic")).collect()
    })
}
