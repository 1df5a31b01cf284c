//! Processes of this machine, and children that stand for whole trees.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use orch::world::process::{Child, Command, Event, Exit, Signal, Stream};
use orch::world::{Clock, Process, ProcessId};

use super::disk::MakeLink;
use super::{Outcome, Statement, ensure, fails, fine, same, try_all};

/// A program for a statement. The maker says which command behaves like that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Writes `out` and `err` to its two outputs, then exits with this code.
    Says(i32),
    /// Copies its input to standard output, then exits with 0.
    Copies,
    /// Exits with 0 without reading its input.
    IgnoresInput,
    /// Writes this many bytes to standard output.
    Floods(usize),
    /// Writes `ready` and then waits for ever; `SIGTERM` ends it.
    Waits,
    /// The same, but it ignores `SIGTERM`.
    IgnoresTerm,
    /// Ends itself with `SIGKILL`.
    KillsItself,
    /// Leaves a process behind that waits for ever, and exits with 3.
    LeavesOneBehind,
    /// The same, but the one that is left behind ignores `SIGTERM`.
    LeavesADeafOne,
    /// Writes the value of this variable (nothing if there is none), a colon, and its directory without links.
    Shows(&'static str),
    /// Uses the processor for a while.
    Works,
}

/// Processes, and a way to say which.
pub struct ProcessPlace {
    /// The seam.
    pub process: Box<dyn Process>,
    /// The clock by which fences are set.
    pub clock: Box<dyn Clock>,
    /// The command for a program.
    pub command: Box<dyn Fn(Program) -> Command>,
    /// A name and a `PATH` that finds a program by it.
    pub findable: (String, String),
    /// A directory that exists and is empty.
    pub dir: PathBuf,
    /// Makes links.
    pub link: MakeLink,
    /// Kills the supervisor of the child with this number and nothing else, or says why it cannot.
    pub kill_supervisor: Box<dyn Fn(u32) -> Outcome>,
    /// What must live as long as the place.
    pub keep: Box<dyn std::any::Any>,
}

impl ProcessPlace {
    fn spawn(&self, program: Program) -> Result<Box<dyn Child>, String> {
        fine(self.process.spawn(&(self.command)(program)))
    }

    /// Takes events until one is wanted; what was written meanwhile comes with it.
    fn until(
        &self,
        child: &mut dyn Child,
        mut wanted: impl FnMut(&Event, &[u8]) -> bool,
    ) -> Result<(Vec<u8>, Vec<u8>, Event), String> {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let started = self.clock.monotonic();
        loop {
            let event = fine(child.next(Duration::from_millis(100)))?;
            match &event {
                Event::Output(Stream::Stdout, bytes) => out.extend(bytes),
                Event::Output(Stream::Stderr, bytes) => err.extend(bytes),
                Event::Idle | Event::Exited(_) => {}
            }
            if wanted(&event, &out) {
                return Ok((out, err, event));
            }
            if let Event::Exited(exit) = event {
                return Err(format!("it ended too early: {exit:?}"));
            }
            if self.clock.monotonic() - started > Duration::from_secs(60) {
                return Err("nothing happens for a minute".to_owned());
            }
        }
    }

    fn finish(&self, child: &mut dyn Child) -> Result<(Vec<u8>, Vec<u8>, Exit), String> {
        match self.until(child, |event, _| matches!(event, Event::Exited(_)))? {
            (out, err, Event::Exited(exit)) => Ok((out, err, exit)),
            (_, _, other) => Err(format!("{other:?} is no end")),
        }
    }

    /// A child that is up and waits.
    fn waiting(&self, program: Program) -> Result<Box<dyn Child>, String> {
        let mut child = self.spawn(program)?;
        drop(self.until(&mut *child, |_, out| out.windows(5).any(|part| part == b"ready"))?);
        Ok(child)
    }

    /// Waits until a child's program has ended, without asking the child.
    fn ended(&self, child: &dyn Child) -> Outcome {
        for _ in 0..6000 {
            if self.process.identify(child.pid()).is_none() {
                return Ok(());
            }
            self.clock.sleep(Duration::from_millis(10));
        }
        Err("it does not end within a minute".to_owned())
    }
}

/// What workers, leases and locks rely on.
pub fn process(make: &dyn Fn() -> ProcessPlace) -> Vec<String> {
    let mut failed = try_all(make, &IDENTITY);
    failed.extend(try_all(make, &CHILDREN));
    failed
}

const IDENTITY: [Statement<ProcessPlace>; 3] = [
    ("a process is known by number, start and boot", |p| {
        let me = p.process.me();
        same("who has my number", p.process.identify(me.pid), Some(me.clone()))?;
        ensure(p.process.alive(&me) && !me.boot.is_empty(), "I am not alive, or of no boot")?;
        for other in [
            ProcessId { start: me.start + 1, ..me.clone() },
            ProcessId { boot: format!("{}x", me.boot), ..me.clone() },
            ProcessId { pid: 0x3fff_fffe, ..me },
        ] {
            ensure(!p.process.alive(&other), &format!("{other:?} is alive"))?;
        }
        same("who has a number that is too large", p.process.identify(0x3fff_fffe), None)
    }),
    ("a program is found by its name, and what is none is not", |p| {
        let (name, path) = &p.findable;
        let found = fine(p.process.find_program(name, &p.dir, path))?;
        ensure(found.is_absolute(), &format!("{} is not absolute", found.display()))?;
        same("by its path", fine(p.process.find_program(&found.to_string_lossy(), &p.dir, ""))?, found)?;
        fails("a search without a path", &p.process.find_program(name, &p.dir, ""))?;
        fails("a search by a relative path", &p.process.find_program(name, &p.dir, "bin:.:usr/bin"))?;
        fails("a search for nothing", &p.process.find_program("no-such-program-of-orch", &p.dir, path))
    }),
    ("a directory is told by an absolute path without links", |p| {
        let real = fine(p.process.real_dir(&p.dir))?;
        ensure(real.is_absolute(), "it is relative")?;
        same("that of this one", fine(p.process.real_dir(&real))?, real.clone())?;
        fails("one that is not there", &p.process.real_dir(&real.join("none")))?;
        (p.link)(&real, &real.join("link"))?;
        same("that of a link", fine(p.process.real_dir(&real.join("link/./link")))?, real)
    }),
];

const CHILDREN: [Statement<ProcessPlace>; 16] = [
    ("code and both outputs come back, and the end is told again and again", |p| {
        let mut child = p.spawn(Program::Says(7))?;
        let (out, err, exit) = p.finish(&mut *child)?;
        same("the outputs", (out.as_slice(), err.as_slice()), (&b"out"[..], &b"err"[..]))?;
        same("the end", (exit.code, exit.signal, exit.stragglers, exit.survivors), (Some(7), None, 0, 0))?;
        ensure(!exit.fenced && !exit.orphaned, "it was fenced or orphaned")?;
        same("the next event", fine(child.next(Duration::ZERO))?, Event::Exited(exit))
    }),
    ("the input is given and then ends", |p| {
        for input in [&b""[..], b"prompt"] {
            let command = Command { stdin: input.to_vec(), ..(p.command)(Program::Copies) };
            let (out, _, exit) = p.finish(&mut *fine(p.process.spawn(&command))?)?;
            same("what came back", (out, exit.code), (input.to_vec(), Some(0)))?;
        }
        Ok(())
    }),
    ("an input that nobody reads keeps nobody waiting", |p| {
        let command = Command { stdin: vec![b'p'; 1 << 20], ..(p.command)(Program::IgnoresInput) };
        same("the code", p.finish(&mut *fine(p.process.spawn(&command))?)?.2.code, Some(0))
    }),
    ("all of a large output arrives", |p| {
        let (out, _, exit) = p.finish(&mut *p.spawn(Program::Floods(3 << 20))?)?;
        same("its length", (out.len(), exit.code), (3 << 20, Some(0)))
    }),
    ("death by a signal is told from a code", |p| {
        let exit = p.finish(&mut *p.spawn(Program::KillsItself)?)?.2;
        same("the end", (exit.code, exit.signal), (None, Some(9)))
    }),
    ("nothing happens while a child waits, for as long as asked", |p| {
        let mut child = p.waiting(Program::Waits)?;
        let started = p.clock.monotonic();
        same("the event", fine(child.next(Duration::from_millis(40)))?, Event::Idle)?;
        ensure(p.clock.monotonic() - started >= Duration::from_millis(40), "it came too early")
    }),
    ("a polite signal may be ignored, the other one may not", |p| {
        let mut child = p.waiting(Program::Waits)?;
        fine(child.signal(Signal::Term))?;
        same("the end of a polite one", p.finish(&mut *child)?.2.signal, Some(15))?;
        let mut child = p.waiting(Program::IgnoresTerm)?;
        fine(child.signal(Signal::Term))?;
        same("the event", fine(child.next(Duration::from_millis(100)))?, Event::Idle)?;
        fine(child.signal(Signal::Kill))?;
        let exit = p.finish(&mut *child)?.2;
        same("the end of another", (exit.signal, exit.survivors), (Some(9), 0))
    }),
    ("a signal that comes after the end changes nothing", |p| {
        for signal in [Signal::Term, Signal::Kill] {
            let mut child = p.spawn(Program::Says(7))?;
            p.ended(&*child)?;
            fine(child.signal(signal))?;
            let (out, _, exit) = p.finish(&mut *child)?;
            same("what was written", out, b"out".to_vec())?;
            same("the end", (exit.code, exit.signal, exit.fenced), (Some(7), None, false))?;
        }
        Ok(())
    }),
    ("the environment and the directory are those given, and nothing else is inherited", |p| {
        let dir = fine(p.process.real_dir(&p.dir))?;
        let env = vec![("ORCH_GIVEN".to_owned(), "a value".to_owned())];
        for (name, value) in [("ORCH_GIVEN", "a value"), ("HOME", "")] {
            let command = (p.command)(Program::Shows(name));
            let command = Command { env: env.clone(), cwd: dir.clone(), ..command };
            let (out, _, exit) = p.finish(&mut *fine(p.process.spawn(&command))?)?;
            let told = String::from_utf8_lossy(&out).trim_end().to_owned();
            same(name, (told, exit.code), (format!("{value}:{}", dir.display()), Some(0)))?;
        }
        Ok(())
    }),
    ("a running child is known by its number, and nobody else gets that meanwhile", |p| {
        let child = p.waiting(Program::Waits)?;
        let who = p.process.identify(child.pid()).ok_or("a running child is nobody")?;
        same("its number", who.pid, child.pid())?;
        for _ in 0..60 {
            let mut other = p.spawn(Program::Says(0))?;
            ensure(other.pid() != who.pid, "its number was given to another one")?;
            drop(p.finish(&mut *other)?);
        }
        ensure(p.process.alive(&who), "it is gone")
    }),
    ("who is left behind is ended and counted; the code stays the program's", |p| {
        let exit = p.finish(&mut *p.spawn(Program::LeavesOneBehind)?)?.2;
        same("the end", (exit.code, exit.stragglers, exit.survivors), (Some(3), 1, 0))
    }),
    ("who is left behind and does not listen is ended all the same, after a while", |p| {
        let started = p.clock.monotonic();
        let exit = p.finish(&mut *p.spawn(Program::LeavesADeafOne)?)?.2;
        same("the end", (exit.code, exit.stragglers, exit.survivors), (Some(3), 1, 0))?;
        ensure(
            p.clock.monotonic() - started >= Duration::from_secs(1),
            "it was given no time to end by itself",
        )
    }),
    (USAGE, |p| {
        let exit = p.finish(&mut *p.spawn(Program::Works)?)?.2;
        ensure(exit.user_ms + exit.sys_ms > 0, "it took no time of the processor")?;
        ensure(exit.max_rss_kb > 0, "it took no memory")
    }),
    (ORPHAN, |p| {
        let mut child = p.waiting(Program::IgnoresTerm)?;
        (p.kill_supervisor)(child.pid())?;
        let exit = p.finish(&mut *child)?.2;
        ensure(exit.orphaned && exit.survivors == 0, "it is no orphan, or lives on")
    }),
    ("at the fence the tree ends by itself, the last word counts, and the first one counts at once", fences),
    ("what cannot be started is an error, and what is dropped is gone", |p| {
        let missing = Command { program: "/nowhere/prog".into(), ..(p.command)(Program::Waits) };
        let kind = p.process.spawn(&missing).err().map(|error| error.kind());
        same("a program that is not there", kind, Some(ErrorKind::NotFound))?;
        let homeless = Command { cwd: "/nowhere".into(), ..(p.command)(Program::Waits) };
        ensure(p.process.spawn(&homeless).is_err(), "it ran in a directory that is not there")?;
        let child = p.waiting(Program::IgnoresTerm)?;
        let pid = child.pid();
        let who = p.process.identify(pid).ok_or("a running child is nobody")?;
        drop(child);
        ensure(!p.process.alive(&who), "it lives on")
    }),
];

/// About what a tree used.
pub const USAGE: &str = "what a tree used of the processor and of the memory is told";
/// About a supervisor that is killed.
pub const ORPHAN: &str = "a supervisor that is killed takes its tree along, and that is told";

fn fences(p: &ProcessPlace) -> Outcome {
    let mut child = p.waiting(Program::IgnoresTerm)?;
    fine(child.fence_at(p.clock.boottime() + Duration::from_secs(3600)))?;
    same("the event before", fine(child.next(Duration::from_millis(40)))?, Event::Idle)?;
    fine(child.fence_at(p.clock.boottime()))?;
    let exit = p.finish(&mut *child)?.2;
    same("the end", (exit.fenced, exit.signal, exit.survivors), (true, Some(9), 0))?;
    let fence_at = Some(p.clock.boottime() + Duration::from_millis(100));
    let command = Command { fence_at, ..(p.command)(Program::IgnoresTerm) };
    let exit = p.finish(&mut *fine(p.process.spawn(&command))?)?.2;
    same("the end of one that was born with it", (exit.fenced, exit.survivors), (true, 0))?;
    // A fence that has passed means at once, and not then.
    let mut child = p.waiting(Program::Waits)?;
    fine(child.fence_at(p.clock.boottime().saturating_sub(Duration::from_secs(1))))?;
    p.ended(&*child)?;
    fine(child.signal(Signal::Kill))?;
    let exit = p.finish(&mut *child)?.2;
    same("the end of one that was killed after it", (exit.fenced, exit.signal), (true, Some(9)))
}
