//! What goes wrong and how often, drawn from the seed; and the guards that can be taken away on purpose.

use serde::{Deserialize, Serialize};

use super::dice::Dice;
use super::plan::{Profile, short};

/// How often what goes wrong at a port, as probabilities for one call, and how long things take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Knobs {
    /// A call of the disk is where another process comes in between.
    pub preempt: f64,
    /// A process is killed at a call of the disk.
    pub kill_at_disk: f64,
    /// A process is killed at a call of the remote.
    pub kill_at_remote: f64,
    /// A call of the disk fails (once).
    pub disk_error: f64,
    /// A call of the remote is lost before it arrives.
    pub lost: f64,
    /// The answer of the remote is lost.
    pub unanswered: f64,
    /// A push that was lost arrives later.
    pub late: f64,
    /// A push is delivered twice; the second answer counts.
    pub twice: f64,
    /// Shortest and longest way to the remote, in microseconds.
    pub latency: (u64, u64),
}

impl Knobs {
    /// Nothing goes wrong.
    #[must_use]
    pub fn calm() -> Self {
        Knobs {
            preempt: 0.02,
            kill_at_disk: 0.0,
            kill_at_remote: 0.0,
            disk_error: 0.0,
            lost: 0.0,
            unanswered: 0.0,
            late: 0.0,
            twice: 0.0,
            latency: (5_000, 60_000),
        }
    }

    /// A mix of its own for each seed: most faults are absent in most runs, so that those that are there meet
    /// each other undisturbed.
    #[must_use]
    pub fn swarm(dice: &mut Dice) -> Self {
        let mut some =
            |most: f64| if dice.chance(0.5) { short(dice.unit() * dice.unit() * most) } else { 0.0 };
        let mut knobs = Knobs {
            preempt: short(0.01 + some(0.2)),
            kill_at_disk: some(0.002),
            kill_at_remote: some(0.05),
            disk_error: some(0.002),
            lost: some(0.3),
            unanswered: some(0.3),
            late: some(0.8),
            twice: some(0.1),
            latency: (1_000, 10_000),
        };
        knobs.latency.1 = *dice.pick(&[10_000, 60_000, 400_000, 3_000_000]);
        knobs
    }
}

/// A guard that is taken away, to see that the simulation notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Broken {
    /// The remote takes a push whatever the ref holds.
    PushWithoutCompare,
    /// A refused push is reported as accepted.
    RefusalIgnored,
    /// A push without an answer is reported as accepted.
    LostAnswerIsSuccess,
    /// "Up to date" (our object is there already) is taken for a push that moved the ref.
    UpToDateAccepted,
    /// Listings after a push show the refs of before it.
    NoReadAfterPush,
    /// `fsync` of a directory does nothing.
    NoDirectorySync,
    /// `fsync` of a file does nothing.
    NoFileSync,
    /// Files are written in place instead of renamed.
    WriteInPlace,
    /// Advisory locks are always granted.
    LocksDoNothing,
    /// The monotonic clock is the wall clock.
    WallClockForLeases,
    /// The observer's clock counts suspension.
    ObserverCountsSuspension,
    /// The holder's clock stops during suspension.
    HolderForgetsSuspension,
    /// The clock of a holder runs at half speed, beyond the drift that is allowed for.
    HolderClockSlow,
    /// Process numbers are taken for identities: start times are equal.
    PidIsIdentity,
    /// Every process is thought to be dead.
    EverybodyIsDead,
    /// Randomness repeats itself in every process: operations of different sessions share their ids.
    DiceRepeat,
    /// A fetch says that it brought everything, and brought nothing.
    FetchBringsNothing,
    /// A listing leaves out lease refs.
    LeasesHidden,
    /// Deleting a ref succeeds without being done.
    DeletionIgnored,
    /// Local refs are swapped without comparing.
    LocalSwapBlind,
    /// A directory that cannot be listed is reported as empty.
    UnreadableIsEmpty,
    /// Reading a file gives the first half of it when the disk fails.
    HalfRead,
    /// A new boot has the identity of the old one.
    BootIdStays,
    /// The time limit of a step on the network is not kept.
    LimitIgnored,
    /// The locks of a killed process stay.
    LockOutlivesHolder,
    /// A disk that is full takes the first half of a file and says that all is well.
    ShortWrite,
    /// A supervisor does not end its program when the lease is over.
    FenceIgnored,
    /// A program goes on when its worker was killed.
    TreeOutlivesWorker,
    /// What the branch of the remote holds is taken for a descendant of whatever was known: a branch that was forced back
    /// is followed.
    RewindFollowed,
}

impl Broken {
    /// Those that the simulation notices.
    pub const NOTICED: [Broken; 24] = [
        Broken::PushWithoutCompare,
        Broken::RefusalIgnored,
        Broken::LostAnswerIsSuccess,
        Broken::NoReadAfterPush,
        Broken::NoDirectorySync,
        Broken::NoFileSync,
        Broken::WriteInPlace,
        Broken::WallClockForLeases,
        Broken::PidIsIdentity,
        Broken::FetchBringsNothing,
        Broken::LeasesHidden,
        Broken::LocksDoNothing,
        Broken::HolderForgetsSuspension,
        Broken::HolderClockSlow,
        Broken::EverybodyIsDead,
        Broken::DeletionIgnored,
        Broken::ObserverCountsSuspension,
        Broken::DiceRepeat,
        Broken::LimitIgnored,
        Broken::LockOutlivesHolder,
        Broken::ShortWrite,
        Broken::FenceIgnored,
        Broken::TreeOutlivesWorker,
        Broken::RewindFollowed,
    ];

    /// Those that take too many seeds: a debt of the load. A plan of the corpus shows each.
    pub const UNNOTICED: [Broken; 1] = [Broken::BootIdStays];

    /// Those behind which another guard stands, so that they do no harm by themselves: objects are never the same
    /// because operations have random ids and name their session; local refs are swapped under a lock only; a
    /// directory that seems empty is no deletion, and half of a file has no seal.
    pub const HARMLESS: [Broken; 4] =
        [Broken::UpToDateAccepted, Broken::LocalSwapBlind, Broken::UnreadableIsEmpty, Broken::HalfRead];

    /// All of them.
    pub fn all() -> impl Iterator<Item = Broken> {
        Broken::NOTICED.into_iter().chain(Broken::UNNOTICED).chain(Broken::HARMLESS)
    }

    /// Its name, as the command line takes it.
    #[must_use]
    pub fn name(self) -> String {
        let value = serde_json::to_value(self).ok();
        value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Seeds within which it has to be noticed.
    #[must_use]
    pub fn within(self) -> u64 {
        match self {
            Broken::PushWithoutCompare
            | Broken::RefusalIgnored
            | Broken::LostAnswerIsSuccess
            | Broken::NoReadAfterPush
            | Broken::FetchBringsNothing
            | Broken::LeasesHidden
            | Broken::LockOutlivesHolder
            | Broken::LimitIgnored
            | Broken::EverybodyIsDead => 5,
            Broken::BootIdStays
            | Broken::RewindFollowed
            | Broken::DiceRepeat
            | Broken::ObserverCountsSuspension => 60,
            _ => 20,
        }
    }

    /// Where it does harm: most guards need several machines; where there is no remote, safety rests on locks and files.
    #[must_use]
    pub fn profile(self) -> Profile {
        match self {
            Broken::LocksDoNothing
            | Broken::LockOutlivesHolder
            | Broken::NoDirectorySync
            | Broken::NoFileSync
            | Broken::WriteInPlace
            | Broken::ShortWrite
            | Broken::WallClockForLeases
            | Broken::ObserverCountsSuspension
            | Broken::HolderForgetsSuspension
            | Broken::HolderClockSlow
            | Broken::BootIdStays => Profile::Local,
            Broken::FenceIgnored | Broken::TreeOutlivesWorker => Profile::Workers,
            _ => Profile::Short,
        }
    }
}
