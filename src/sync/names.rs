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

const CUSTOM: &str = "refs/orch/leases/";
const BRANCHES: &str = "refs/heads/orch-leases/";

impl Names {
    /// Names for a branch; `branches` uses `refs/heads/orch-leases/` for hosts that refuse `refs/orch/`.
    #[must_use]
    pub fn new(branch: &str, branches: bool) -> Self {
        let (leases, elsewhere) = if branches { (BRANCHES, CUSTOM) } else { (CUSTOM, BRANCHES) };
        Names {
            branch: format!("refs/heads/{branch}"),
            leases: leases.to_owned(),
            leases_elsewhere: elsewhere.to_owned(),
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
