//! One replica's store as the engine sees it: what is in flight on the disk, the write-intent table,
//! the bitmaps, and what is known about changes that other replicas may miss.
//!
//! Primary and replica use it in the same way: `apply` puts a change on disk (activating its region
//! first), `flush` makes durable, `done` says what has ended. It decides nothing about who may write.
//!
//! Rules kept here:
//! - A change reaches the disk only after the intent of its region is durable.
//! - An intent is cleared only as `Intents` says, and only after the bitmap pages of its region are
//!   durable.
//! - The superblock names a bitmap only after the pages are durable whose bits no intent stands for.
//! - Ring records, and superblocks, are written one at a time; every page by one write at a time.
//! - A store that has failed a flush stays failed, over restarts too: the last thing that is written
//!   to it is a superblock that says so.

mod apply;
mod bitmaps;
mod clearing;
mod compare;
mod failure;
mod intents;
mod mark;
mod meta;
mod page;
#[cfg(test)]
mod tests;

use apply::Apply;
pub(super) use apply::{Job, Owner};
use bitmaps::Bitmaps;
use clearing::Clearing;
pub(super) use compare::Compare;
use failure::FailedMark;
use intents::Intents;
pub(super) use mark::Begin;
use page::Pages;

use super::config::Canaries;
use super::disk::{DiskTable, DiskUse};
use super::io::{Buf, DiskOp, Effect, Effects, Fate, LinkId, Probe};
use super::slab::Slab;
use super::unstable::Unstable;
use super::windows::SessionWindows;
use crate::meta::recovered::{Bits, Layout, Recovered};
use crate::meta::{PageBytes, layout};
use crate::types::{Extent, Index, NodeId, Seq, StoreId, Term, VolumeId};

/// Who asked for a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlushUser {
    /// A round of the primary of this epoch.
    Round { epoch: u32, round: u32 },
    /// A primary, by this link.
    Replica { link: LinkId, id: u32 },
}

/// Something has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// A change is stored, or failed.
    Applied { owner: Owner, errno: u16 },
    /// Data was compared, or could not be read.
    Compared {
        compare: Compare,
        same: bool,
        errno: u16,
    },
    /// A flush has succeeded or failed.
    Flushed { user: FlushUser, errno: u16 },
}

#[derive(Clone, Copy, Debug)]
struct FlushWait {
    user: FlushUser,
    disk: bool,
    errno: u16,
}

/// The store.
#[derive(Clone, Debug)]
pub(super) struct Store {
    pub disk: DiskTable,
    pub done: Vec<Done>,
    pub id: StoreId,
    pub size: u64,
    pub term: Term,
    /// Newest sequence number that was seen.
    pub seq: Seq,
    /// As the ring has it on disk.
    pub seq_proven: Seq,
    /// Every change up to this one is durable on all in-sync replicas.
    pub flushed: Seq,
    clearing: Clearing,
    /// Not in sync, as far as is known: intents that were brought along stay.
    keep_held: bool,
    pub unstable: Unstable,
    pub windows: SessionWindows,
    /// Something failed with this error in this run, or a flush in an earlier one: nothing can be
    /// promised any more.
    pub broken: Option<u16>,
    failed_mark: FailedMark,
    cluster: u128,
    volume: VolumeId,
    node: NodeId,
    layout: Layout,
    canaries: Canaries,
    intents: Intents,
    bitmaps: Bitmaps,
    pages: Pages,
    applies: Slab<Apply>,
    /// Applies that wait for a slot or for a record, oldest first.
    waiting: Vec<u32>,
    /// Bits, by region, of changes that were dropped before they had a slot: set in memory, with no
    /// intent that stands for them. The next change of the region has to.
    unproven: Vec<(u32, u16)>,
    scratch: Vec<u32>,
    flushes: Slab<FlushWait>,
    compares: Slab<Compare>,
    /// Durable superblock generation, the one being written, and the one that is wanted.
    generation: u64,
    generation_writing: Option<u64>,
    generation_wanted: u64,
    record_seq: Seq,
    /// Numbers of the term that is served now are above this one.
    first: Seq,
    clear_all: bool,
    /// Changes wait for a slot that only a flush can free.
    pub starved: bool,
}

impl Store {
    /// From what the store said when it was opened.
    pub fn new(recovered: Recovered, canaries: Canaries) -> Self {
        let regions = layout::regions(recovered.size);
        let blank = recovered.term == Term(0) && recovered.seq == Seq(0);
        let intents = Intents::new(recovered.active, recovered.record, regions);
        let bitmaps = Bitmaps::new(recovered.size, recovered.written, recovered.dirty);
        let mut store = Self {
            disk: DiskTable::new(),
            done: Vec::with_capacity(64),
            id: recovered.store,
            size: recovered.size,
            term: recovered.term,
            seq: recovered.seq,
            seq_proven: recovered.seq,
            flushed: Seq(0),
            clearing: Clearing::Flushed,
            keep_held: true,
            unstable: Unstable::new(blank),
            windows: SessionWindows::new(blank),
            broken: recovered.failed.filter(|_| !canaries.forget_failed_store),
            failed_mark: match recovered.failed {
                Some(_) => FailedMark::Asked,
                None => FailedMark::None,
            },
            cluster: recovered.cluster,
            volume: recovered.volume,
            node: recovered.node,
            layout: recovered.layout,
            canaries,
            intents,
            bitmaps,
            pages: Pages::new(),
            applies: Slab::new(256),
            waiting: Vec::with_capacity(256),
            unproven: Vec::new(),
            scratch: Vec::with_capacity(256),
            flushes: Slab::new(16),
            compares: Slab::new(16),
            generation: recovered.generation,
            generation_writing: None,
            generation_wanted: recovered.generation,
            record_seq: Seq(0),
            first: Seq(0),
            clear_all: false,
            starved: false,
        };
        store.recover_marks();
        store
    }

    /// What the last run may have marked in memory only: all blocks of the active regions.
    fn recover_marks(&mut self) {
        let kinds = self.bitmaps.kinds();
        self.intents.set_kinds(kinds);
        for region in self.intents.regions() {
            self.bitmaps.mark_region(kinds, region, false);
        }
    }

    // What is known of the store.

    /// Bytes of the metadata page that is being written from this buffer.
    pub fn page(&self, page: u32) -> &PageBytes {
        self.pages.bytes(page)
    }

    /// Whether the region has ever been written; it reads as zeroes if not.
    pub fn is_written(&self, region: u32) -> bool {
        self.bitmaps.is_written(region)
    }

    /// Whether the region's intent is durable.
    pub fn is_active(&self, region: u32) -> bool {
        self.intents.is_active(region)
    }

    /// The active regions.
    pub fn active_regions(&self) -> impl Iterator<Item = u32> + '_ {
        self.intents.regions()
    }

    /// How many there are.
    pub fn active(&self) -> usize {
        self.intents.active()
    }

    /// The written regions, one bit each.
    pub fn written(&self) -> &Bits {
        &self.bitmaps.written
    }

    /// What an absent replica misses, and since which entry.
    pub fn dirty(&self, replica: NodeId) -> Option<(Index, &Bits)> {
        let absent = self.bitmaps.absent(replica)?;
        Some((absent.since, &absent.bits))
    }

    /// Whether a change of a region that is not active gets a slot at once.
    pub fn has_room(&self) -> bool {
        self.intents.has_room()
    }

    /// As if the table of intents were so small: for tests.
    #[cfg(test)]
    pub fn narrow(&mut self, limit: usize) {
        self.intents.narrow(limit);
    }

    /// Whether nothing of an earlier primary or link is on the disk's way any more.
    pub fn is_drained(&self) -> bool {
        self.applies.len() == 0 && self.disk.reads() == 0
    }

    /// Whether nothing at all is in flight or wanted.
    pub fn at_rest(&self) -> bool {
        self.disk.len() == 0
            && self.applies.len() == 0
            && self.done.is_empty()
            && self.flushes.len() == 0
            && !self.bitmaps.is_queued()
            && !self.intents.is_busy()
            && self.generation_wanted == self.generation
    }

    // What primary and replica ask for.

    /// A read of whole blocks.
    pub fn read(
        &mut self,
        what: DiskUse,
        extent: Extent,
        probe: Probe,
        fate: Fate,
        out: &mut Effects,
    ) {
        let id = self.disk.begin(what);
        let op = DiskOp::Read {
            extent,
            probe,
            fate,
        };
        out.push(Effect::Disk { id, op });
    }

    /// Everything that has been stored becomes durable, and what proves it.
    pub fn flush(&mut self, user: FlushUser, out: &mut Effects) {
        if let Some(errno) = self.broken {
            self.done.push(Done::Flushed { user, errno });
            return;
        }
        let flush = self.flushes.insert(FlushWait {
            user,
            disk: true,
            errno: 0,
        });
        let id = self.disk.begin(DiskUse::Flush(flush));
        let op = DiskOp::Flush;
        out.push(Effect::Disk { id, op });
    }

    /// Takes the term, durably: `is_durable` tells when.
    pub fn set_term(&mut self, term: Term, out: &mut Effects) -> u64 {
        assert!(term >= self.term, "a term is taken back");
        if term > self.term {
            self.term = term;
            return self.want_superblock(out);
        }
        self.generation_wanted
    }

    /// The newest superblock that was asked for.
    pub fn wanted(&self) -> u64 {
        self.generation_wanted
    }

    /// Whether the superblock that was asked for is durable.
    pub fn is_durable(&self, generation: u64) -> bool {
        self.generation >= generation
    }

    // What the disk says.

    /// A disk operation of the store has ended.
    pub fn disk_ended(&mut self, what: DiskUse, errno: u16, out: &mut Effects) {
        match what {
            DiskUse::Apply(apply) => self.applied(apply, errno),
            DiskUse::Flush(flush) => {
                let wait = self.flushes.at(flush);
                wait.disk = false;
                wait.errno = errno;
                if errno != 0 {
                    self.fail_for_good(errno, out);
                }
                self.end_flushes();
            }
            DiskUse::Superblock => {
                let Some(generation) = self.generation_writing.take() else {
                    panic!("no superblock was being written");
                };
                if errno == 0 {
                    self.generation = generation;
                } else {
                    self.fail(errno, out);
                }
                self.write_superblock(out);
                self.write_failed_mark(out);
            }
            DiskUse::Record => {
                if errno == 0 {
                    self.seq_proven = self.seq_proven.max(self.record_seq);
                    self.intents.end_record();
                    self.start_waiting(out);
                    self.retry_waiting(out);
                } else {
                    self.fail(errno, out);
                }
            }
            // Whether it is there or not, this run knows; and it proves nothing else.
            DiskUse::FailedMark => {}
            DiskUse::Page(buffer) => self.page_ended(buffer, errno, out),
            DiskUse::Read { .. } | DiskUse::Edge { .. } | DiskUse::Compare(_) => {
                unreachable!("a read")
            }
        }
    }

    fn end_flushes(&mut self) {
        for at in 0..self.flushes.end() {
            let Some(wait) = self.flushes.get(at).copied() else {
                continue;
            };
            let failed = self.broken.unwrap_or(wait.errno);
            if !wait.disk {
                self.flushes.remove(at);
                let user = wait.user;
                self.done.push(Done::Flushed {
                    user,
                    errno: failed,
                });
            }
        }
    }
}

/// Releases a buffer, if it is one.
pub(super) fn release(buf: Buf, out: &mut Effects) {
    if buf.is_some() {
        out.push(Effect::Release { buf });
    }
}
