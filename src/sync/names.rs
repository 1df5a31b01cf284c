//! Names of refs, on the remote and here.

use crate::protocol::id::TaskId;

/// Where the last known remote branch is remembered locally.
pub const TRACKING_BRANCH: &str = "refs/orch/remote/branch";
/// Where the last known lease refs are remembered locally.
pub const TRACKING_LEASES: &str = "refs/orch/remote/leases/";
/// Where a fetch puts objects before they were looked at.
pub const INCOMING: &str = "refs/orch/incoming/";
/// The branch in there.
pub const INCOMING_BRANCH: &str = "refs/orch/incoming/branch";
/// Where fetched lease refs land; removed when the remote has them no more.
pub const INCOMING_LEASES: &str = "refs/orch/incoming/leases/";

/// The branch whose queue has the short names of lease refs.
const USUAL_BRANCH: &str = "orch-state";

/// The names in use for one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// State branch, the same name here and on the remote: `refs/heads/orch-state`.
    pub branch: String,
    /// Prefix of lease refs on the remote, ending in `/`.
    pub leases: String,
    /// Their prefix under the other setting of `sync.lease_refs`.
    pub leases_elsewhere: String,
}

/// Where the leases of the queue on a branch stand, ending in `/`.
///
/// One remote may hold several queues, each on a branch of its own, and their tasks may have the same ids. So each has a
/// place of its own. The usual branch keeps the short one, which is the one in the contract.
fn place(branch: &str, branches: bool) -> String {
    match (branch == USUAL_BRANCH, branches) {
        (true, false) => "refs/orch/leases/".to_owned(),
        (true, true) => "refs/heads/orch-leases/".to_owned(),
        (false, false) => format!("refs/orch/queues/{branch}/leases/"),
        (false, true) => format!("refs/heads/orch-queues/{branch}/leases/"),
    }
}

/// A test ref of a machine, of the kind that leases have; never where anybody looks for leases.
#[must_use]
pub fn probe(branches: bool, name: &str) -> String {
    format!("{}{name}", if branches { "refs/heads/orch-probe/" } else { "refs/orch/probe/" })
}

impl Names {
    /// Names for a branch; `branches` puts leases below `refs/heads/`, for hosts that refuse `refs/orch/`.
    #[must_use]
    pub fn new(branch: &str, branches: bool) -> Self {
        Names {
            branch: format!("refs/heads/{branch}"),
            leases: place(branch, branches),
            leases_elsewhere: place(branch, !branches),
        }
    }

    /// The lease ref of a task on the remote.
    #[must_use]
    pub fn lease(&self, id: &TaskId) -> String {
        format!("{}{id}", self.leases)
    }

    /// Where a machine with the other setting has the lease ref of a task.
    #[must_use]
    pub fn lease_elsewhere(&self, id: &TaskId) -> String {
        format!("{}{id}", self.leases_elsewhere)
    }

    /// Which task a remote ref is the lease of; `None` for other refs and for names that are no task id.
    #[must_use]
    pub fn leased(&self, name: &str) -> Option<TaskId> {
        TaskId::parse(name.strip_prefix(&self.leases)?).ok()
    }
}

/// The local memory of a lease ref.
#[must_use]
pub fn tracking_lease(id: &TaskId) -> String {
    format!("{TRACKING_LEASES}{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The short names stand in the contract and on remotes that are in use.
    #[test]
    fn the_usual_branch_keeps_its_names_and_others_have_their_own() {
        let names = Names::new("orch-state", false);
        assert_eq!(names.leases, "refs/orch/leases/");
        assert_eq!(names.leases_elsewhere, "refs/heads/orch-leases/");
        let names = Names::new("team/q1", true);
        assert_eq!(names.leases, "refs/heads/orch-queues/team/q1/leases/");
        assert_eq!(names.leases_elsewhere, "refs/orch/queues/team/q1/leases/");
    }

    /// Two queues on one remote deleted each other's leases, because both had them at `refs/orch/leases/`.
    #[test]
    fn no_queue_takes_the_lease_of_another_for_its_own() {
        let id = TaskId::parse("T-1").unwrap();
        let branches = ["orch-state", "q", "q/leases", "q/leases/T-1", "orch", "orch/leases"];
        for (a, b) in branches.iter().flat_map(|a| branches.iter().map(move |b| (a, b))) {
            for (at, bt) in [(false, false), (false, true), (true, true)] {
                let (mine, theirs) = (Names::new(a, at), Names::new(b, bt));
                let found = mine.leased(&theirs.lease(&id));
                assert_eq!(found.is_some(), a == b && at == bt, "{a} {b}");
            }
        }
        for branches in [false, true] {
            assert_eq!(Names::new("orch-state", branches).leased(&probe(branches, "m-1")), None);
        }
    }
}
