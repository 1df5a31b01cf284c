//! What this machine has seen and holds, on its own clocks: never shared, kept outside the index because
//! it cannot be derived from anything.

use std::path::PathBuf;
use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::protocol::lease::Sighting;
use crate::world::World;

use super::error::StoreError;
use super::tasks::Store;

const LIMIT: u64 = 4096;

/// A lease that a session of this machine holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The session.
    pub session: String,
    /// The epoch.
    pub epoch: u64,
    /// Suspend-counting time of the moment before the last accepted renewal was sent.
    pub sent: Duration,
    /// How long a renewal lasts.
    pub ttl: Duration,
    /// Boot in which that clock ran.
    pub boot: String,
}

impl Store {
    fn fact(&self, id: &TaskId, kind: &str) -> PathBuf {
        self.layout.observations().join(format!("{}.{kind}", id.folded()))
    }

    /// Remembers the last accepted renewal of a lease of this machine.
    ///
    /// # Errors
    /// The disk says no.
    pub fn remember_held(&self, world: &World, id: &TaskId, held: &Held) -> Result<(), StoreError> {
        let text = format!(
            "{}\n{}\n{}\n{}\n{}\n",
            held.epoch,
            held.sent.as_nanos(),
            held.ttl.as_millis(),
            held.boot,
            held.session
        );
        self.write_local(world, &self.fact(id, "held"), text.as_bytes())
    }

    /// The last accepted renewal of a lease of this machine.
    #[must_use]
    pub fn held(&self, world: &World, id: &TaskId) -> Option<Held> {
        let bytes = world.disk.read(&self.fact(id, "held"), LIMIT).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let mut lines = text.lines();
        Some(Held {
            epoch: lines.next()?.parse().ok()?,
            sent: Duration::from_nanos(lines.next()?.parse().ok()?),
            ttl: Duration::from_millis(lines.next()?.parse().ok()?),
            boot: lines.next()?.to_owned(),
            session: lines.next()?.to_owned(),
        })
    }

    /// Remembers, durably, an epoch that was seen in a version which is gone, so that it is never handed
    /// out again.
    ///
    /// # Errors
    /// The disk says no.
    pub fn raise_epoch_floor(&self, world: &World, id: &TaskId, epoch: u64) -> Result<(), StoreError> {
        if epoch <= self.epoch_floor(world, id) {
            return Ok(());
        }
        self.write_durable(world, &self.fact(id, "epoch"), format!("{epoch}\n").as_bytes())
    }

    /// The highest epoch that was seen in versions which are gone; 0 if there are none.
    #[must_use]
    pub fn epoch_floor(&self, world: &World, id: &TaskId) -> u64 {
        let bytes = world.disk.read(&self.fact(id, "epoch"), LIMIT).unwrap_or_default();
        String::from_utf8_lossy(&bytes).trim().parse().unwrap_or(0)
    }

    /// Remembers the first sight of the present state of a lease.
    ///
    /// # Errors
    /// The disk says no.
    pub fn remember_sighting(
        &self,
        world: &World,
        id: &TaskId,
        sighting: &Sighting,
    ) -> Result<(), StoreError> {
        let text = format!("{}\n{}\n{}\n", sighting.since.as_nanos(), sighting.boot, sighting.token);
        self.write_local(world, &self.fact(id, "seen"), text.as_bytes())
    }

    /// The first sight of the state of a lease that was last looked at.
    #[must_use]
    pub fn sighting(&self, world: &World, id: &TaskId) -> Option<Sighting> {
        let bytes = world.disk.read(&self.fact(id, "seen"), LIMIT).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let mut lines = text.lines();
        Some(Sighting {
            since: Duration::from_nanos(lines.next()?.parse().ok()?),
            boot: lines.next()?.to_owned(),
            token: lines.next()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::usecase::doctor::rig::{Rig, id};

    /// A version that is gone may have been older than one that went before it. With a lower floor an epoch would be
    /// handed out a second time, and two holders could not be told apart.
    #[test]
    fn the_floor_of_epochs_never_falls() {
        let rig = Rig::alone();
        let q = rig.machine("a");
        for (seen, floor) in [(5, 5), (3, 5), (5, 5), (6, 6)] {
            q.store.raise_epoch_floor(&q.world, &id("T-1"), seen).unwrap();
            assert_eq!(q.store.epoch_floor(&q.world, &id("T-1")), floor, "after {seen}");
        }
    }
}
