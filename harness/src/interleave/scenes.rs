//! What is explored: a queue in some state, and two or three processes that do one command each.

use super::bound::Bound;
use crate::sim::faults::Broken;

/// How the task `T-1` stands when the processes begin. Every machine has exchanged what there is before that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Ready.
    Ready,
    /// Held by session `a` of the first machine, and the lease lasts.
    Held,
    /// Held by session `a`, long ago: every machine has watched the lease, and it has lapsed for all of them.
    Lapsed,
    /// Session `a` has finished it, and nobody has folded that.
    Finished,
    /// Session `a` has given it back, and nobody has folded that.
    GivenBack,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// `orch claim T-1`.
    Claim,
    /// The whole life of a task in three commands: `orch claim T-1`, `orch done T-1`, `orch sync`.
    Work,
    /// `orch heartbeat T-1`.
    Heartbeat,
    /// `orch done T-1`.
    Done,
    /// One round of the watchdog.
    Watch,
    /// `orch sync`, which folds.
    Sync,
    /// `orch cancel T-1`.
    Cancel,
    /// `orch note T-2`: an edit, which goes to the branch.
    Note,
    /// `orch add`, with an id of its own.
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
    /// Its time stands where the lease still lasted: it was stopped after it had looked at the clock, or its machine's clock is
    /// slower than it may be. Only the register can keep it from harm.
    pub behind: bool,
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
    /// What is explored for every change.
    pub ci: Bound,
    /// What is explored every night.
    pub full: &'static [Bound],
    /// What is explored with the first process harmed at each call.
    pub harmed: Bound,
    /// Answers of which each has to be seen in some execution, or the scenario does not say what it should.
    pub seen: &'static [&'static str],
}

/// What else goes wrong for the first process of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harmed {
    /// Nothing.
    No,
    /// An answer of the remote is lost: each is tried.
    Unanswered,
    /// It is killed: each call is tried.
    Killed,
}

/// A mutant: a scenario in which it must be noticed when a guard is taken away.
#[derive(Debug, Clone, Copy)]
pub struct Mutant {
    /// The guard.
    pub broken: Broken,
    /// Where it is noticed.
    pub scene: &'static str,
    /// What has to happen to the first process as well.
    pub harmed: Harmed,
}

const fn part(machine: usize, session: &'static str, act: Act) -> Part {
    Part { machine, session, act, behind: false }
}

const fn behind(machine: usize, session: &'static str, act: Act) -> Part {
    Part { machine, session, act, behind: true }
}

/// All scenarios.
pub const SCENES: &[Scene] = &[
    Scene {
        name: "claim-claim",
        machines: 2,
        shared: true,
        before: Before::Ready,
        cast: &[part(0, "a", Act::Claim), part(1, "b", Act::Claim)],
        ci: Bound::All,
        full: &[Bound::All],
        harmed: Bound::Within(1),
        seen: &["a told epoch 1; b held", "a held; b told epoch 1"],
    },
    Scene {
        name: "claim-claim-one-clone",
        machines: 1,
        shared: true,
        before: Before::Ready,
        cast: &[part(0, "a", Act::Claim), part(0, "b", Act::Claim)],
        ci: Bound::Within(2),
        full: &[Bound::Within(2), Bound::Exchanges],
        harmed: Bound::Within(0),
        seen: &["a told epoch 1", "b told epoch 1"],
    },
    Scene {
        name: "claim-claim-no-remote",
        machines: 1,
        shared: false,
        before: Before::Ready,
        cast: &[part(0, "a", Act::Claim), part(0, "b", Act::Claim)],
        ci: Bound::Within(2),
        full: &[Bound::All],
        harmed: Bound::Within(0),
        seen: &["a told epoch 1; b held", "a held; b told epoch 1"],
    },
    Scene {
        name: "claim-work",
        machines: 2,
        shared: true,
        before: Before::Ready,
        cast: &[part(0, "a", Act::Claim), part(1, "b", Act::Work)],
        ci: Bound::All,
        full: &[Bound::All],
        harmed: Bound::Within(1),
        seen: &["a told epoch 1", "b exchanged"],
    },
    Scene {
        name: "takeover-takeover",
        machines: 2,
        shared: true,
        before: Before::Lapsed,
        cast: &[part(0, "b", Act::Claim), part(1, "c", Act::Claim)],
        ci: Bound::All,
        full: &[Bound::All],
        harmed: Bound::Within(1),
        seen: &["b told epoch 2", "c told epoch 2"],
    },
    Scene {
        name: "heartbeat-recover",
        machines: 2,
        shared: true,
        before: Before::Lapsed,
        cast: &[behind(0, "a", Act::Heartbeat), part(1, "w", Act::Watch)],
        ci: Bound::All,
        full: &[Bound::All],
        harmed: Bound::Within(1),
        seen: &["a accepted", "w took back 1"],
    },
    Scene {
        name: "heartbeat-recover-one-clone",
        machines: 1,
        shared: true,
        before: Before::Lapsed,
        cast: &[behind(0, "a", Act::Heartbeat), part(0, "w", Act::Watch)],
        ci: Bound::Within(2),
        full: &[Bound::Within(2), Bound::Exchanges],
        harmed: Bound::Within(0),
        seen: &["a accepted", "w took back 1"],
    },
    Scene {
        name: "heartbeat-recover-no-remote",
        machines: 1,
        shared: false,
        before: Before::Lapsed,
        cast: &[behind(0, "a", Act::Heartbeat), part(0, "w", Act::Watch)],
        ci: Bound::Within(2),
        full: &[Bound::All],
        harmed: Bound::Within(0),
        seen: &["a accepted", "w took back 1"],
    },
    Scene {
        name: "done-recover",
        machines: 2,
        shared: true,
        before: Before::Lapsed,
        cast: &[behind(0, "a", Act::Done), part(1, "w", Act::Watch)],
        ci: Bound::All,
        full: &[Bound::All],
        harmed: Bound::Within(1),
        seen: &["a accepted", "w took back 1"],
    },
    Scene {
        name: "done-recover-one-clone",
        machines: 1,
        shared: true,
        before: Before::Lapsed,
        cast: &[behind(0, "a", Act::Done), part(0, "w", Act::Watch)],
        ci: Bound::Within(2),
        full: &[Bound::Within(2)],
        harmed: Bound::Within(0),
        seen: &["a accepted", "w took back 1"],
    },
    Scene {
        name: "done-recover-no-remote",
        machines: 1,
        shared: false,
        before: Before::Lapsed,
        cast: &[behind(0, "a", Act::Done), part(0, "w", Act::Watch)],
        ci: Bound::Within(2),
        full: &[Bound::All],
        harmed: Bound::Within(0),
        seen: &["a accepted", "w took back 1"],
    },
    Scene {
        name: "heartbeat-done",
        machines: 1,
        shared: true,
        before: Before::Held,
        cast: &[part(0, "a", Act::Heartbeat), part(0, "a", Act::Done)],
        ci: Bound::Within(2),
        full: &[Bound::Within(2), Bound::Exchanges],
        harmed: Bound::Within(0),
        seen: &[],
    },
    Scene {
        name: "claim-fold",
        machines: 2,
        shared: true,
        before: Before::GivenBack,
        cast: &[part(0, "b", Act::Claim), part(1, "s", Act::Sync)],
        ci: Bound::All,
        full: &[Bound::All],
        harmed: Bound::Within(1),
        seen: &["b told epoch 2"],
    },
    Scene {
        name: "claim-fold-one-clone",
        machines: 1,
        shared: true,
        before: Before::GivenBack,
        cast: &[part(0, "b", Act::Claim), part(0, "s", Act::Sync)],
        ci: Bound::Within(2),
        full: &[Bound::Within(2), Bound::Exchanges],
        harmed: Bound::Within(0),
        seen: &["b told epoch 2"],
    },
    Scene {
        name: "done-fold",
        machines: 2,
        shared: true,
        before: Before::Held,
        cast: &[part(0, "a", Act::Done), part(1, "s", Act::Sync)],
        ci: Bound::All,
        full: &[Bound::All],
        harmed: Bound::Within(1),
        seen: &["a accepted"],
    },
    Scene {
        name: "done-fold-one-clone",
        machines: 1,
        shared: true,
        before: Before::Held,
        cast: &[part(0, "a", Act::Done), part(0, "s", Act::Sync)],
        ci: Bound::Within(2),
        full: &[Bound::Within(2)],
        harmed: Bound::Within(0),
        seen: &["a accepted"],
    },
    Scene {
        name: "fold-fold",
        machines: 2,
        shared: true,
        before: Before::Finished,
        cast: &[part(0, "s", Act::Sync), part(1, "t", Act::Sync)],
        ci: Bound::All,
        full: &[Bound::All],
        harmed: Bound::Within(1),
        seen: &[],
    },
    Scene {
        name: "cancel-claim",
        machines: 2,
        shared: true,
        before: Before::Ready,
        cast: &[part(0, "o", Act::Cancel), part(1, "b", Act::Claim)],
        ci: Bound::All,
        full: &[Bound::All],
        harmed: Bound::Within(1),
        seen: &["o accepted", "b told"],
    },
    Scene {
        name: "cancel-done",
        machines: 2,
        shared: true,
        before: Before::Held,
        cast: &[part(0, "a", Act::Done), part(1, "o", Act::Cancel)],
        ci: Bound::All,
        full: &[Bound::All],
        harmed: Bound::Within(1),
        seen: &["o accepted", "a accepted"],
    },
    Scene {
        name: "publish-publish",
        machines: 2,
        shared: true,
        before: Before::Ready,
        cast: &[part(0, "a", Act::Note), part(1, "b", Act::Note)],
        ci: Bound::All,
        full: &[Bound::All],
        harmed: Bound::Within(1),
        seen: &["a accepted; b accepted"],
    },
    Scene {
        name: "group-commit",
        machines: 1,
        shared: true,
        before: Before::Ready,
        cast: &[part(0, "a", Act::Note), part(0, "b", Act::Add)],
        ci: Bound::Within(2),
        full: &[Bound::Within(2)],
        harmed: Bound::Within(0),
        seen: &["a accepted; b accepted"],
    },
    Scene {
        name: "claim-claim-claim",
        machines: 3,
        shared: true,
        before: Before::Ready,
        cast: &[part(0, "a", Act::Claim), part(1, "b", Act::Claim), part(2, "c", Act::Claim)],
        ci: Bound::All,
        full: &[Bound::All],
        harmed: Bound::Within(1),
        seen: &["a told epoch 1", "b told epoch 1", "c told epoch 1"],
    },
    Scene {
        name: "claim-claim-claim-one-clone",
        machines: 1,
        shared: true,
        before: Before::Ready,
        cast: &[part(0, "a", Act::Claim), part(0, "b", Act::Claim), part(0, "c", Act::Claim)],
        ci: Bound::Within(1),
        full: &[Bound::Within(2)],
        harmed: Bound::Within(0),
        seen: &["a told epoch 1", "b told epoch 1"],
    },
    Scene {
        name: "claim-claim-cancel",
        machines: 3,
        shared: true,
        before: Before::Ready,
        cast: &[part(0, "a", Act::Claim), part(1, "b", Act::Claim), part(2, "o", Act::Cancel)],
        ci: Bound::Within(2),
        full: &[Bound::Within(2)],
        harmed: Bound::Within(1),
        seen: &["a told epoch 1", "b told epoch 1", "o accepted"],
    },
    Scene {
        name: "group-commit-three",
        machines: 1,
        shared: true,
        before: Before::Ready,
        cast: &[part(0, "a", Act::Note), part(0, "b", Act::Add), part(0, "c", Act::Claim)],
        ci: Bound::Within(1),
        full: &[Bound::Within(2)],
        harmed: Bound::Within(0),
        seen: &["c told epoch 1"],
    },
    Scene {
        name: "claim-fold-cancel",
        machines: 3,
        shared: true,
        before: Before::GivenBack,
        cast: &[part(0, "b", Act::Claim), part(1, "s", Act::Sync), part(2, "o", Act::Cancel)],
        ci: Bound::Within(2),
        full: &[Bound::Within(2)],
        harmed: Bound::Within(1),
        seen: &["b told epoch 2", "o accepted"],
    },
];

const fn mutant(broken: Broken, scene: &'static str, harmed: Harmed) -> Mutant {
    Mutant { broken, scene, harmed }
}

/// All mutants. Not among them, because no scenario misses them: `LeasesHidden` and `UpToDateAccepted` (the read after
/// the push makes up for them), `DeletionIgnored` (refs that stay are litter, which nobody judges here).
pub const MUTANTS: &[Mutant] = &[
    mutant(Broken::PushWithoutCompare, "claim-claim", Harmed::No),
    mutant(Broken::RefusalIgnored, "done-recover", Harmed::No),
    mutant(Broken::LostAnswerIsSuccess, "done-recover", Harmed::Unanswered),
    mutant(Broken::NoReadAfterPush, "claim-work", Harmed::No),
    mutant(Broken::LocksDoNothing, "claim-claim-no-remote", Harmed::No),
    mutant(Broken::WriteInPlace, "claim-claim-no-remote", Harmed::Killed),
    mutant(Broken::FetchBringsNothing, "done-recover", Harmed::No),
];

/// The scenario of that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Scene> {
    SCENES.iter().find(|scene| scene.name == name)
}
