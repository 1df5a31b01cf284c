//! The protocol of SPEC §5 as a model: a search through everything that can happen to one task within a bound.
//!
//! The rules are not modelled. Every decision about a task is taken by the functions that ship
//! ([`orch::protocol::transition::next`], `merge::overlay`, `rebase`, `rebase_acts`, `rebase_without`,
//! `invariant::check`); what is modelled is the world around them: a remote with two refs, machines that each
//! know an older state of it, and the order of the network steps and durable writes of a command.
//!
//! **Who takes part.** Claimers, each a session on a machine of its own, that claim, renew, finish and fail;
//! an operator who cancels, retries and replans from whatever that machine last knew; a watchdog that may call
//! any lease stale at any time (as may a claimer, for a takeover); folders that fold what has ended.
//!
//! **What can go wrong.** Every push may be done, lost, or done and its answer lost; every read may fail;
//! a machine may die before every network step and after every durable write, and comes back with what is
//! durable: its memory of the refs, the task's file, and the note that a claim was confirmed. Faults are
//! counted and bounded ([`Bound::faults`]). With [`Bound::split`] the two refs are not listed at one moment.
//! With [`Bound::late`] a push may arrive after its sender has stopped waiting.
//!
//! **Where each step stands in the program:**
//!
//! | step | the program's code |
//! |---|---|
//! | a command begins; `round` | `usecase/change.rs`: `in_register`, one turn of its loop: `known`, `accepted_before`, `is_ready`, `decide` |
//! | what is decided | `usecase/claim.rs`: `decide`; `usecase/held.rs`: `check`, `ended`; `usecase/operator.rs`; `usecase/watch.rs`: `recover` |
//! | look | `sync/fetch.rs`: `fetch_once`: `moved_leases`, `branch_moves`, `absorb::into_files` |
//! | swap, read after an unclear swap | `sync/register.rs`: `propose`, `swap`, `ref_now`, `accepted` |
//! | read after the swap | `sync/register.rs`: `stands`; `usecase/change.rs`: `settle_swap` |
//! | withdraw | `sync/register.rs`: `withdraw` |
//! | read for a repeated claim | `usecase/change.rs`: `still_stands` |
//! | flush, read after an unclear flush | `sync/publish.rs`: `Draft::register_part`, `push_plan`, `resolve` |
//! | kept here | `usecase/change.rs`: `offline`, `in_file` |
//! | absorb | `sync/absorb.rs`: `merge_in`, `replayed`, `unconfirmed` |
//! | fold: push, read, delete | `sync/publish.rs`: `Draft::fold`, `push_plan`, `branch_accepted`, `deletion` |
//! | told | `usecase/claim.rs`: `claimed`; the report of each other verb |
//!
//! Left out: edits, which decide no status; gates other than the status; local processes that share a push;
//! rewinds of the branch; a holder's deadline (holders act as late as they like, so safety may not rest on it).
//!
//! **What is checked** in every state: SPEC §14, promises 1 to 6, see `search`. Then that the goals can be
//! reached at all, and that from every state, without further faults, the task can still come to rest: the
//! lease ref folded and gone, every command ended, nothing kept, and the task ended or free to be claimed.
//!
//! A search that was cut off proves nothing and does not pass.
//!
//! **What does not hold**, and is off by default: with `split` (refs that are not listed at one moment) and with
//! `late` (a push that arrives after it was sent again) a holder's finish can be acknowledged on a lease ref that
//! is void: the ref seems to have vanished, or comes back, and a holder's act is told without another look at the
//! branch. The program relies on both; epochs still fence, so nothing of another session is overwritten.

mod arena;
mod fold;
mod procedure;
mod promises;
mod search;
mod state;
mod steps;
#[cfg(test)]
mod tests;
mod variants;

pub use search::{Found, Outcome, run};
pub use variants::{Guards, VARIANTS, Variant};

/// How far the search goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Claimers, each on a machine of its own.
    pub claimers: u8,
    /// Claims that each of them may begin.
    pub claims: u8,
    /// Heartbeats that each of them may send.
    pub beats: u8,
    /// Acts of the operator: each may be cancel, retry or replan.
    pub operator: u8,
    /// Whether there is a watchdog. It may fire as often as it likes.
    pub watchdog: bool,
    /// Whether claimers take over what they judge stale.
    pub takeover: bool,
    /// Machines that fold, as often as they like.
    pub folders: u8,
    /// Lost pushes, lost answers, failed reads and crashes in all.
    pub faults: u8,
    /// Whether a holder may also fail or release, not only finish.
    pub all_ends: bool,
    /// Whether the refs of the remote are listed one after the other.
    pub split: bool,
    /// Whether a lost push may arrive later.
    pub late: bool,
    /// States after which the search gives up, and does not pass.
    pub states: usize,
}

impl Bound {
    /// Everybody once: the bound from which the others are made.
    #[must_use]
    pub fn small() -> Bound {
        Bound {
            claimers: 2,
            claims: 1,
            beats: 0,
            operator: 1,
            watchdog: true,
            takeover: false,
            folders: 1,
            faults: 1,
            all_ends: false,
            split: false,
            late: false,
            states: 2_000_000,
        }
    }

    /// What `cargo test` exhausts.
    #[must_use]
    pub fn small_suite() -> Vec<(&'static str, Bound)> {
        let small = Bound::small();
        vec![
            ("claimers", Bound { operator: 0, ..small }),
            ("operator", Bound { claimers: 1, ..small }),
            ("again", Bound { claimers: 1, claims: 2, operator: 0, ..small }),
        ]
    }

    /// What CI exhausts, optimised, in about a minute. All of it at once is more than a minute bears, so each part
    /// leaves something out.
    #[must_use]
    pub fn ci_suite() -> Vec<(&'static str, Bound)> {
        let ci = Bound { folders: 2, states: 20_000_000, ..Bound::small() };
        vec![
            ("claimers", Bound { operator: 0, takeover: true, ..ci }),
            ("operator", Bound { claimers: 1, ..ci }),
            ("together", Bound { folders: 1, faults: 0, ..ci }),
            ("crowd", Bound { watchdog: false, ..ci }),
            ("again", Bound { claimers: 1, claims: 2, beats: 1, operator: 0, faults: 2, folders: 1, ..ci }),
        ]
    }

    /// Everybody at once, with a fault: some 17 million states, 4 GB, minutes.
    #[must_use]
    pub fn full_suite() -> Vec<(&'static str, Bound)> {
        vec![("full", Bound { states: 60_000_000, ..Bound::small() })]
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Bound { claimers, claims, beats, operator, folders, faults, .. } = self;
        write!(
            f,
            "claimers={claimers} claims={claims} beats={beats} operator={operator} folders={folders} "
        )?;
        write!(f, "faults={faults} watchdog={} takeover={} ", self.watchdog, self.takeover)?;
        write!(f, "all-ends={} split={} late={}", self.all_ends, self.split, self.late)
    }
}
