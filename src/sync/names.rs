//! Names of refs, on the remote and here.

use crate::protocol::id::TaskId;

/// Where the last known remote branch is remembered locally.
pub const TRACKING_BRANCH: &str = "refs/orch/remote/branch";
/// Where the last known lease refs are remembered locally.
pub const TRACKING_LEASES: &str = "refs/orch/remote/leases/";
/// Where a fetch puts objects before they were looked at.
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
}

impl Names {
    /// Names for a branch; `branches` uses `refs/heads/orch-leases/` for hosts that refuse `refs/orch/`.
    #[must_use]
    pub fn new(branch: &str, branches: bool) -> Self {
        let leases = if branches { "refs/heads/orch-leases/" } else { "refs/orch/leases/" };
        Names { branch: format!("refs/heads/{branch}"), leases: leases.to_owned() }
    }

    /// The lease ref of a task on the remote.
    #[must_use]
    pub fn lease(&self, id: &TaskId) -> String {
        format!("{}{id}", self.leases)
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
