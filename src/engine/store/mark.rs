//! Bitmaps of absent replicas: when they begin, what they begin with, when they end.

use super::Store;
use crate::engine::io::Effects;
use crate::types::{BLOCK, Extent, Index, NodeId, REGION_BLOCKS};

/// What a bitmap begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Begin {
    /// Everything that this replica holds above stable; all active regions if that is not known
    /// exactly.
    Unstable,
    /// Every region that was ever written: the replica holds nothing of use.
    Written,
    /// Nothing: it is handed over, `handed_over` ends it.
    Empty,
}

impl Store {
    /// Begins the bitmap of `replica`, absent since `since`, unless there is one of that absence.
    /// `is_marked` tells when it is durable.
    pub fn begin_absent(&mut self, replica: NodeId, since: Index, how: Begin, out: &mut Effects) {
        let known = self
            .bitmaps
            .absent(replica)
            .is_some_and(|absent| absent.since == since && absent.complete);
        if known && how == Begin::Unstable {
            return;
        }
        let Some(slot) = self.bitmaps.begin(replica, since) else {
            panic!("more absent replicas than a volume has");
        };
        self.intents.set_kinds(self.bitmaps.kinds());
        let kind = 1 << slot;
        match how {
            Begin::Unstable if self.canaries.skip_mark_before_ack => {}
            Begin::Unstable => {
                for held in self.unstable.iter() {
                    let region = held.extent.region();
                    let bare = !self.intents.is_active(region);
                    self.bitmaps.mark(kind, held.extent, bare);
                    self.intents.mark(region, kind);
                }
                if !self.unstable.is_exact() {
                    for region in self.intents.regions() {
                        let bare = !self.intents.is_active(region);
                        self.bitmaps.mark_region(kind, region, bare);
                    }
                    self.intents.mark_all(kind);
                }
            }
            Begin::Written => {
                for region in 0..self.bitmaps.written.len as u32 {
                    if self.bitmaps.is_written(region) {
                        self.bitmaps.mark_region(kind, region, true);
                    }
                }
                self.intents.mark_all(kind);
            }
            Begin::Empty => {}
        }
        if let Some(absent) = self.bitmaps.absent_mut(replica) {
            absent.complete = how != Begin::Empty;
        }
        self.bitmaps.queue_bare(kind);
        self.write_pages(out);
        self.name_bitmaps(out);
    }

    /// Marks a run of blocks that was handed over.
    pub fn mark_run(&mut self, replica: NodeId, first: u64, blocks: u64) {
        let Some(slot) = self.bitmaps.slot_of(replica) else {
            return;
        };
        let (mut at, end) = (first, first + blocks);
        while at < end {
            let until = end.min((at / REGION_BLOCKS + 1) * REGION_BLOCKS);
            let extent = Extent {
                offset: at * BLOCK,
                len: ((until - at) * BLOCK) as u32,
            };
            self.bitmaps.mark(1 << slot, extent, true);
            self.intents.mark(extent.region(), 1 << slot);
            at = until;
        }
    }

    /// Marks what an absent replica itself says that it may hold in another way. Its own intents
    /// stand for the bits until they are on disk.
    pub fn mark_reported(&mut self, replica: NodeId, extent: Extent) {
        if let Some(slot) = self.bitmaps.slot_of(replica) {
            self.bitmaps.mark(1 << slot, extent, false);
            self.intents.mark(extent.region(), 1 << slot);
        }
    }

    /// The bitmaps that were begun empty have been handed over; those of other replicas are of an
    /// earlier time.
    pub fn handed_over(&mut self, out: &mut Effects) {
        let mut old = [None; crate::meta::layout::DIRTY_SLOTS];
        for (slot, absent) in self.bitmaps.slots_mut() {
            if absent.complete {
                old[slot] = Some(absent.replica);
            }
            absent.complete = true;
        }
        for replica in old.into_iter().flatten() {
            self.end_absent(replica, out);
        }
        self.bitmaps.queue_bare(self.bitmaps.kinds());
        self.write_pages(out);
        self.name_bitmaps(out);
    }

    /// Gives up the bitmaps whose handing over was cut off: the next one begins anew.
    pub fn give_up_handing_over(&mut self, out: &mut Effects) {
        let mut part = [None; crate::meta::layout::DIRTY_SLOTS];
        for (slot, absent) in self.bitmaps.slots_mut() {
            part[slot] = Some(absent.replica).filter(|_| !absent.complete);
        }
        for replica in part.into_iter().flatten() {
            self.end_absent(replica, out);
        }
    }

    /// The record is of `entry` and has these replicas in sync: gives up the bitmaps of an earlier
    /// absence. That of a new replica (since 0) may be of a later one.
    pub fn end_absences(
        &mut self,
        entry: Index,
        in_sync: impl Iterator<Item = NodeId>,
        out: &mut Effects,
    ) {
        for replica in in_sync {
            let old = |since: Index| since != Index(0) && since <= entry;
            if self.dirty(replica).is_some_and(|dirty| old(dirty.0)) {
                self.end_absent(replica, out);
            }
        }
    }

    /// The replica is in sync again.
    pub fn end_absent(&mut self, replica: NodeId, out: &mut Effects) {
        if self.bitmaps.end(replica) {
            self.want_superblock(out);
        }
        self.intents.set_kinds(self.bitmaps.kinds());
    }

    /// Blocks of an absent replica that are the same as here, durably.
    pub fn clear_dirty(&mut self, replica: NodeId, extent: Extent) -> u64 {
        self.bitmaps.clear(replica, extent)
    }

    /// Whether the bitmap of `replica`, absent since `since`, is durable.
    pub fn is_marked(&self, replica: NodeId, since: Index) -> bool {
        self.bitmaps.absent(replica).is_some_and(|absent| {
            let named = absent.named.is_some_and(|at| self.generation >= at);
            absent.since == since && absent.complete && named
        })
    }

    /// Whether every bitmap is durable.
    pub fn all_marked(&self) -> bool {
        self.bitmaps
            .slots()
            .all(|absent| absent.named.is_some_and(|at| self.generation >= at))
    }

    /// The bitmaps' kinds of the replicas, as bits.
    pub fn kinds(&self, replicas: impl Iterator<Item = NodeId>) -> u16 {
        let mut kinds = 0;
        for replica in replicas {
            if let Some(slot) = self.bitmaps.slot_of(replica) {
                kinds |= 1 << slot;
            }
        }
        kinds
    }

    /// Writes what has changed in the bitmaps, so that less is copied again after a restart.
    pub fn save_bitmaps(&mut self, out: &mut Effects) {
        self.bitmaps.queue_changed();
        self.write_pages(out);
    }

    /// Lets the superblock name the bitmaps whose bare pages are durable.
    pub(super) fn name_bitmaps(&mut self, out: &mut Effects) {
        if self.broken.is_some() {
            return;
        }
        let mut ready = 0_u16;
        for slot in 0..crate::meta::layout::DIRTY_SLOTS {
            if self.bitmaps.slot_durable(slot) {
                ready |= 1 << slot;
            }
        }
        let mut any = false;
        for (slot, absent) in self.bitmaps.slots_mut() {
            if absent.complete && absent.named.is_none() && ready & 1 << slot != 0 {
                absent.named = Some(u64::MAX);
                any = true;
            }
        }
        if any {
            let generation = self.want_superblock(out);
            for (_, absent) in self.bitmaps.slots_mut() {
                if absent.named == Some(u64::MAX) {
                    absent.named = Some(generation);
                }
            }
        }
    }
}
