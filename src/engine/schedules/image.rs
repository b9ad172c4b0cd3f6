//! A store with a volatile cache: what is written is seen at once, and may be lost with the power
//! until it has been flushed.

use std::collections::BTreeMap;

use super::random::Rng;
use crate::meta::{PAGE, PageBytes};

/// The smallest part of a write that is never torn.
pub const SECTOR: usize = 512;

/// Pages by byte offset; a missing one is all zero.
type Pages = BTreeMap<u64, Box<PageBytes>>;

#[derive(Clone, Default)]
pub struct Image {
    pub bytes: u64,
    live: Pages,
    durable: Pages,
    /// Written since they were last made durable.
    dirty: BTreeMap<u64, ()>,
}

/// What a flush makes durable: the pages as they were when it began.
pub struct Flushing(Vec<(u64, Box<PageBytes>)>);

impl Image {
    pub fn new(bytes: u64) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }

    pub fn read(&self, offset: u64, into: &mut [u8]) {
        for (at, part) in into.chunks_mut(PAGE).enumerate() {
            let page = self.live.get(&(offset + (at * PAGE) as u64));
            match page {
                Some(page) => part.copy_from_slice(&page[..part.len()]),
                None => part.fill(0),
            }
        }
    }

    pub fn page(&self, offset: u64) -> PageBytes {
        let mut page = [0; PAGE];
        self.read(offset, &mut page);
        page
    }

    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        assert!(offset.is_multiple_of(PAGE as u64) && bytes.len().is_multiple_of(PAGE));
        assert!(
            offset + bytes.len() as u64 <= self.bytes,
            "beyond the store"
        );
        for (at, part) in bytes.chunks(PAGE).enumerate() {
            let offset = offset + (at * PAGE) as u64;
            self.page_mut(offset).copy_from_slice(part);
        }
    }

    pub fn write_durable(&mut self, offset: u64, page: &PageBytes) {
        self.write(offset, page);
        self.durable.insert(offset, Box::new(*page));
        self.dirty.remove(&offset);
    }

    /// A write that was cut off: each sector has happened or not.
    pub fn write_torn(&mut self, offset: u64, bytes: &[u8], rng: &mut Rng) {
        for (at, part) in bytes.chunks(PAGE).enumerate() {
            let page = self.page_mut(offset + (at * PAGE) as u64);
            for (old, new) in page.chunks_mut(SECTOR).zip(part.chunks(SECTOR)) {
                if rng.once_in(2) {
                    old.copy_from_slice(new);
                }
            }
        }
    }

    pub fn flush_begin(&self) -> Flushing {
        let page = |offset: &u64| (*offset, Box::new(self.page(*offset)));
        Flushing(self.dirty.keys().map(page).collect())
    }

    pub fn flush_end(&mut self, flushing: Flushing) {
        for (offset, page) in flushing.0 {
            if self.live.get(&offset) == Some(&page) {
                self.dirty.remove(&offset);
            }
            self.durable.insert(offset, page);
        }
    }

    /// Each sector that was not flushed is there or not.
    pub fn lose_power(&mut self, rng: &mut Rng) {
        for (offset, ()) in std::mem::take(&mut self.dirty) {
            let mut kept = match self.durable.get(&offset) {
                Some(page) => page.clone(),
                None => Box::new([0; PAGE]),
            };
            let live = self.page(offset);
            for (old, new) in kept.chunks_mut(SECTOR).zip(live.chunks(SECTOR)) {
                if rng.once_in(2) {
                    old.copy_from_slice(new);
                }
            }
            self.durable.insert(offset, kept.clone());
            self.live.insert(offset, kept);
        }
    }

    /// Byte offsets of the pages from `from` on that were ever written.
    pub fn touched(&self, from: u64) -> impl Iterator<Item = u64> + '_ {
        self.live.range(from..).map(|(offset, _)| *offset)
    }

    fn page_mut(&mut self, offset: u64) -> &mut PageBytes {
        self.dirty.insert(offset, ());
        self.live
            .entry(offset)
            .or_insert_with(|| Box::new([0; PAGE]))
    }
}
