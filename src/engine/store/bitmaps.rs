//! The bitmaps of a store: what each absent replica misses, and which regions were ever written.
//!
//! Pure bookkeeping of bits and of the pages that hold them; `Store` writes the pages.

use std::collections::VecDeque;

use crate::meta::bitmap::{self, REGIONS_PER_DIRTY_PAGE};
use crate::meta::layout::DIRTY_SLOTS;
use crate::meta::recovered::{Bits, DirtySlot};
use crate::meta::{PageBytes, layout};
use crate::types::{BLOCK, Extent, Index, NodeId, REGION_BLOCKS, StoreId};

/// The kind (a bit) of the written-regions pages; bit `i` is the dirty bitmap in slot `i`.
pub(super) const WRITTEN: u16 = 1 << 15;

/// A page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageName {
    /// Of the dirty bitmap in a slot.
    Dirty { slot: u8, page: u32 },
    /// Of the written regions.
    Written { page: u32 },
}

impl PageName {
    /// Its kind, as a bit.
    pub fn kind(self) -> u16 {
        match self {
            Self::Dirty { slot, .. } => 1 << slot,
            Self::Written { .. } => WRITTEN,
        }
    }

    /// The regions that it holds.
    pub fn regions(self) -> std::ops::Range<u32> {
        let (page, each) = match self {
            Self::Dirty { page, .. } => (page, REGIONS_PER_DIRTY_PAGE),
            Self::Written { page } => (page, bitmap::BITS_PER_PAGE as u32),
        };
        page * each..(page + 1).saturating_mul(each)
    }
}

/// What of a page is not on disk.
#[derive(Clone, Copy, Debug, Default)]
struct PageState {
    /// Differs from disk.
    changed: bool,
    writing: bool,
    queued: bool,
    /// Oldest change that no intent stands for, as a version; 0 is none.
    bare: u64,
    /// The same for what is being written.
    bare_writing: u64,
}

/// The bitmap of one absent replica.
#[derive(Clone, Debug)]
pub(super) struct Absent {
    pub replica: NodeId,
    pub since: Index,
    pub bits: Bits,
    /// Complete: the superblock may name it once its bare pages are durable.
    pub complete: bool,
    /// The superblock that names it, if it may.
    pub named: Option<u64>,
}

/// All bitmaps of a store.
#[derive(Clone, Debug)]
pub(super) struct Bitmaps {
    slots: [Option<Absent>; DIRTY_SLOTS],
    dirty: [Vec<PageState>; DIRTY_SLOTS],
    pub written: Bits,
    written_pages: Vec<PageState>,
    queue: VecDeque<PageName>,
    version: u64,
    blocks: u64,
}

impl Bitmaps {
    pub fn new(size: u64, written: Bits, dirty: Vec<Option<DirtySlot>>) -> Self {
        let mut slots: [Option<Absent>; DIRTY_SLOTS] = Default::default();
        for (slot, dirty) in slots.iter_mut().zip(dirty) {
            *slot = dirty.map(|dirty| Absent {
                replica: dirty.replica,
                since: dirty.since,
                bits: dirty.bits,
                complete: true,
                named: Some(0),
            });
        }
        let pages = vec![PageState::default(); bitmap::dirty_pages(size) as usize];
        Self {
            slots,
            dirty: std::array::from_fn(|_| pages.clone()),
            written,
            written_pages: vec![PageState::default(); bitmap::written_pages(size) as usize],
            queue: VecDeque::new(),
            version: 0,
            blocks: layout::blocks(size),
        }
    }

    /// What the superblock says of the slots.
    pub fn names(&self) -> [Option<(NodeId, Index)>; DIRTY_SLOTS] {
        std::array::from_fn(|at| {
            let absent = self.slots[at].as_ref()?;
            absent.named.map(|_| (absent.replica, absent.since))
        })
    }

    /// The slot of a replica.
    pub fn slot_of(&self, replica: NodeId) -> Option<usize> {
        let of = |slot: &Option<Absent>| slot.as_ref().is_some_and(|a| a.replica == replica);
        self.slots.iter().position(of)
    }

    pub fn absent(&self, replica: NodeId) -> Option<&Absent> {
        self.slots[self.slot_of(replica)?].as_ref()
    }

    pub fn absent_mut(&mut self, replica: NodeId) -> Option<&mut Absent> {
        let slot = self.slot_of(replica)?;
        self.slots[slot].as_mut()
    }

    pub fn slots(&self) -> impl Iterator<Item = &Absent> {
        self.slots.iter().flatten()
    }

    pub fn slots_mut(&mut self) -> impl Iterator<Item = (usize, &mut Absent)> {
        (0..)
            .zip(&mut self.slots)
            .filter_map(|(at, slot)| Some((at, slot.as_mut()?)))
    }

    /// Begins an empty bitmap, in place of an older one of that replica. None if there is no slot.
    pub fn begin(&mut self, replica: NodeId, since: Index) -> Option<usize> {
        let slot = self
            .slot_of(replica)
            .or_else(|| self.slots.iter().position(Option::is_none))?;
        self.slots[slot] = Some(Absent {
            replica,
            since,
            bits: Bits::zeroes(self.blocks),
            complete: false,
            named: None,
        });
        for page in &mut self.dirty[slot] {
            // A page of the earlier use that is being written is overwritten or stays stale.
            page.changed = false;
            page.bare = 0;
            page.bare_writing = 0;
        }
        Some(slot)
    }

    /// Ends the bitmap of a replica. Whether there was one that the superblock names.
    pub fn end(&mut self, replica: NodeId) -> bool {
        let Some(slot) = self.slot_of(replica) else {
            return false;
        };
        let absent = self.slots[slot].take();
        for page in &mut self.dirty[slot] {
            page.changed = false;
            page.bare = 0;
            page.bare_writing = 0;
        }
        absent.is_some_and(|absent| absent.named.is_some())
    }

    /// Marks whole blocks as missing in the slots of `kinds`; returns the kinds in which a bit was
    /// new. `bare`: no intent stands for the new bits.
    pub fn mark(&mut self, kinds: u16, extent: Extent, bare: bool) -> u16 {
        let mut turned = 0;
        let first = extent.offset / BLOCK;
        let count = u64::from(extent.len).div_ceil(BLOCK);
        let count = count.min(self.blocks.saturating_sub(first));
        let page = bitmap::dirty_page_of(extent.region());
        for (at, slot) in self.slots.iter_mut().enumerate() {
            if kinds & 1 << at == 0 {
                continue;
            }
            let Some(absent) = slot else { continue };
            if absent.bits.set_range(first, count) > 0 {
                turned |= 1 << at;
                let state = &mut self.dirty[at][page as usize];
                state.changed = true;
                if bare {
                    self.version += 1;
                    state.bare = if state.bare == 0 {
                        self.version
                    } else {
                        state.bare
                    };
                }
            }
        }
        turned
    }

    /// Marks a whole region as missing.
    pub fn mark_region(&mut self, kinds: u16, region: u32, bare: bool) -> u16 {
        let extent = Extent {
            offset: u64::from(region) * REGION_BLOCKS * BLOCK,
            len: (REGION_BLOCKS * BLOCK) as u32,
        };
        self.mark(kinds, extent, bare)
    }

    /// These blocks are not missing any more. On disk they may stay marked.
    pub fn clear(&mut self, replica: NodeId, extent: Extent) -> u64 {
        let Some(slot) = self.slot_of(replica) else {
            return 0;
        };
        let Some(absent) = &mut self.slots[slot] else {
            return 0;
        };
        let cleared = absent
            .bits
            .clear_range(extent.offset / BLOCK, u64::from(extent.len) / BLOCK);
        if cleared > 0 {
            self.dirty[slot][bitmap::dirty_page_of(extent.region()) as usize].changed = true;
        }
        cleared
    }

    pub fn is_written(&self, region: u32) -> bool {
        self.written.get(u64::from(region))
    }

    /// The region has data from now on. Whether that is new.
    pub fn set_written(&mut self, region: u32) -> bool {
        if self.is_written(region) {
            return false;
        }
        self.written.set(u64::from(region));
        self.written_pages[bitmap::written_page_of(region) as usize].changed = true;
        true
    }

    /// Whether all bare changes of a slot are durable.
    pub fn slot_durable(&self, slot: usize) -> bool {
        self.dirty[slot]
            .iter()
            .all(|page| page.is_durable(u64::MAX))
    }

    /// Queues the page of a region for writing.
    pub fn queue_region(&mut self, kinds: u16, region: u32) {
        for slot in 0..DIRTY_SLOTS as u8 {
            if kinds & 1 << slot != 0 {
                let page = bitmap::dirty_page_of(region);
                self.queue(PageName::Dirty { slot, page }, true);
            }
        }
        if kinds & WRITTEN != 0 {
            let page = bitmap::written_page_of(region);
            self.queue(PageName::Written { page }, true);
        }
    }

    /// Queues all pages with bare changes, of the kinds.
    pub fn queue_bare(&mut self, kinds: u16) {
        for slot in 0..DIRTY_SLOTS {
            if kinds & 1 << slot != 0 {
                for page in 0..self.dirty[slot].len() {
                    if self.dirty[slot][page].bare != 0 {
                        let (slot, page) = (slot as u8, page as u32);
                        self.queue(PageName::Dirty { slot, page }, true);
                    }
                }
            }
        }
    }

    /// Queues all changed pages.
    pub fn queue_changed(&mut self) {
        for slot in 0..DIRTY_SLOTS {
            if self.slots[slot].is_some() {
                for page in 0..self.dirty[slot].len() {
                    let (slot, page) = (slot as u8, page as u32);
                    self.queue(PageName::Dirty { slot, page }, false);
                }
            }
        }
        for page in 0..self.written_pages.len() {
            self.queue(PageName::Written { page: page as u32 }, false);
        }
    }

    fn queue(&mut self, name: PageName, always: bool) {
        let state = self.state(name);
        if !state.queued && (always || state.changed) {
            state.queued = true;
            self.queue.push_back(name);
        }
    }

    fn state(&mut self, name: PageName) -> &mut PageState {
        match name {
            PageName::Dirty { slot, page } => &mut self.dirty[usize::from(slot)][page as usize],
            PageName::Written { page } => &mut self.written_pages[page as usize],
        }
    }

    /// The next page to write, encoded; never one that is being written already.
    pub fn next(&mut self, store: StoreId, into: &mut PageBytes) -> Option<PageName> {
        for _ in 0..self.queue.len() {
            let name = self.queue.pop_front()?;
            if self.state(name).writing {
                self.queue.push_back(name);
                continue;
            }
            self.state(name).queued = false;
            match name {
                PageName::Dirty { slot, page } => {
                    // The slot may have been given up since.
                    let Some(absent) = &self.slots[usize::from(slot)] else {
                        continue;
                    };
                    let words = bitmap::page_words(page, absent.bits.words.len());
                    let words = &absent.bits.words[words];
                    bitmap::encode_dirty(store, absent.replica, absent.since, page, words, into);
                }
                PageName::Written { page } => {
                    let words = bitmap::page_words(page, self.written.words.len());
                    bitmap::encode_written(store, page, &self.written.words[words], into);
                }
            }
            let state = self.state(name);
            state.changed = false;
            state.writing = true;
            state.bare_writing = state.bare;
            state.bare = 0;
            return Some(name);
        }
        None
    }

    /// A page is durable.
    pub fn written_page(&mut self, name: PageName) {
        let state = self.state(name);
        assert!(state.writing);
        state.writing = false;
        state.bare_writing = 0;
    }

    /// Whether pages wait to be written.
    pub fn is_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Kinds in use: the slots, and the written regions.
    pub fn kinds(&self) -> u16 {
        let mut kinds = WRITTEN;
        for (at, slot) in self.slots.iter().enumerate() {
            if slot.is_some() {
                kinds |= 1 << at;
            }
        }
        kinds
    }
}

impl PageState {
    fn is_durable(&self, version: u64) -> bool {
        (self.bare == 0 || self.bare > version)
            && (self.bare_writing == 0 || self.bare_writing > version)
    }
}
