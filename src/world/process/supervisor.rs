//! The supervisor: a process of our own between the worker and one child tree.
//!
//! It is the child subreaper of the tree (Linux), so processes that leave the group or fork twice come
//! back to it instead of vanishing. It holds one end of a socket whose other end only the worker has:
//! when that closes, for whatever reason, it kills everything. The program is started only after all of
//! this is set up, so there is no moment in which it runs unwatched.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{self as sys, Pid, WaitId, WaitIdOptions, WaitOptions};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::launch::launch;
use super::wire::{Link, Order, Received, Report};
use super::{Exit, Signal, tree, usage};

/// How long processes that outlive the program itself get after `SIGTERM`.
const LINGER: Duration = Duration::from_secs(1);
/// How long `SIGKILL` is repeated before what is left counts as unkillable.
const GIVE_UP: Duration = Duration::from_secs(10);

/// Runs as the supervisor. Standard input is the socket to the worker; standard output and standard
/// error are what the program gets as its own. Returns the exit code for this process.
#[must_use]
pub fn supervisor_main() -> i32 {
    let socket = match io::stdin().as_fd().try_clone_to_owned() {
        Ok(socket) => UnixStream::from(socket),
        Err(error) => return complain(&error),
    };
    match supervise(socket, Stdio::inherit(), Stdio::inherit()) {
        Ok(()) => 0,
        Err(error) => complain(&error),
    }
}

/// This command is started by orch alone; by hand it finds no socket on its standard input.
fn complain(error: &io::Error) -> i32 {
    eprintln!("orch supervisor: {error}");
    1
}

/// Takes one order to start a program, and watches over its tree until nothing of it is left.
///
/// # Errors
/// When the socket or the operating system fails before the program runs.
pub fn supervise(socket: UnixStream, stdout: Stdio, stderr: Stdio) -> io::Result<()> {
    let mut link = Link::new(socket);
    // Own session: a Ctrl-C meant for the worker does not reach the tree, and no program in it can
    // stop to ask for a password on the terminal. Fails harmlessly for a group leader.
    let _ = sys::setsid();
    adopt_orphans()?;
    let wake = signal_pipe()?;
    let start = match link.receive::<Order>()? {
        Received::Message(Order::Start(start)) => start,
        _ => return Ok(()),
    };
    let worker = start.worker;
    let stdin = link.receive_bytes(start.stdin_len)?;
    if parent() != worker {
        return Ok(());
    }
    let leader = match launch(&start, &stdin, stdout, stderr) {
        Ok(pid) => pid,
        Err(error) => {
            return link.send(&Report::Failed { errno: error.raw_os_error(), message: error.to_string() });
        }
    };
    link.stream.set_nonblocking(true)?;
    let told = link.send(&Report::Started { pid: leader.as_raw_nonzero().get().cast_unsigned() });
    let mut watch = Watch::new(link, wake, leader, worker);
    watch.fence = start.fence_ms.map(Duration::from_millis);
    if told.is_err() {
        watch.kill();
    }
    let exit = watch.run();
    // Nobody may be left to hear it.
    let _ = watch.link.send(&Report::Ended(exit));
    Ok(())
}

#[cfg(target_os = "linux")]
fn adopt_orphans() -> io::Result<()> {
    sys::set_child_subreaper(Some(sys::getpid()))?;
    // The socket tells of the worker's death as well; this is the second rope.
    sys::set_parent_process_death_signal(Some(sys::Signal::TERM))?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn adopt_orphans() -> io::Result<()> {
    Ok(())
}

/// A socket that becomes readable when a child ends or somebody signals us. Handlers, unlike ignored
/// signals, are not inherited by the program.
fn signal_pipe() -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    for signal in [SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT] {
        signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
    }
    Ok(read)
}

/// How the program itself ended: exit code or signal.
type Ended = (Option<i32>, Option<i32>);

/// The watch over one running tree.
struct Watch {
    link: Link,
    wake: UnixStream,
    leader: Pid,
    /// While the leader is not waited for, its number, and so that of its group, belongs to nobody else.
    reaped: bool,
    worker: u32,
    ended: Option<Ended>,
    fence: Option<Duration>,
    fenced: bool,
    lingering: Option<Instant>,
    killing: Option<Instant>,
    stragglers: u32,
}

impl Watch {
    fn new(link: Link, wake: UnixStream, leader: Pid, worker: u32) -> Self {
        Watch {
            link,
            wake,
            leader,
            reaped: false,
            worker,
            ended: None,
            fence: None,
            fenced: false,
            lingering: None,
            killing: None,
            stragglers: 0,
        }
    }

    fn run(&mut self) -> Exit {
        loop {
            self.wait();
            self.take_orders();
            self.look_at_clock_and_parent();
            self.look_at_leader();
            if self.killing.is_some() {
                self.signal(sys::Signal::KILL);
            }
            if self.ended.is_some() && self.settled() {
                return self.exit(0);
            }
            if self.killing.is_some_and(|since| since.elapsed() > GIVE_UP) {
                let left = living().len();
                return self.exit(u32::try_from(left).unwrap_or(u32::MAX));
            }
        }
    }

    fn kill(&mut self) {
        self.killing.get_or_insert_with(Instant::now);
    }

    /// Sleeps until there is something to look at.
    fn wait(&mut self) {
        let span = match (self.killing, self.ended, self.fence) {
            (Some(_), ..) => Some(Duration::from_millis(5)),
            (None, Some(_), _) => Some(Duration::from_millis(10)),
            // Timeouts do not count a suspend, so a deadline that does is looked at regularly.
            (None, None, Some(at)) => Some(at.saturating_sub(boottime()).min(Duration::from_millis(500))),
            (None, None, None) => None,
        };
        wait_readable(&[self.link.stream.as_fd(), self.wake.as_fd()], span);
        let mut ignored = [0u8; 256];
        while self.wake.read(&mut ignored).is_ok_and(|len| len > 0) {}
    }

    fn take_orders(&mut self) {
        // Once the worker is gone the socket stays readable; there is nothing more to learn from it.
        if self.killing.is_some() {
            return;
        }
        loop {
            match self.link.receive::<Order>() {
                Ok(Received::Nothing) => return,
                Ok(Received::Message(Order::Signal(Signal::Term))) => self.signal(sys::Signal::TERM),
                Ok(Received::Message(Order::Fence { boottime_ms })) => {
                    self.fence = Some(Duration::from_millis(boottime_ms));
                }
                Ok(Received::Message(Order::Signal(Signal::Kill) | Order::Start(_)) | Received::Closed)
                | Err(_) => return self.kill(),
            }
        }
    }

    fn look_at_clock_and_parent(&mut self) {
        if self.killing.is_none() && self.fence.is_some_and(|at| boottime() >= at) {
            self.fenced = true;
            self.kill();
        }
        if parent() != self.worker {
            self.kill();
        }
    }

    /// Waits for adopted orphans, and looks whether the leader has ended without waiting for it.
    fn look_at_leader(&mut self) {
        loop {
            if self.ended.is_none() && !self.reaped {
                let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
                if let Ok(Some(status)) = sys::waitid(WaitId::Pid(self.leader), look) {
                    self.ended = Some((status.exit_status(), status.terminating_signal()));
                }
            }
            if self.ended.is_some() {
                return;
            }
            match sys::wait(WaitOptions::NOHANG) {
                // It ended between the two looks.
                Ok(Some((pid, status))) if pid == self.leader => {
                    self.reaped = true;
                    self.ended = Some((status.exit_status(), status.terminating_signal()));
                }
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// After the leader has ended: sees to it that nothing else is left. True when nothing is.
    fn settled(&mut self) -> bool {
        let living = living();
        if living.is_empty() {
            if cfg!(not(target_os = "linux")) {
                self.signal(sys::Signal::KILL);
            }
            return self.reap_all();
        }
        match self.lingering {
            None => {
                self.stragglers = u32::try_from(living.len()).unwrap_or(u32::MAX);
                self.lingering = Some(Instant::now());
                self.signal(sys::Signal::TERM);
            }
            Some(since) if since.elapsed() > LINGER => self.kill(),
            Some(_) => {}
        }
        false
    }

    /// Waits for all that has ended. True if there is no child any more: since every orphan becomes our
    /// child, that means that there is no descendant at all.
    fn reap_all(&mut self) -> bool {
        loop {
            match sys::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, _))) => self.reaped |= pid == self.leader,
                Ok(None) => return false,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return true,
            }
        }
    }

    /// Signals the group, and all that has left it. Nobody gets a signal twice at once: to many programs
    /// a second `SIGTERM` means to drop everything.
    fn signal(&self, signal: sys::Signal) {
        let group = (!self.reaped).then_some(self.leader);
        if let Some(leader) = group {
            send_group(leader, signal);
        }
        let told = group.map(|leader| leader.as_raw_nonzero().get());
        for (pid, _) in living().into_iter().filter(|(_, of)| Some(*of) != told) {
            // Whoever has ended meanwhile no longer minds.
            let _ = Pid::from_raw(pid).map(|pid| sys::kill_process(pid, signal));
        }
    }

    fn exit(&mut self, survivors: u32) -> Exit {
        self.reap_all();
        let (code, signal) = self.ended.unwrap_or_default();
        let (user_ms, sys_ms, max_rss_kb) = usage::of_children();
        Exit {
            code,
            signal,
            user_ms,
            sys_ms,
            max_rss_kb,
            stragglers: self.stragglers,
            survivors,
            fenced: self.fenced,
            orphaned: false,
        }
    }
}

/// Number of the parent process; another one than the worker's means that the worker is gone.
fn parent() -> u32 {
    sys::getppid().map_or(0, |pid| pid.as_raw_nonzero().get().cast_unsigned())
}

/// Descendants of this process that have not ended: number and group.
fn living() -> Vec<(i32, i32)> {
    tree::living_below(sys::getpid().as_raw_nonzero().get())
}

/// Signals a whole group; a stopped one is woken up, so that it can hear a polite signal.
fn send_group(leader: Pid, signal: sys::Signal) {
    let _ = sys::kill_process_group(leader, signal);
    if signal != sys::Signal::KILL {
        let _ = sys::kill_process_group(leader, sys::Signal::CONT);
    }
}

/// Time since boot, with suspend.
fn boottime() -> Duration {
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(clock);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Waits until one of the descriptors can be read without waiting, or has been closed; says which.
pub(super) fn wait_readable(descriptors: &[BorrowedFd<'_>], span: Option<Duration>) -> Vec<bool> {
    let mut polled: Vec<PollFd<'_>> =
        descriptors.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let span = span.and_then(|span| rustix::event::Timespec::try_from(span).ok());
    if rustix::event::poll(&mut polled, span.as_ref()).is_err() {
        // Interrupted: the caller looks at everything anyway and waits again.
        return vec![false; descriptors.len()];
    }
    polled.iter().map(|fd| !fd.revents().is_empty()).collect()
}
