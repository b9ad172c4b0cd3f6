//! Metadata on its way to the disk: superblocks, ring records, bitmap pages.

use super::bitmaps::PageName;
use super::{Store, page};
use crate::engine::disk::DiskUse;
use crate::engine::io::{DiskOp, Effect, Effects};
use crate::meta::ring;
use crate::meta::superblock::Superblock;

impl Store {
    pub(super) fn want_superblock(&mut self, out: &mut Effects) -> u64 {
        // One that is being written was encoded before this change.
        self.generation_wanted = match self.generation_writing {
            Some(writing) => writing + 1,
            None => self.generation + 1,
        };
        let wanted = self.generation_wanted;
        self.write_superblock(out);
        wanted
    }

    pub(super) fn write_superblock(&mut self, out: &mut Effects) {
        if self.generation_writing.is_some()
            || self.generation_wanted == self.generation
            || self.broken.is_some()
        {
            return;
        }
        self.generation_writing = Some(self.generation + 1);
        self.write_next_superblock(DiskUse::Superblock, out);
    }

    pub(super) fn write_next_superblock(&mut self, what: DiskUse, out: &mut Effects) {
        let generation = self.generation + 1;
        Superblock {
            cluster: self.cluster,
            volume: self.volume,
            store: self.id,
            node: self.node,
            size: self.size,
            layout: self.layout,
            term: self.term,
            generation,
            dirty: self.bitmaps.names(),
            failed: self.broken,
        }
        .encode(self.pages.bytes_mut(page::SUPERBLOCK));
        let offset = self.layout.superblock(generation);
        self.write_page(what, page::SUPERBLOCK, offset, out);
    }

    pub(super) fn write_record(&mut self, out: &mut Effects) {
        if self.broken.is_some() {
            return;
        }
        let Some(number) = self.intents.begin_record(self.watermark(), self.clear_all) else {
            // What pages stand in the way of is cleared when they are durable.
            if !self.intents.is_busy() && !self.bitmaps.is_queued() && self.pages.are_free() {
                self.clear_all = false;
            }
            return;
        };
        let (changes, table) = self.intents.record();
        let record = ring::Record::new(number, self.seq, changes, table);
        ring::encode(self.id, &record, self.pages.bytes_mut(page::RECORD));
        self.record_seq = self.seq;
        self.write_page(
            DiskUse::Record,
            page::RECORD,
            self.layout.ring_page(number),
            out,
        );
    }

    pub(super) fn write_page(&mut self, what: DiskUse, page: u32, offset: u64, out: &mut Effects) {
        let id = self.disk.begin(what);
        let op = DiskOp::Meta { offset, page };
        out.push(Effect::Disk { id, op });
    }

    // Bitmap pages.

    pub(super) fn queue_blocking_pages(&mut self) {
        let watermark = self.watermark();
        let bitmaps = &mut self.bitmaps;
        self.intents.blocked_by_pages(watermark, |region, kinds| {
            bitmaps.queue_region(kinds, region);
        });
    }

    pub(super) fn write_pages(&mut self, out: &mut Effects) {
        if self.broken.is_some() {
            return;
        }
        while let Some(buffer) = self.pages.free() {
            let Some(name) = self.bitmaps.next(self.id, self.pages.bytes_mut(buffer)) else {
                return;
            };
            self.pages.take(buffer, name);
            self.intents.page_begins(name.regions(), name.kind());
            let offset = match name {
                PageName::Dirty { slot, page } => self.layout.dirty_page(u32::from(slot), page),
                PageName::Written { page } => self.layout.written_page(page),
            };
            self.write_page(DiskUse::Page(buffer), buffer, offset, out);
        }
    }

    pub(super) fn page_ended(&mut self, buffer: u32, errno: u16, out: &mut Effects) {
        let name = self.pages.give_back(buffer);
        if errno != 0 {
            self.fail(errno, out);
            return;
        }
        self.bitmaps.written_page(name);
        self.intents.page_ends(name.regions(), name.kind());
        self.write_pages(out);
        self.name_bitmaps(out);
        self.end_flushes();
        self.retry_waiting(out);
    }
}
