//! Buffers for metadata pages that are being written; aligned, so that a driver can write from them.

use super::bitmaps::PageName;
use crate::meta::PageBytes;

/// The superblock's buffer.
pub(super) const SUPERBLOCK: u32 = 0;
/// The ring record's.
pub(super) const RECORD: u32 = 1;
const FIXED: u32 = 2;
/// Bitmap pages in flight at once.
const BITMAP: u32 = 16;

#[repr(C, align(4096))]
#[derive(Clone, Debug)]
struct Aligned(PageBytes);

/// The buffers.
#[derive(Clone, Debug)]
pub(super) struct Pages {
    bytes: Vec<Aligned>,
    uses: [Option<PageName>; BITMAP as usize],
}

impl Pages {
    pub fn new() -> Self {
        Self {
            bytes: vec![Aligned([0; 4096]); (FIXED + BITMAP) as usize],
            uses: [None; BITMAP as usize],
        }
    }

    pub fn bytes(&self, page: u32) -> &PageBytes {
        &self.bytes[page as usize].0
    }

    pub fn bytes_mut(&mut self, page: u32) -> &mut PageBytes {
        &mut self.bytes[page as usize].0
    }

    /// A buffer for a bitmap page, if one is free.
    pub fn free(&self) -> Option<u32> {
        let at = self.uses.iter().position(Option::is_none)?;
        Some(at as u32 + FIXED)
    }

    /// Whether no bitmap page is being written.
    pub fn are_free(&self) -> bool {
        self.uses.iter().all(Option::is_none)
    }

    pub fn take(&mut self, buffer: u32, name: PageName) {
        let place = &mut self.uses[(buffer - FIXED) as usize];
        assert!(place.is_none());
        *place = Some(name);
    }

    pub fn give_back(&mut self, buffer: u32) -> PageName {
        let Some(name) = self.uses[(buffer - FIXED) as usize].take() else {
            panic!("page buffer {buffer} is free");
        };
        name
    }
}
