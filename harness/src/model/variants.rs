//! The guards of the procedure, each of which can be left out to see that the search notices.

use super::Bound;

/// What the machines' procedure is careful about. [`Guards::default`] is what the program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guards {
    /// The branch is read again after a claim's push was accepted.
    pub read_after_claim: bool,
    /// The same after the swap of an operator or a watchdog.
    pub read_after_operator: bool,
    /// An answer that never came is resolved by reading the ref.
    pub resolve_unknown: bool,
    /// A holder's act names the object that it replaces.
    pub holder_compares: bool,
    /// A watchdog's recovery names the object that it judged.
    pub watchdog_compares: bool,
    /// An operator's change of status goes to the lease ref, not to the branch.
    pub status_on_lease: bool,
    /// The branch is pushed before the lease ref is deleted.
    pub fold_first: bool,
    /// The deletion after a fold names the object that was folded.
    pub deletion_compares: bool,
    /// A withdrawal names the object that it takes back.
    pub withdrawal_compares: bool,
    /// A swap whose read failed is taken back only while no folder can have begun to fold it.
    pub withdraw_unfolded_only: bool,
    /// A claim that was pushed but never confirmed is doubted before anything is built upon it.
    pub doubt_unconfirmed: bool,
    /// A ref that holds neither what was expected nor our object is a lost race.
    pub moved_is_lost: bool,
    /// A claim reports the lease only if it is the session's own.
    pub own_lease_only: bool,
    /// What the read after a swap brings moves the memory of both refs, not of the lease ref alone.
    pub read_moves_both: bool,
    /// A fetch moves the memory of the branch before that of the lease ref.
    pub branch_memory_first: bool,
    /// What was pushed without an answer is made anew before it is pushed again.
    pub fresh_after_silence: bool,
    /// A claim that is repeated is told only if its lease still stands.
    pub repeat_needs_lease: bool,
}

impl Default for Guards {
    fn default() -> Self {
        Guards {
            read_after_claim: true,
            read_after_operator: true,
            resolve_unknown: true,
            holder_compares: true,
            watchdog_compares: true,
            status_on_lease: true,
            fold_first: true,
            deletion_compares: true,
            withdrawal_compares: true,
            withdraw_unfolded_only: true,
            doubt_unconfirmed: true,
            moved_is_lost: true,
            own_lease_only: true,
            read_moves_both: true,
            branch_memory_first: true,
            fresh_after_silence: true,
            repeat_needs_lease: true,
        }
    }
}

/// The protocol with one guard left out.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is left out.
    pub what: &'static str,
    /// Leaves it out.
    pub leave_out: fn(&mut Guards),
    /// A bound within which the search must notice.
    pub bound: fn() -> Bound,
}

/// Every variant that the search must reject.
pub const VARIANTS: &[Variant] = &[
    Variant {
        name: "no-read-after-claim",
        what: "a claim is told as soon as its push was accepted",
        leave_out: |guards| guards.read_after_claim = false,
        bound: Bound::small,
    },
    Variant {
        name: "no-read-after-operator",
        what: "an operator's swap is told as soon as its push was accepted",
        leave_out: |guards| guards.read_after_operator = false,
        bound: Bound::small,
    },
    Variant {
        name: "lost-answer-is-success",
        what: "an answer that never came counts as accepted",
        leave_out: |guards| guards.resolve_unknown = false,
        bound: Bound::small,
    },
    Variant {
        name: "holder-does-not-compare",
        what: "a holder's act replaces whatever the lease ref holds",
        leave_out: |guards| guards.holder_compares = false,
        bound: Bound::small,
    },
    Variant {
        name: "watchdog-does-not-compare",
        what: "a recovery replaces whatever the lease ref holds",
        leave_out: |guards| guards.watchdog_compares = false,
        bound: Bound::small,
    },
    Variant {
        name: "status-on-branch",
        what: "an operator's change of status goes to the branch, past the lease ref",
        leave_out: |guards| guards.status_on_lease = false,
        bound: Bound::small,
    },
    Variant {
        name: "delete-before-fold",
        what: "the lease ref is deleted before the branch holds what it held",
        leave_out: |guards| guards.fold_first = false,
        bound: Bound::small,
    },
    Variant {
        name: "deletion-does-not-compare",
        what: "after a fold the lease ref is deleted whatever it holds",
        leave_out: |guards| guards.deletion_compares = false,
        bound: Bound::small,
    },
    Variant {
        name: "withdrawal-does-not-compare",
        what: "a withdrawal replaces whatever the lease ref holds",
        leave_out: |guards| guards.withdrawal_compares = false,
        bound: Bound::small,
    },
    Variant {
        name: "ended-is-withdrawn",
        what: "an ended lease ref is taken back when the read after its swap failed, although it may be folded",
        leave_out: |guards| guards.withdraw_unfolded_only = false,
        bound: Bound::small,
    },
    Variant {
        name: "unconfirmed-is-held",
        what: "a claim whose process died before its confirmation is relied upon",
        leave_out: |guards| guards.doubt_unconfirmed = false,
        bound: Bound::small,
    },
    Variant {
        name: "moved-is-accepted",
        what: "a ref that has moved after an unclear push counts as accepted",
        leave_out: |guards| guards.moved_is_lost = false,
        bound: Bound::small,
    },
    Variant {
        name: "any-lease-is-own",
        what: "a claim reports the lease that it finds after its push, whosever it is",
        leave_out: |guards| guards.own_lease_only = false,
        bound: Bound::small,
    },
    Variant {
        name: "read-moves-lease-only",
        what: "the read after a swap moves the memory of the lease ref and leaves that of the branch behind",
        leave_out: |guards| guards.read_moves_both = false,
        bound: || Bound { operator: 0, ..Bound::small() },
    },
    Variant {
        name: "fetch-moves-lease-first",
        what: "a fetch moves the memory of the lease ref before that of the branch",
        leave_out: |guards| guards.branch_memory_first = false,
        bound: || Bound { claimers: 1, claims: 2, faults: 2, operator: 0, ..Bound::small() },
    },
    Variant {
        name: "same-object-again",
        what: "what was pushed without an answer is pushed again as the same object",
        leave_out: |guards| guards.fresh_after_silence = false,
        bound: || Bound { claimers: 1, operator: 2, folders: 2, watchdog: false, ..Bound::small() },
    },
    Variant {
        name: "over-is-repeated",
        what: "a claim is confirmed again although its lease is over, if it stands in the history",
        leave_out: |guards| guards.repeat_needs_lease = false,
        bound: || Bound { claims: 2, operator: 0, takeover: true, ..Bound::small() },
    },
];
