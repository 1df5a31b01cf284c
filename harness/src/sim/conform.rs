//! The simulated seams do what the real ones do: the same statements, tried inside a fiber.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use orch::world::{Clock, Disk, Random, RemoteFailure};

use super::dice::Dice;
use super::faults::Knobs;
use super::fiber::{Fiber, Fibers};
use super::kernel::{Clocks, Forbidden, Kernel, Machine, SECOND, Shared};
use super::ports::Port;
use crate::conformance;
use crate::conformance::disk::DiskPlace;
use crate::conformance::objects::ObjectsPlace;
use crate::conformance::remote::RemotePlace;

fn world() -> Shared {
    let mut kernel = Kernel::new(Dice::new(1), Knobs::calm(), None);
    kernel.now = 100 * SECOND;
    for at in 0..2 {
        let clocks = Clocks::default();
        kernel.machines.push(Machine::new(PathBuf::from(format!("/m{at}/state")), clocks));
    }
    Rc::new(RefCell::new(kernel))
}

/// Runs a body inside a fiber of a new world and gives the statements that failed.
pub(super) fn inside(body: impl Fn(&Shared, &Rc<Fiber>, &Rc<Fiber>) -> Vec<String> + 'static) -> Vec<String> {
    let found: Rc<RefCell<Option<Vec<String>>>> = Rc::default();
    let kernel = world();
    let mut fibers = Fibers::default();
    let (told, shared) = (Rc::clone(&found), Rc::clone(&kernel));
    fibers.start("conform", 0, 0, move |fiber| {
        let elsewhere = Rc::new(fiber.on(1));
        *told.borrow_mut() = Some(body(&shared, &fiber, &elsewhere));
    });
    while fibers.running().next().is_some() {
        fibers.step(&kernel);
    }
    found.borrow_mut().take().expect("the fiber has ended")
}

/// Makes links on the first machine's disk: nothing in the simulated world does, so there is no port for it.
pub(super) fn link(kernel: &Shared) -> impl Fn(&Path, &Path) -> Result<(), String> + use<> {
    let kernel = Rc::clone(kernel);
    move |to, at| {
        let made = kernel.borrow_mut().machines[0].disk.create_link(at, to, 0);
        made.map_err(|error| error.to_string())
    }
}

#[track_caller]
pub(super) fn assert_conforms(failed: &[String]) {
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn the_simulated_clock_and_dice_conform() {
    assert_conforms(&inside(|kernel, fiber, _| {
        let mut failed = conformance::clock::clock(&|| Box::new(Port::new(kernel, fiber)) as Box<dyn Clock>);
        failed.extend(conformance::clock::random(&|| Box::new(Port::new(kernel, fiber)) as Box<dyn Random>));
        failed
    }));
}

#[test]
fn the_simulated_disk_conforms() {
    assert_conforms(&inside(|kernel, fiber, _| {
        let number = std::cell::Cell::new(0);
        conformance::disk::disk(&|| {
            number.set(number.get() + 1);
            let root = PathBuf::from(format!("/m0/place-{}", number.get()));
            let port = || Box::new(Port::new(kernel, fiber));
            port().create_dir(&root).expect("a calm disk makes a directory");
            let link = Box::new(link(kernel));
            DiskPlace { disk: port(), other: port(), root, clock: port(), link, keep: Box::new(()) }
        })
    }));
}

#[test]
fn the_simulated_repository_conforms() {
    assert_conforms(&inside(|kernel, fiber, _| {
        conformance::objects::objects(&|| {
            {
                let machine = &mut kernel.borrow_mut().machines[0];
                (machine.repo, machine.packed) = (super::repo::Repo::default(), 0);
            }
            let (objects, other) = (Port::new(kernel, fiber), Port::new(kernel, fiber));
            ObjectsPlace { objects: Box::new(objects), other: Box::new(other), keep: Box::new(()) }
        })
    }));
}

#[test]
fn the_simulated_remote_conforms() {
    assert_conforms(&inside(|kernel, fiber, elsewhere| {
        conformance::remote::remote(&|| {
            {
                let kernel = &mut *kernel.borrow_mut();
                kernel.remote = super::repo::Repo::default();
                kernel.remote_up = true;
                kernel.forbidden = None;
                for machine in &mut kernel.machines {
                    machine.repo = super::repo::Repo::default();
                }
            }
            let machine = |fiber: &Rc<Fiber>| {
                let port = Port::new(kernel, fiber);
                conformance::remote::Machine { remote: Box::new(port.clone()), objects: Box::new(port) }
            };
            let (forbid, vanish) = (Rc::clone(kernel), Rc::clone(kernel));
            RemotePlace {
                a: machine(fiber),
                b: machine(elsewhere),
                forbid: Some(Box::new(move |part| {
                    let rule = Forbidden { part: part.to_owned(), why: "rule 7".to_owned() };
                    forbid.borrow_mut().forbidden = Some(rule);
                })),
                vanish: Some(Box::new(move || {
                    vanish.borrow_mut().remote_up = false;
                    RemoteFailure::Timeout
                })),
                keep: Box::new(()),
            }
        })
    }));
}
