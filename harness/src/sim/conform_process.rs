//! Simulated processes do what real ones do; and each statement about them can fail.

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use orch::world::process::{Child, Command, Event, Exit, Signal};
use orch::world::{Disk, Process, ProcessId};

use super::conform::{assert_conforms, inside, link};
use super::fiber::Fiber;
use super::kernel::Shared;
use super::ports::Port;
use super::tree::{PLAYER, PROGRAM};
use crate::conformance::process::{ORPHAN, ProcessPlace, Program, USAGE, process};
use crate::conformance::{Impossible, beyond};

/// What simulated processes cannot do.
const IMPOSSIBLE: &Impossible = &[
    (USAGE, "a simulated program is a script: it uses no processor and no memory that could be measured"),
    (
        ORPHAN,
        "a simulated supervisor is no process of its own: it never fails, and nothing can kill it alone",
    ),
];

/// What behaves like that on a simulated machine, see [`super::script::Script::told`].
fn script(program: Program) -> Vec<String> {
    let words = match program {
        Program::Says(code) => format!("out=out err=err exit={code}"),
        Program::Copies => "copy".to_owned(),
        Program::IgnoresInput | Program::Works => String::new(),
        Program::Floods(count) => format!("zeros={count}"),
        Program::Waits => "out=ready wait".to_owned(),
        Program::IgnoresTerm => "deaf out=ready wait".to_owned(),
        Program::KillsItself => "die=9".to_owned(),
        Program::LeavesOneBehind => "leave exit=3".to_owned(),
        Program::LeavesADeafOne => "deaf leave exit=3".to_owned(),
        Program::Shows(name) => format!("show={name} out=: where"),
    };
    std::iter::once("player").chain(words.split_whitespace()).map(str::to_owned).collect()
}

fn place(kernel: &Shared, fiber: &Rc<Fiber>, dir: PathBuf, process: Box<dyn Process>) -> ProcessPlace {
    let port = Port::new(kernel, fiber);
    port.create_dir(&dir).expect("a calm disk makes a directory");
    let command = |program| Command {
        program: PLAYER.into(),
        argv: script(program),
        cwd: "/".into(),
        env: Vec::new(),
        stdin: Vec::new(),
        fence_at: None,
    };
    ProcessPlace {
        process,
        clock: Box::new(port),
        command: Box::new(command),
        findable: (PROGRAM.to_owned(), "/usr/bin:/bin".to_owned()),
        dir,
        link: Box::new(link(kernel)),
        kill_supervisor: Box::new(|_| Err("it is no process".to_owned())),
        keep: Box::new(()),
    }
}

/// The statements that fail on processes that are put around those of a port.
fn tried(wrap: impl Fn(Port) -> Box<dyn Process> + 'static) -> Vec<String> {
    inside(move |kernel, fiber, _| {
        let number = Cell::new(0);
        process(&|| {
            number.set(number.get() + 1);
            let dir = PathBuf::from(format!("/m0/place-{}", number.get()));
            place(kernel, fiber, dir, wrap(Port::new(kernel, fiber)))
        })
    })
}

#[test]
fn the_simulated_processes_conform() {
    assert_conforms(&beyond(tried(|port| Box::new(port)), IMPOSSIBLE));
    assert!(IMPOSSIBLE.iter().all(|(_, why)| why.len() > 20), "each with its reason");
}

/// The story: the process body ran on the real processes only, and what the simulated ones cannot do was nowhere said.
/// A list of exceptions is worth something if nothing in it is out of date.
#[test]
fn a_list_of_what_is_impossible_that_is_out_of_date_is_noticed() {
    let failed = || vec!["one: this".to_owned(), "two: that".to_owned()];
    assert_eq!(beyond(failed(), &[("one", "why"), ("two", "why")]), Vec::<String>::new());
    assert_eq!(beyond(failed(), &[("one", "why")]), ["two: that"]);
    for stale in ["three", "on", "two: that"] {
        let found = beyond(failed(), &[("one", "why"), ("two", "why"), (stale, "why")]);
        assert_eq!(found, [format!("{stale}: it is listed as impossible, and does not fail")]);
    }
}

/// What processes do wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    NumberIsIdentity,
    ChildIsNobody,
    NumbersComeAgain,
    RelativePaths,
    LinksStay,
    ZeroIsForgotten,
    EndIsToldOnce,
    NoInput,
    OutputIsCut,
    SignalIsACode,
    Impatient,
    TermKills,
    LateSignalsCount,
    OwnEnvironment,
    NobodyIsCounted,
    NoFence,
    FencedIsForgotten,
    AnyProgram,
    OutlivesItsWorker,
}

struct Wrong(Port, Fault);

impl Process for Wrong {
    fn me(&self) -> ProcessId {
        self.0.me()
    }
    fn identify(&self, pid: u32) -> Option<ProcessId> {
        let found = self.0.identify(pid);
        if self.1 == Fault::ChildIsNobody { found.filter(|who| who.pid == self.0.pid()) } else { found }
    }
    fn alive(&self, who: &ProcessId) -> bool {
        match self.1 {
            Fault::NumberIsIdentity => self.0.identify(who.pid).is_some(),
            _ => self.0.alive(who),
        }
    }
    fn real_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        let real = self.0.real_dir(dir)?;
        Ok(if self.1 == Fault::LinksStay { dir.to_owned() } else { real })
    }
    fn find_program(&self, name: &str, cwd: &Path, path: &str) -> io::Result<PathBuf> {
        let path = if self.1 == Fault::RelativePaths { path.replace("bin", "/bin") } else { path.to_owned() };
        self.0.find_program(name, cwd, &path)
    }
    fn spawn(&self, command: &Command) -> io::Result<Box<dyn Child>> {
        let mut command = command.clone();
        match self.1 {
            Fault::NoInput => command.stdin.clear(),
            Fault::OwnEnvironment => command.env = vec![("HOME".to_owned(), "/root".to_owned())],
            Fault::AnyProgram => command.program = PLAYER.into(),
            Fault::NoFence => command.fence_at = None,
            _ => {}
        }
        let child = self.0.spawn(&command)?;
        let pid = if self.1 == Fault::NumbersComeAgain { 100 } else { child.pid() };
        Ok(Box::new(WrongChild { child: Some(child), pid, fault: self.1, told: 0, late: false }))
    }
}

struct WrongChild {
    child: Option<Box<dyn Child>>,
    pid: u32,
    fault: Fault,
    /// Bytes of output, or ends.
    told: usize,
    late: bool,
}

impl WrongChild {
    fn child(&mut self) -> &mut dyn Child {
        &mut **self.child.as_mut().expect("it is there until it is dropped")
    }

    fn end(&self, exit: Exit) -> Exit {
        match (self.fault, exit.signal) {
            (Fault::ZeroIsForgotten, _) => Exit { code: Some(0), ..exit },
            (Fault::SignalIsACode, Some(signal)) => Exit { code: Some(128 + signal), signal: None, ..exit },
            (Fault::LateSignalsCount, None) if self.late => Exit { code: None, signal: Some(15), ..exit },
            (Fault::NobodyIsCounted, _) => Exit { stragglers: 0, ..exit },
            (Fault::FencedIsForgotten, _) => Exit { fenced: false, ..exit },
            _ => exit,
        }
    }
}

impl Child for WrongChild {
    fn pid(&self) -> u32 {
        self.pid
    }
    fn next(&mut self, wait: Duration) -> io::Result<Event> {
        let impatient = self.fault == Fault::Impatient && wait < Duration::from_millis(50);
        let event = self.child().next(if impatient { Duration::ZERO } else { wait })?;
        Ok(match (event, self.fault) {
            (Event::Output(..), Fault::OutputIsCut) if self.told > 1 << 20 => Event::Idle,
            (Event::Output(stream, bytes), _) => {
                self.told += bytes.len();
                Event::Output(stream, bytes)
            }
            (Event::Exited(_), Fault::EndIsToldOnce) if self.late => Event::Idle,
            (Event::Exited(exit), _) => {
                self.late |= self.fault == Fault::EndIsToldOnce;
                Event::Exited(self.end(exit))
            }
            (event, _) => event,
        })
    }
    fn signal(&mut self, signal: Signal) -> io::Result<()> {
        self.late |= self.fault == Fault::LateSignalsCount;
        let signal = if self.fault == Fault::TermKills { Signal::Kill } else { signal };
        self.child().signal(signal)
    }
    fn fence_at(&mut self, boottime: Duration) -> io::Result<()> {
        if self.fault == Fault::NoFence { Ok(()) } else { self.child().fence_at(boottime) }
    }
}

impl Drop for WrongChild {
    fn drop(&mut self) {
        if self.fault == Fault::OutlivesItsWorker {
            std::mem::forget(self.child.take());
        }
    }
}

#[test]
fn processes_that_break_a_promise_are_noticed() {
    for (fault, sentence) in [
        (Fault::NumberIsIdentity, "a process is known by number, start and boot"),
        (Fault::ChildIsNobody, "a running child is known by its number"),
        (Fault::NumbersComeAgain, "a running child is known by its number"),
        (Fault::RelativePaths, "a program is found by its name"),
        (Fault::LinksStay, "a directory is told by an absolute path without links"),
        (Fault::ZeroIsForgotten, "code and both outputs come back"),
        (Fault::EndIsToldOnce, "code and both outputs come back"),
        (Fault::NoInput, "the input is given and then ends"),
        (Fault::OutputIsCut, "all of a large output arrives"),
        (Fault::SignalIsACode, "death by a signal is told from a code"),
        (Fault::Impatient, "nothing happens while a child waits"),
        (Fault::TermKills, "a polite signal may be ignored"),
        (Fault::LateSignalsCount, "a signal that comes after the end"),
        (Fault::OwnEnvironment, "the environment and the directory"),
        (Fault::NobodyIsCounted, "who is left behind is ended and counted"),
        (Fault::NobodyIsCounted, "who is left behind and does not listen"),
        (Fault::NoFence, "at the fence the tree ends"),
        (Fault::FencedIsForgotten, "at the fence the tree ends"),
        (Fault::AnyProgram, "what cannot be started is an error"),
        (Fault::OutlivesItsWorker, "what cannot be started is an error"),
    ] {
        let failed = beyond(tried(move |port| Box::new(Wrong(port, fault))), IMPOSSIBLE);
        let noticed = failed.iter().any(|why| why.starts_with(sentence));
        assert!(noticed, "{fault:?} is not noticed by: {sentence}\n{}", failed.join("\n"));
    }
}
