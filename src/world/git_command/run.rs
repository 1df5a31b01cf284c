//! Runs one command with bounded output and a wall-clock limit that ends its whole process group: `ssh` and the remote
//! helpers are children of git and would otherwise outlive it. It has no input, or is answered once.

use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};

/// What is kept of the error output; the first words matter, not the last.
const MOST_ERRORS: usize = 64 << 10;

/// No limit is longer, so that adding it to a point in time cannot overflow.
const LONGEST: Duration = Duration::from_secs(86_400);

/// What git's children may take to end by themselves once git has gone, also on a computer that is busy.
const GRACE: Duration = Duration::from_secs(2);

/// Between the polite and the final signal to those that did not, and after it.
const LAST: Duration = Duration::from_millis(300);

/// How a command ended.
#[derive(Debug, Default)]
pub struct Finished {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error, cut after 64 KiB.
    pub stderr: Vec<u8>,
    /// The limit was reached and the process group was killed.
    pub timed_out: bool,
    /// There was more standard output than allowed; the rest was read and dropped.
    pub truncated: bool,
}

/// What a command is to be told, made from all that it has said so far; `None` while that is too little.
pub type Answer<'a> = dyn FnMut(&[u8]) -> Option<Vec<u8>> + 'a;

/// Runs the command without input.
///
/// The end of the child counts, not the end of its output: a daemon that it leaves behind (a
/// credential cache, a shared ssh connection) keeps the pipes open for as long as it likes.
///
/// # Errors
///
/// When the command cannot be started.
pub fn run(mut command: Command, limit: Duration, most_output: usize) -> io::Result<Finished> {
    command.stdin(Stdio::null());
    let deadline = deadline(limit);
    Ok(start(command, most_output)?.finish(deadline, &mut |_| None))
}

/// Runs a command that is told one thing and nothing after it. When its time is up it is let finish what it is at, as
/// git's children are: it may hold a lock.
///
/// # Errors
///
/// When the command cannot be started.
pub fn talk(
    command: Command,
    limit: Duration,
    most_output: usize,
    answer: &mut Answer<'_>,
) -> io::Result<Finished> {
    let deadline = deadline(limit);
    Ok(begin(command, most_output)?.finish(deadline, answer))
}

/// Starts a command that is spoken to later, by [`Begun::talk`].
///
/// # Errors
///
/// When the command cannot be started.
pub fn begin(mut command: Command, most_output: usize) -> io::Result<Begun> {
    command.stdin(Stdio::piped());
    start(command, most_output)
}

fn start(mut command: Command, most_output: usize) -> io::Result<Begun> {
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let running = Running::new(&mut child, most_output)?;
    Ok(Begun { child, running, over: false })
}

fn deadline(limit: Duration) -> Instant {
    Instant::now() + limit.min(LONGEST)
}

/// A command that has been started. One that nobody has spoken to is killed when this is dropped: it was told to do nothing,
/// and holds nothing.
#[derive(Debug)]
pub struct Begun {
    child: Child,
    running: Running,
    /// It was waited for.
    over: bool,
}

impl Begun {
    /// Goes on as [`talk`] does.
    #[must_use]
    pub fn talk(self, limit: Duration, answer: &mut Answer<'_>) -> Finished {
        self.finish(deadline(limit), answer)
    }

    fn finish(mut self, deadline: Instant, answer: &mut Answer<'_>) -> Finished {
        let running = &mut self.running;
        let mut finished = Finished::default();
        if !running.wait_until(deadline, answer) {
            finished.timed_out = true;
            running.end();
        }
        running.stdout.drain();
        running.stderr.drain();
        finished.truncated = running.stdout.cut;
        finished.stdout = std::mem::take(&mut running.stdout.bytes);
        finished.stderr = std::mem::take(&mut running.stderr.bytes);
        finished.code = self.child.wait().ok().and_then(|status| status.code());
        self.over = true;
        finished
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !self.over {
            // Where it has ended by itself there is nobody to meet; the number is still ours.
            let _ = kill_process_group(self.running.pid, Signal::KILL);
            drop(self.child.wait());
        }
    }
}

/// A child together with the ends of its pipes, and a pipe that closes when the child ends.
#[derive(Debug)]
struct Running {
    pid: Pid,
    /// Whether it is spoken to.
    spoken_to: bool,
    stdin: Option<Feed>,
    stdout: Capture,
    stderr: Capture,
    ended: PipeReader,
}

impl Running {
    fn new(child: &mut Child, most_output: usize) -> io::Result<Self> {
        let pid = Pid::from_child(child);
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(io::Error::other("the command was started without pipes"));
        };
        let stdin = child.stdin.take().map(|pipe| Feed::new(pipe.into())).transpose()?;
        Ok(Running {
            pid,
            spoken_to: stdin.is_some(),
            stdin,
            stdout: Capture::new(stdout.into(), most_output)?,
            stderr: Capture::new(stderr.into(), MOST_ERRORS)?,
            ended: watch(pid)?,
        })
    }

    /// Reads output, and answers it, until the child ends (true) or time is up (false).
    fn wait_until(&mut self, deadline: Instant, answer: &mut Answer<'_>) -> bool {
        loop {
            self.speak(answer);
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec {
                tv_sec: left.as_secs().min(86_400).cast_signed(),
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut events = vec![PollFd::new(&self.ended, PollFlags::IN)];
            let open = [&self.stdout, &self.stderr];
            events.extend(open.iter().filter_map(|capture| capture.poll()));
            events.extend(self.stdin.as_ref().and_then(Feed::poll));
            let ready = poll(&mut events, Some(&timeout));
            if matches!(ready, Ok(1..)) && !events[0].revents().is_empty() {
                return true;
            }
            self.stdout.drain();
            self.stderr.drain();
            if left.is_zero() {
                return false;
            }
        }
    }

    /// Says what is to be said, as far as the other side reads it.
    fn speak(&mut self, answer: &mut Answer<'_>) {
        let Some(feed) = &mut self.stdin else { return };
        if feed.bytes.is_none() {
            feed.bytes = answer(&self.stdout.bytes);
        }
        // Nobody who has said more than is kept can be answered.
        if feed.write() || self.stdout.cut {
            self.stdin = None;
        }
    }

    /// Ends git first, and its children only if they do not end by themselves.
    ///
    /// On a remote that is a path `receive-pack` is one of them. A signal that meets it while it makes a lock file
    /// leaves that file behind, since git notes a file for removal only after it has made it; left alone it
    /// finishes the ref at hand and ends, because nobody listens any more. One that is spoken to is `receive-pack` itself.
    fn end(&mut self) {
        self.stdin = None;
        // The only possible failure of these signals is that nobody is there any more.
        if !self.spoken_to {
            let _ = kill_process(self.pid, Signal::TERM);
        }
        self.wait_for_all(Instant::now() + GRACE);
        let _ = kill_process_group(self.pid, Signal::TERM);
        self.wait_for_all(Instant::now() + LAST);
        // Whether or not the outputs are closed: somebody may live who has none. The number is still ours, because
        // nobody has collected git.
        let _ = kill_process_group(self.pid, Signal::KILL);
        self.wait_until(Instant::now() + LAST, &mut |_| None);
    }

    /// Reads output until everybody who could write it has gone, or time is up.
    fn wait_for_all(&mut self, deadline: Instant) {
        while self.stdout.pipe.is_some() || self.stderr.pipe.is_some() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let timeout =
                Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
            let open = [&self.stdout, &self.stderr];
            let mut events: Vec<_> = open.iter().filter_map(|capture| capture.poll()).collect();
            // An error of the wait itself is only ever an interrupt.
            let _ = poll(&mut events, Some(&timeout));
            self.stdout.drain();
            self.stderr.drain();
        }
    }
}

/// A pipe whose reading end becomes ready when the child has ended. The thread leaves the child
/// uncollected, so that its number (and its group's) cannot pass to somebody else before we are done.
fn watch(pid: Pid) -> io::Result<PipeReader> {
    let (ended, ending) = io::pipe()?;
    std::thread::Builder::new().name("git-wait".to_owned()).stack_size(64 << 10).spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
        drop(ending);
    })?;
    Ok(ended)
}

/// The input of a command that is spoken to.
#[derive(Debug)]
struct Feed {
    pipe: File,
    /// What is to be said, once that is known, and how much of it has been.
    bytes: Option<Vec<u8>>,
    said: usize,
}

impl Feed {
    fn new(pipe: OwnedFd) -> io::Result<Self> {
        fcntl_setfl(&pipe, fcntl_getfl(&pipe)? | OFlags::NONBLOCK)?;
        Ok(Feed { pipe: File::from(pipe), bytes: None, said: 0 })
    }

    /// Waits for room only while there is something to say.
    fn poll(&self) -> Option<PollFd<'_>> {
        self.bytes.as_ref().map(|_| PollFd::from_borrowed_fd(self.pipe.as_fd(), PollFlags::OUT))
    }

    /// Writes what there is room for; whether all is said, or nobody listens.
    fn write(&mut self) -> bool {
        let Some(bytes) = &self.bytes else { return false };
        while self.said < bytes.len() {
            match self.pipe.write(&bytes[self.said..]) {
                Ok(count) => self.said += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
        true
    }
}

/// One output stream: kept up to a bound, read to its end beyond.
#[derive(Debug)]
struct Capture {
    pipe: Option<File>,
    bytes: Vec<u8>,
    most: usize,
    cut: bool,
}

impl Capture {
    fn new(pipe: OwnedFd, most: usize) -> io::Result<Self> {
        fcntl_setfl(&pipe, fcntl_getfl(&pipe)? | OFlags::NONBLOCK)?;
        Ok(Capture { pipe: Some(File::from(pipe)), bytes: Vec::new(), most, cut: false })
    }

    fn poll(&self) -> Option<PollFd<'_>> {
        self.pipe.as_ref().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN))
    }

    /// Takes what is there now.
    fn drain(&mut self) {
        let mut buffer = [0u8; 16 << 10];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => self.keep(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.most - self.bytes.len();
        self.cut |= bytes.len() > room;
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
pub(in crate::world) mod tests;
