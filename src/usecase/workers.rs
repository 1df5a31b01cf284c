//! Who is at work now: leases by holder.

use std::time::Duration;

use super::error::Result;
use super::queue::Queue;
use super::status::{Held, leases};

/// A session with what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Session.
    pub session: String,
    /// Its machine: the same session name elsewhere is somebody else.
    pub machine: String,
    /// Whether that is this machine.
    pub here: bool,
    /// Time since it last renewed any lease.
    pub seen_ago: Duration,
    /// What it holds, in the order of lists.
    pub holds: Vec<Held>,
}

/// Every session that holds a lease, by machine and name.
///
/// # Errors
/// The index cannot be read.
pub fn workers(q: &Queue) -> Result<Vec<Worker>> {
    let mut all: Vec<Worker> = Vec::new();
    for lease in leases(q)? {
        let known = all.iter_mut().find(|w| w.session == lease.session && w.machine == lease.machine);
        match known {
            Some(worker) => {
                worker.seen_ago = worker.seen_ago.min(lease.renewed_ago);
                worker.holds.push(lease);
            }
            None => all.push(Worker {
                session: lease.session.clone(),
                machine: lease.machine.clone(),
                here: lease.here,
                seen_ago: lease.renewed_ago,
                holds: vec![lease],
            }),
        }
    }
    all.sort_by(|a, b| (!a.here, &a.machine, &a.session).cmp(&(!b.here, &b.machine, &b.session)));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usecase::testing::{Yard, add, claim};

    #[test]
    fn leases_are_grouped_by_holder() {
        let yard = Yard::local();
        let mut q = yard.queue("a");
        for name in ["A", "B", "C"] {
            add(&mut q, name, &[]);
        }
        claim(&mut q, "A");
        claim(&mut q, "C");
        q.set_session("agent:other");
        claim(&mut q, "B");
        let found = workers(&q).unwrap();
        let names: Vec<(&str, usize)> = found.iter().map(|w| (w.session.as_str(), w.holds.len())).collect();
        assert_eq!(names, [("agent:a", 2), ("agent:other", 1)]);
        assert!(found.iter().all(|w| w.here));
    }
}
