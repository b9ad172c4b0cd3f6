//! One volume on one node: the face that drivers see.

use super::config::VolumeConfig;
use super::io::{Effects, Event};
use crate::member::io::{ReplicaReport, View, VolumeProgress};
use crate::meta::PageBytes;
use crate::meta::recovered::{Bits, Recovered};
use crate::record::VolumeRecord;
use crate::types::{Incarnation, Index, Lease, NodeId, Term, Time};

/// One volume on one node: gateway for this node's clients, and replica and primary where the node
/// has a store for it.
pub struct Volume {
    config: VolumeConfig,
    store: Option<Recovered>,
}

impl Volume {
    /// A volume at the start of the daemon. `store` is this node's replica, if it has one.
    #[must_use]
    pub fn new(config: VolumeConfig, store: Option<Recovered>, _now: Time) -> Self {
        Self { config, store }
    }

    /// Something has happened.
    pub fn step(&mut self, _now: Time, _event: Event, _out: &mut Effects) {}

    /// A newer record of this volume has been committed. Every one is told, in order.
    pub fn set_record(&mut self, _now: Time, _record: &VolumeRecord, _out: &mut Effects) {}

    /// A newer view.
    pub fn set_view(&mut self, _now: Time, _view: &View, _out: &mut Effects) {}

    /// This node has a new incarnation: what was granted to the old one is over.
    pub fn set_incarnation(&mut self, _now: Time, incarnation: Incarnation, _out: &mut Effects) {
        self.config.incarnation = incarnation;
    }

    /// A person asks the primary to hand the volume over, to `prefer` if that is possible. Without
    /// effect on a node that is not primary.
    pub fn demote(&mut self, _now: Time, _prefer: Option<NodeId>, _out: &mut Effects) {}

    /// Releases the answers that the lease covers. `lease` and `now` are read after the last event
    /// that was given to `step`, in this order.
    pub fn settle(&mut self, _now: Time, _lease: Lease, _out: &mut Effects) {}

    /// When `Event::Tick` is due.
    #[must_use]
    pub fn deadline(&self) -> Time {
        Time::MAX
    }

    /// How many pieces of requests may be given to `step` now.
    #[must_use]
    pub fn room(&self) -> usize {
        0
    }

    /// The bytes of a metadata page that is being written (`DiskOp::Meta`).
    #[must_use]
    pub fn page(&self, _page: u32) -> &PageBytes {
        &[0; 4096]
    }

    /// What the core should know of this node's replica; none where it has no store.
    #[must_use]
    pub fn report(&self) -> Option<ReplicaReport> {
        let store = self.store.as_ref()?;
        Some(ReplicaReport {
            volume: self.config.id,
            store: store.store,
            term: store.term,
            seq: store.seq,
            failed: false,
        })
    }

    /// What the primary tells everyone; none on a node that is not primary.
    #[must_use]
    pub fn progress(&self, _now: Time) -> Option<VolumeProgress> {
        None
    }

    /// Whether nothing is in flight: no request, disk operation or answer.
    #[must_use]
    pub fn at_rest(&self) -> bool {
        true
    }

    /// The term that this node serves, if it does: for status and oracles.
    #[must_use]
    pub fn serving(&self) -> Option<Term> {
        None
    }

    /// Whether the region's intent is active here: for oracles.
    #[must_use]
    pub fn is_active(&self, _region: u32) -> bool {
        false
    }

    /// Whether the region has ever been written here: for oracles.
    #[must_use]
    pub fn is_written(&self, _region: u32) -> bool {
        false
    }

    /// The bitmap of what `replica` misses, and the entry since when: for oracles.
    #[must_use]
    pub fn dirty(&self, _replica: NodeId) -> Option<(Index, &Bits)> {
        None
    }
}
