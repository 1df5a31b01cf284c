//! Accidents of a simulated run, larger than what goes wrong at a single call: when they happen, and how they end.

use std::path::{Path, PathBuf};

use orch::store::layout::Layout;

use super::Run;
use crate::sim::disk_image::DiskImage;
use crate::sim::kernel::{Kernel, Link, MINUTE, Micros, SECOND};

/// A file that somebody has broken.
#[derive(Debug, Clone)]
pub(super) struct BrokenFile {
    machine: usize,
    path: PathBuf,
    /// What was in it.
    before: Vec<u8>,
    /// What is in it.
    left: Vec<u8>,
}

/// An accident that ends.
#[derive(Debug, Clone)]
pub(super) enum After {
    PowerBack(usize),
    LinkUp(usize),
    RemoteUp,
    /// The host refuses nothing more.
    Allowed,
    /// Who has broken a file puts back what was there before.
    Repaired(BrokenFile),
}

impl Run {
    /// Lets accidents end whose time has come, and lets the next one happen.
    pub(super) fn accidents(&mut self, at: Micros) {
        {
            let mut kernel = self.kernel.borrow_mut();
            kernel.now = kernel.now.max(at);
        }
        let (due, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(|(when, _)| *when <= at);
        self.pending = rest;
        for (when, after) in due {
            self.end_accident(when, after);
        }
        if self.next_of_others <= at {
            self.others_act(at);
        }
        if self.next_accident > at {
            return;
        }
        let kinds = self.yard.plan.accidents.clone();
        let rates = [
            kinds.power,
            kinds.suspend,
            kinds.stop,
            kinds.kill,
            kinds.clock,
            kinds.cut,
            kinds.outage,
            kinds.full,
            kinds.collect,
            kinds.hand,
            kinds.vanish,
        ];
        let total: f64 = rates.iter().sum();
        if total <= 0.0 {
            self.next_accident = Micros::MAX;
            return;
        }
        let mut left = self.dice.unit() * total;
        let which = rates.iter().position(|rate| {
            left -= rate;
            left < 0.0
        });
        self.happen(at, which.unwrap_or(0));
        let pause = self.dice.exponential(3600.0 * SECOND as f64 / total) as Micros;
        self.next_accident = at + pause.max(1);
    }

    fn happen(&mut self, at: Micros, which: usize) {
        let machine = self.dice.below(self.yard.plan.machines as u64) as usize;
        let ttl = self.yard.plan.ttl;
        let span = self.dice.exponential(ttl as f64) as Micros % (3 * ttl) + SECOND;
        match which {
            0 => self.lose_power(at, machine, span),
            1 => self.suspend(at, machine, span),
            2 | 3 => self.stop_or_kill(at, which == 3, span),
            4 => self.step_clock(machine),
            5 => {
                let link = *self.dice.pick(&[Link::Cut, Link::Mute]);
                let kernel = &mut *self.kernel.borrow_mut();
                kernel.probes.hit("a link was cut or mute");
                kernel.machines[machine].link = link;
                self.pending.push((at + span, After::LinkUp(machine)));
            }
            6 => {
                let kernel = &mut *self.kernel.borrow_mut();
                kernel.probes.hit("the remote was away");
                kernel.remote_up = false;
                self.pending.push((at + span / 2, After::RemoteUp));
            }
            7 => self.kernel.borrow_mut().machines[machine].full_until = at + span / 4,
            8 => {
                let kernel = &mut *self.kernel.borrow_mut();
                kernel.probes.hit("a clone was collected");
                let Kernel { pool, machines, .. } = kernel;
                pool.collect(&mut machines[machine].repo);
            }
            _ => self.touch_a_file(at, machine, which == 10),
        }
    }

    pub(super) fn end_accident(&mut self, at: Micros, after: After) {
        let kernel = &mut *self.kernel.borrow_mut();
        match after {
            After::PowerBack(at_machine) => {
                let machine = &mut kernel.machines[at_machine];
                machine.up = true;
                machine.clocks.boot(at);
            }
            After::LinkUp(machine) => kernel.machines[machine].link = Link::Up,
            After::RemoteUp => kernel.remote_up = true,
            After::Allowed => kernel.forbidden = None,
            After::Repaired(BrokenFile { machine, path, before, left }) => {
                // A file that orch could read after all has gone on: what nobody else has of it yet would be lost with
                // its only copy, and no program could help it.
                let now = kernel.machines[machine].disk.read(&path);
                if now.is_ok_and(|now| *now != *left && !self.yard.oracle.borrow().has_all_of(&now)) {
                    return;
                }
                let at_ns = kernel.machines[machine].clocks.wall_ms(kernel.now) * 1_000_000;
                kernel.trace.note(at, machine, &format!("{} is put back by hand", path.display()));
                write_by_hand(&mut kernel.machines[machine].disk, &path, before, at_ns);
            }
        }
    }

    fn lose_power(&mut self, at: Micros, machine: usize, span: Micros) {
        if !self.kernel.borrow().machines[machine].up {
            return;
        }
        for fiber in self.fibers.running().filter(|fiber| fiber.machine == machine) {
            fiber.doom();
        }
        {
            let kernel = &mut *self.kernel.borrow_mut();
            kernel.probes.hit("the power failed");
            let mut dice = self.dice.fork("power");
            kernel.end_trees(machine, at);
            let lost = &mut kernel.machines[machine];
            lost.up = false;
            lost.disk.lose_power(&mut dice);
            lost.locks.clear();
            let dead = std::mem::take(&mut lost.processes);
            for (pid, start) in dead {
                self.yard.oracle.borrow_mut().process_ended(machine, pid, start);
            }
            kernel.trace.note(at, machine, "the power fails");
            if kernel.written.is_some() {
                // What was put in place and not told to anybody yet may be gone.
                kernel.written = Some(Vec::new());
                let tasks = Layout::new(&kernel.machines[machine].state).tasks();
                self.yard.oracle.borrow_mut().reread(at, &kernel.machines[machine].disk.files_below(&tasks));
            }
        }
        self.dice.draw();
        self.pending.push((at + span, After::PowerBack(machine)));
        self.without_network(at, machine, span);
    }

    /// A machine that wakes up or starts works before it has found its network again.
    fn without_network(&mut self, at: Micros, machine: usize, span: Micros) {
        let offline = self.yard.plan.offline;
        if offline > 0 {
            self.kernel.borrow_mut().machines[machine].link = Link::Cut;
            self.pending.push((at + span + self.dice.below(offline), After::LinkUp(machine)));
        }
    }

    fn suspend(&mut self, at: Micros, machine: usize, span: Micros) {
        {
            let machine = &mut self.kernel.borrow_mut().machines[machine];
            if !machine.up || at < machine.clocks.asleep_until {
                return;
            }
            machine.clocks.suspend(at, span);
        }
        for fiber in self.fibers.running().filter(|fiber| fiber.machine == machine) {
            fiber.stop_until(at + span);
        }
        self.without_network(at, machine, span);
        let kernel = &mut *self.kernel.borrow_mut();
        kernel.probes.hit("a machine was suspended");
        kernel.trace.note(at, machine, "is suspended");
    }

    fn stop_or_kill(&mut self, at: Micros, kill: bool, span: Micros) {
        let running: Vec<_> = self.fibers.running().cloned().collect();
        if running.is_empty() {
            return;
        }
        let fiber = self.dice.pick(&running);
        if kill {
            fiber.doom();
            self.kernel.borrow_mut().probes.hit("a process was killed");
        } else {
            fiber.stop_until(at + span);
            self.kernel.borrow_mut().probes.hit("a process was stopped");
        }
    }

    fn step_clock(&mut self, machine: usize) {
        let kernel = &mut *self.kernel.borrow_mut();
        kernel.probes.hit("a clock stepped");
        let step = if self.dice.chance(0.1) { 86_400_000 } else { 300_000 };
        let by = self.dice.between(0, 2 * step) as i64 - step as i64;
        kernel.machines[machine].clocks.wall_offset_ms += by;
        kernel.machines[machine].stepped = kernel.now;
    }

    /// Somebody edits a file with a program that knows nothing of orch, well or badly, or removes it.
    fn touch_a_file(&mut self, at: Micros, machine: usize, remove: bool) {
        let kernel = &mut *self.kernel.borrow_mut();
        if !kernel.machines[machine].up {
            return;
        }
        let tasks = Layout::new(&kernel.machines[machine].state).tasks();
        let files = kernel.machines[machine].disk.files_below(&tasks);
        let files: Vec<_> =
            files.into_iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "yaml")).collect();
        if files.is_empty() {
            return;
        }
        let (path, bytes) = self.dice.pick(&files).clone();
        // Who has broken a file mends it before touching it again: what is put back later is what was there before.
        let broken = |(_, after): &(Micros, After)| matches!(after, After::Repaired(broken) if broken.machine == machine && broken.path == path);
        if self.pending.iter().any(broken) {
            return;
        }
        let at_ns = kernel.machines[machine].clocks.wall_ms(kernel.now) * 1_000_000;
        if remove {
            // What nobody else has yet is lost with its only file, and no program can help it.
            if !self.yard.oracle.borrow().has_all_of(&bytes) {
                return;
            }
            kernel.probes.hit("a file was removed by hand");
            kernel.trace.note(at, machine, &format!("{} is removed by hand", path.display()));
            let _ = kernel.machines[machine].disk.remove(&path, at_ns);
            return;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if self.dice.chance(0.3) {
            kernel.probes.hit("a broken hand edit was made");
            kernel.trace.note(at, machine, &format!("{} is broken by hand", path.display()));
            let cut = self.dice.below(bytes.len() as u64 + 1) as usize;
            let (before, left) = (bytes.to_vec(), bytes[..cut].to_vec());
            write_by_hand(&mut kernel.machines[machine].disk, &path, left.clone(), at_ns);
            let repaired = at + self.dice.between(MINUTE, 30 * MINUTE);
            self.pending.push((repaired, After::Repaired(BrokenFile { machine, path, before, left })));
            return;
        }
        kernel.probes.hit("a hand edit was made");
        kernel.trace.note(at, machine, &format!("{} is edited by hand", path.display()));
        let word = format!("title: edited by hand {}", self.dice.below(1000));
        let lines: Vec<String> = text
            .lines()
            .map(|line| if line.starts_with("title: ") { word.clone() } else { line.to_owned() })
            .collect();
        let after = format!("{}\n", lines.join("\n")).into_bytes();
        write_by_hand(&mut kernel.machines[machine].disk, &path, after.clone(), at_ns);
        self.edits.push((machine, path, bytes.to_vec(), after));
    }
}

/// Writes as an editor does that changes files in place and syncs them.
pub(super) fn write_by_hand(disk: &mut DiskImage, path: &Path, bytes: Vec<u8>, at_ns: i64) {
    if disk.overwrite(path, bytes, at_ns).is_ok() {
        let _ = disk.sync_file(path);
    }
}
