//! Runs commands as processes that faults can find: who runs, since when, and signals to exactly those.
//!
//! A process is signalled only while it is in the list, and it leaves the list before it is reaped, so its number
//! cannot belong to somebody else by then.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use super::server::lock;

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// `data` of the envelope on standard output, or null.
    pub data: Value,
    /// `error.code` of the envelope on standard error, or empty.
    pub error: String,
    /// What it said on standard error.
    pub stderr: String,
    /// When it was started.
    pub started: Instant,
    /// How long it ran.
    pub took: Duration,
    /// A fault met this very process.
    pub struck: bool,
}

/// One running process.
struct Entry {
    id: u64,
    pid: Pid,
    machine: usize,
    started: Instant,
    daemon: bool,
    struck: bool,
    stopped: bool,
    limit: Duration,
    late: bool,
}

/// The running processes.
#[derive(Default)]
pub struct Processes {
    list: Mutex<(u64, Vec<Entry>)>,
}

impl Processes {
    /// Runs a command of a machine to its end. Its standard error goes through the file `stderr`. A command that runs
    /// longer than `limit` is killed with all its children, and says so in `error`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn run(
        &self,
        machine: usize,
        command: &mut Command,
        stderr: &Path,
        limit: Duration,
    ) -> Result<Ended, String> {
        let file = std::fs::File::create(stderr).map_err(|why| format!("{}: {why}", stderr.display()))?;
        command.stdout(Stdio::piped()).stderr(Stdio::from(file)).process_group(0);
        let started = Instant::now();
        let mut child = command.spawn().map_err(|why| format!("{}: {why}", command_line(command)))?;
        let id = self.enter(&child, machine, started, limit, false);
        let mut stdout = Vec::new();
        if let Some(mut pipe) = child.stdout.take() {
            // An error ends the reading as the end does; the exit code tells the rest.
            drop(pipe.read_to_end(&mut stdout));
        }
        let took = started.elapsed();
        // Whoever closes its output without ending is still in the list and can be killed when it is late.
        while matches!(
            rustix::process::waitid(
                rustix::process::WaitId::Pid(Pid::from_child(&child)),
                rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
            ),
            Err(rustix::io::Errno::INTR)
        ) {}
        let (struck, late) = self.leave(id);
        let status = child.wait().map_err(|why| why.to_string())?;
        let stderr = std::fs::read(stderr).unwrap_or_default();
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        let mut data = serde_json::from_slice::<Value>(&stdout).unwrap_or(Value::Null);
        let error = if late { "harness_timeout".to_owned() } else { error_code(&stderr) };
        let code = if status.signal().is_some() { None } else { status.code() };
        Ok(Ended { code, data: data["data"].take(), error, stderr, started, took, struck })
    }

    /// Enters a process that runs on, such as a watchdog. It is the caller's to reap, after [`Processes::leave`].
    pub fn adopt(&self, child: &Child, machine: usize) -> u64 {
        self.enter(child, machine, Instant::now(), Duration::MAX, true)
    }

    fn enter(&self, child: &Child, machine: usize, started: Instant, limit: Duration, daemon: bool) -> u64 {
        let mut list = lock(&self.list);
        list.0 += 1;
        let id = list.0;
        let pid = Pid::from_child(child);
        let (struck, stopped, late) = (false, false, false);
        list.1.push(Entry { id, pid, machine, started, daemon, struck, stopped, limit, late });
        id
    }

    /// Takes a process off the list; whether a fault met it, and whether it was too late.
    pub fn leave(&self, id: u64) -> (bool, bool) {
        let mut list = lock(&self.list);
        let Some(at) = list.1.iter().position(|entry| entry.id == id) else { return (false, false) };
        let entry = list.1.swap_remove(at);
        (entry.struck, entry.late)
    }

    /// The running commands that are not daemons: number and machine.
    #[must_use]
    pub fn commands(&self) -> Vec<(u64, usize)> {
        let list = lock(&self.list);
        list.1.iter().filter(|e| !e.daemon && !e.stopped).map(|e| (e.id, e.machine)).collect()
    }

    /// Kills one, alone or with its group. Whether it was still there.
    pub fn kill(&self, id: u64, group: bool) -> bool {
        self.signal(id, group, Signal::KILL)
    }

    /// Stops one and its group.
    pub fn stop(&self, id: u64) -> bool {
        self.signal(id, true, Signal::STOP)
    }

    /// Lets one and its group go on.
    pub fn resume(&self, id: u64) -> bool {
        self.signal(id, true, Signal::CONT)
    }

    /// Asks one to end.
    pub fn terminate(&self, id: u64) -> bool {
        self.signal(id, false, Signal::TERM)
    }

    fn signal(&self, id: u64, group: bool, signal: Signal) -> bool {
        let mut list = lock(&self.list);
        let Some(entry) = list.1.iter_mut().find(|entry| entry.id == id) else { return false };
        entry.struck = true;
        entry.stopped = match signal {
            Signal::STOP => true,
            Signal::CONT => false,
            _ => entry.stopped,
        };
        let done =
            if group { kill_process_group(entry.pid, signal) } else { kill_process(entry.pid, signal) };
        done.is_ok()
    }

    /// Kills what runs longer than its limit and was not stopped.
    pub fn end_late(&self) {
        let mut list = lock(&self.list);
        for entry in list.1.iter_mut().filter(|e| !e.stopped && !e.late && e.started.elapsed() > e.limit) {
            entry.late = true;
            // It may have ended just now.
            let _ = kill_process_group(entry.pid, Signal::KILL);
        }
    }

    /// Lets everything that is stopped go on.
    pub fn resume_all(&self) {
        let stopped: Vec<u64> = lock(&self.list).1.iter().filter(|e| e.stopped).map(|e| e.id).collect();
        for id in stopped {
            self.resume(id);
        }
    }
}

fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn error_code(stderr: &str) -> String {
    let envelope = stderr.lines().rfind(|line| line.starts_with('{'));
    let value = envelope.and_then(|line| serde_json::from_str::<Value>(line).ok()).unwrap_or(Value::Null);
    value["error"]["code"].as_str().unwrap_or_default().to_owned()
}

/// Resident memory in KiB and open files of a process, where /proc tells.
#[must_use]
pub fn usage(pid: u32) -> Option<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let rss = line.split_whitespace().next()?.parse().ok()?;
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    Some((rss, fds as u64))
}

/// When a process was started, in ticks since boot: with its number this names it for good.
#[must_use]
pub fn birth(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after = stat.rsplit_once(") ")?.1;
    after.split_whitespace().nth(19)?.parse().ok()
}

/// Processes other than this one that have `text` in their command line, where /proc tells.
#[must_use]
pub fn with_text(text: &str) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if pid == std::process::id() {
            continue;
        }
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(text) {
            found.push((pid, line));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleep(seconds: &str) -> Command {
        let mut command = Command::new("sleep");
        command.arg(seconds);
        command
    }

    #[test]
    fn a_fault_meets_exactly_the_one_that_it_names_and_leaves_the_other_alone() {
        let dir = tempfile::tempdir().unwrap();
        let processes = Processes::default();
        let limit = Duration::from_secs(30);
        let run = |machine: usize, seconds: &'static str, name: &str| {
            processes.run(machine, &mut sleep(seconds), &dir.path().join(name), limit).unwrap()
        };
        std::thread::scope(|scope| {
            let victim = scope.spawn(|| run(1, "60", "a"));
            let other = scope.spawn(|| run(2, "0.5", "b"));
            let id = loop {
                let all = processes.commands();
                if let Some((id, _)) = all.iter().find(|(_, machine)| *machine == 1) {
                    break *id;
                }
                std::thread::yield_now();
            };
            assert!(processes.kill(id, true));
            let victim = victim.join().unwrap();
            assert_eq!((victim.code, victim.struck), (None, true));
            let other = other.join().unwrap();
            assert_eq!((other.code, other.struck), (Some(0), false));
            assert!(!processes.kill(id, true), "it has left the list");
        });
    }

    #[test]
    fn what_takes_too_long_is_ended_and_said() {
        let dir = tempfile::tempdir().unwrap();
        let processes = Processes::default();
        let limit = Duration::from_millis(10);
        std::thread::scope(|scope| {
            let late =
                scope.spawn(|| processes.run(0, &mut sleep("60"), &dir.path().join("a"), limit).unwrap());
            while !late.is_finished() {
                processes.end_late();
                std::thread::yield_now();
            }
            assert_eq!(late.join().unwrap().error, "harness_timeout");
        });
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_is_found_by_its_command_line_and_known_by_its_birth() {
        let mut child = sleep("61.0317").spawn().unwrap();
        // Between fork and exec it still has our own command line.
        while with_text("61.0317").is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(with_text("61.0317")[0].0, child.id());
        assert!(birth(child.id()).unwrap() > 0 && usage(child.id()).unwrap().1 > 0);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(birth(child.id()), None);
    }
}
