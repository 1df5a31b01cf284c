//! The queue at a glance: counts, leases, and what a person should know about the sync.

use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::protocol::task::{Progress, Status};
use crate::protocol::time::Timestamp;
use crate::sync::{alarm, rejected};

use super::error::{Error, Result};
use super::queue::Queue;
use super::{around, held};

/// The queue at a glance.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Tasks by status: all seven, in the order in which they are shown.
    pub counts: Vec<(Status, u64)>,
    /// Tasks that wait for nothing but a claim: none while the queue is paused.
    pub ready: u64,
    /// Ended tasks in the archive; they are not among the counts.
    pub archived: u64,
    /// When the ready task that has waited longest was added.
    pub oldest_ready: Option<Timestamp>,
    /// Quarantined task files.
    pub quarantined: u64,
    /// Files below `tasks/` or `archive/` that belong to no task.
    pub strays: u64,
    /// Leases, in the order of lists.
    pub leases: Vec<Held>,
    /// Tasks that hold something that other machines cannot see, or that is not committed yet.
    pub unpublished: u64,
    /// How long ago the remote was looked at; `None` without a remote or if it was not in this boot.
    pub fetch_age: Option<Duration>,
    /// Why nothing can be claimed at all.
    pub paused: Option<String>,
    /// What is wrong with the remote branch.
    pub alarm: Option<String>,
    /// Operations that the register refused.
    pub rejected: u64,
    /// The remote, without credentials.
    pub remote: Option<String>,
    /// The state branch.
    pub branch: String,
    /// This machine's id.
    pub machine: String,
}

/// A task that somebody holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The task.
    pub task: TaskId,
    /// Its title.
    pub title: String,
    /// Who.
    pub session: String,
    /// On which machine.
    pub machine: String,
    /// Whether that is this machine.
    pub here: bool,
    /// In which epoch.
    pub epoch: u64,
    /// Heartbeats in this epoch.
    pub beat: u64,
    /// How far the holder is.
    pub progress: Progress,
    /// When the lease was taken, by the holder's clock.
    pub acquired_at: Timestamp,
    /// When it was last renewed, by the holder's clock.
    pub renewed_at: Timestamp,
    /// When it runs out, by the holder's clock.
    pub expires_at: Timestamp,
    /// Time since the last renewal; exact as the clocks of the two machines agree.
    pub renewed_ago: Duration,
    /// Time left: on this machine by its own clock, else as exact as the clocks agree.
    pub left: Duration,
}

/// Looks at the queue as a whole.
///
/// # Errors
/// Local files or the index cannot be read.
pub fn status(q: &mut Queue) -> Result<Report> {
    let counts = q.store.counts().map_err(|e| Error::from_store(&e))?;
    let paused = paused(q)?;
    let ready = match &paused {
        None => q.store.candidates(q.now(), q.settings.queue.ageing).map_err(|e| Error::from_store(&e))?,
        Some(_) => Vec::new(),
    };
    let refused = rejected::all(&q.cx()).map_err(|e| Error::from_sync(&e))?;
    Ok(Report {
        counts: Status::ALL
            .into_iter()
            .map(|status| (status, counts.by_status.get(&status).copied().unwrap_or(0)))
            .collect(),
        ready: ready.len() as u64,
        archived: counts.archived,
        oldest_ready: ready.iter().map(|candidate| candidate.created_at).min(),
        quarantined: counts.problems,
        strays: q.strays.len() as u64,
        leases: leases(q)?,
        unpublished: q.store.count_unpublished().map_err(|e| Error::from_store(&e))?,
        fetch_age: if q.is_shared() { q.knowledge_age() } else { None },
        paused,
        alarm: alarm::standing(&q.cx()),
        rejected: refused.len() as u64,
        remote: q.world.remote.as_ref().map(|remote| remote.url()),
        branch: q.settings.branch.clone(),
        machine: q.machine.clone(),
    })
}

/// Why nothing can be claimed at all, if so.
///
/// # Errors
/// The index cannot be read.
pub fn paused(q: &Queue) -> Result<Option<String>> {
    around::paused(q)
}

/// Every lease that is known here, in the order of lists.
///
/// # Errors
/// The index cannot be read.
pub fn leases(q: &Queue) -> Result<Vec<Held>> {
    let tasks = q.store.in_progress().map_err(|e| Error::from_store(&e))?;
    let now = q.now();
    Ok(tasks
        .iter()
        .filter_map(|task| {
            let lease = task.lease()?;
            let here = lease.machine == q.machine;
            Some(Held {
                task: task.id().clone(),
                title: task.def().title.clone(),
                session: lease.session.clone(),
                machine: lease.machine.clone(),
                here,
                epoch: lease.epoch,
                beat: lease.beat,
                progress: lease.progress.clone().unwrap_or_default(),
                acquired_at: lease.acquired_at,
                renewed_at: lease.renewed_at,
                expires_at: lease.expires_at,
                renewed_ago: now.since(lease.renewed_at),
                left: if here { held::time_left(q, task, lease) } else { lease.expires_at.since(now) },
            })
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usecase::testing::{Yard, add, claim, file, finish, replace};

    #[test]
    fn the_report_counts_what_is_there() {
        let yard = Yard::local();
        let mut q = yard.queue("a");
        for (name, needs) in [("A", &[][..]), ("B", &["A"]), ("C", &["B"]), ("D", &[]), ("E", &[])] {
            add(&mut q, name, needs);
        }
        finish(&mut q, "A");
        claim(&mut q, "D");
        replace(&file(&q, "E"), "status: pending", "status: done");
        let mut q = yard.queue("a");
        let report = status(&mut q).unwrap();
        let count = |status| report.counts.iter().find(|(s, _)| *s == status).map(|(_, n)| *n);
        assert_eq!(count(Status::Pending), Some(2));
        assert_eq!(count(Status::InProgress), Some(1));
        assert_eq!(count(Status::Done), Some(1));
        assert_eq!(count(Status::Failed), Some(0));
        assert_eq!((report.ready, report.quarantined, report.unpublished), (1, 1, 0));
        let lease = &report.leases[0];
        assert_eq!((lease.task.as_str(), lease.session.as_str(), lease.here), ("D", "agent:a", true));
        assert!(lease.left > Duration::from_secs(800) && lease.left <= Duration::from_secs(900));
        assert_eq!((report.remote, report.fetch_age, report.paused), (None, None, None));
    }

    #[test]
    fn a_shared_queue_tells_how_old_its_knowledge_is_and_who_holds_what_elsewhere() {
        let yard = Yard::shared();
        let mut a = yard.queue("a");
        add(&mut a, "A", &[]);
        claim(&mut a, "A");
        let mut b = yard.queue("b");
        let report = status(&mut b).unwrap();
        assert!(report.fetch_age.is_some() && report.remote.is_some());
        assert_eq!(report.leases.len(), 1);
        assert!(!report.leases[0].here && report.leases[0].session == "agent:a");
        assert_ne!(report.machine, report.leases[0].machine);
    }
}
