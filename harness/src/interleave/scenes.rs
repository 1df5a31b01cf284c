//! What is explored: a queue in some state, and two or three processes that do one command each.

use super::seat::Harm;
use crate::sim::faults::Broken;

/// How the task stands when the processes begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Ready, known to every machine.
    Ready,
    /// Held by session `a` of the first machine, long ago, and watched by every machine: the lease has lapsed.
    Lapsed,
    /// The same, and the lease still lasts.
    Held,
    /// Finished by session `a`; nobody has folded it yet.
    Finished,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// `orch claim T-1`.
    Claim,
    /// `orch heartbeat T-1`.
    Heartbeat,
    /// `orch done T-1`.
    Done,
    /// One round of the watchdog.
    Watch,
    /// `orch sync`.
    Sync,
    /// `orch cancel T-1`.
    Cancel,
    /// `orch note T-2`: an edit, which goes to the branch.
    Note,
    /// `orch add`.
    Add,
}

/// One process.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// Its machine.
    pub machine: usize,
    /// Its session.
    pub session: &'static str,
    /// What it does.
    pub act: Act,
}

/// One scenario.
#[derive(Debug, Clone, Copy)]
pub struct Scene {
    /// Its name.
    pub name: &'static str,
    /// How many machines, each with a clone of its own.
    pub machines: usize,
    /// Whether there is a remote.
    pub shared: bool,
    /// How the task stands.
    pub before: Before,
    /// Who does what.
    pub cast: &'static [Part],
    /// Answers of which each has to be seen in some execution, or the scenario does not say what it should.
    pub seen: &'static [&'static str],
}

/// A mutant: a scenario in which it must be noticed when a guard is taken away.
#[derive(Debug, Clone, Copy)]
pub struct Mutant {
    /// The guard.
    pub broken: Broken,
    /// Where it is noticed.
    pub scene: &'static str,
    /// What else has to go wrong.
    pub harm: Harm,
}

const fn part(machine: usize, session: &'static str, act: Act) -> Part {
    Part { machine, session, act }
}

/// All scenarios.
pub const SCENES: &[Scene] = &[
    Scene {
        name: "claim-claim",
        machines: 2,
        shared: true,
        before: Before::Ready,
        cast: &[part(0, "a", Act::Claim), part(1, "b", Act::Claim)],
        seen: &["a told", "b told"],
    },
    Scene {
        name: "claim-claim-one-clone",
        machines: 1,
        shared: true,
        before: Before::Ready,
        cast: &[part(0, "a", Act::Claim), part(0, "b", Act::Claim)],
        seen: &["a told", "b told"],
    },
    Scene {
        name: "claim-claim-no-remote",
        machines: 1,
        shared: false,
        before: Before::Ready,
        cast: &[part(0, "a", Act::Claim), part(0, "b", Act::Claim)],
        seen: &["a told", "b told"],
    },
];

/// The scenario of that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Scene> {
    SCENES.iter().find(|scene| scene.name == name)
}
