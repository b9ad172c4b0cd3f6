//! Where the parts of a store are. A function of two sizes, so that it can be checked.

use super::recovered::Layout;
use super::{PAGE, bitmap, ring};
use crate::types::{BLOCK, REGION, REPLICAS_MAX, VOLUME_MAX};

/// The fixed places of the two superblocks: far apart, so that whatever scribbles over the head of
/// a device (a partition table, a file system's own superblock) does not reach both.
pub const SUPERBLOCKS: [u64; 2] = [0, 64 << 10];
/// Dirty bitmaps that a store has room for: one for each other replica.
pub const DIRTY_SLOTS: usize = REPLICAS_MAX - 1;

const RING: u64 = 128 << 10;
const WRITTEN: u64 = RING + (ring::PAGES * PAGE) as u64;
/// Data begins at a multiple of this.
const DATA_ALIGN: u64 = 1 << 20;

/// The layout of a store for a volume of up to `size_max` bytes.
///
/// # Panics
/// If `size_max` is not a multiple of the block, is 0, or is above [`VOLUME_MAX`].
#[must_use]
pub fn layout(size_max: u64) -> Layout {
    assert!(
        size_max > 0 && size_max <= VOLUME_MAX && size_max.is_multiple_of(BLOCK),
        "a layout for {size_max} bytes"
    );
    let written_pages = bitmap::written_pages(size_max);
    let dirty_pages = bitmap::dirty_pages(size_max);
    let dirty = WRITTEN + u64::from(written_pages) * PAGE as u64;
    let end = dirty + DIRTY_SLOTS as u64 * u64::from(dirty_pages) * PAGE as u64;
    Layout {
        superblocks: SUPERBLOCKS,
        ring: RING,
        ring_pages: ring::PAGES as u32,
        ring_slots: ring::SLOTS as u32,
        written: WRITTEN,
        written_pages,
        dirty,
        dirty_pages,
        dirty_slots: DIRTY_SLOTS as u32,
        data: end.next_multiple_of(DATA_ALIGN),
        size_max,
    }
}

/// The size that a new store of a volume of `size` bytes has room to grow to: the power of two
/// from 8 to 16 times as large, at most [`VOLUME_MAX`]. The bitmaps for that take less than 0.4 % of
/// `size`.
#[must_use]
pub fn size_max(size: u64) -> u64 {
    size.max(REGION)
        .saturating_mul(8)
        .checked_next_power_of_two()
        .unwrap_or(VOLUME_MAX)
        .min(VOLUME_MAX)
}

/// Number of regions of a volume of `size` bytes.
#[must_use]
pub const fn regions(size: u64) -> u64 {
    size.div_ceil(REGION)
}

/// Number of blocks of a volume of `size` bytes.
#[must_use]
pub const fn blocks(size: u64) -> u64 {
    size.div_ceil(BLOCK)
}

impl Layout {
    /// Byte offset of superblock generation `generation`.
    #[must_use]
    pub const fn superblock(&self, generation: u64) -> u64 {
        self.superblocks[(generation % 2) as usize]
    }

    /// Byte offset of ring record `number`.
    #[must_use]
    pub const fn ring_page(&self, number: u64) -> u64 {
        self.ring + number % self.ring_pages as u64 * PAGE as u64
    }

    /// Byte offset of a page of the written-regions bitmap.
    #[must_use]
    pub fn written_page(&self, page: u32) -> u64 {
        assert!(page < self.written_pages);
        self.written + u64::from(page) * PAGE as u64
    }

    /// Byte offset of a page of the dirty bitmap in `slot`.
    #[must_use]
    pub fn dirty_page(&self, slot: u32, page: u32) -> u64 {
        assert!(slot < self.dirty_slots && page < self.dirty_pages);
        let pages = u64::from(slot) * u64::from(self.dirty_pages) + u64::from(page);
        self.dirty + pages * PAGE as u64
    }

    /// Bytes of a store that holds a volume of `size` bytes.
    #[must_use]
    pub const fn store_bytes(&self, size: u64) -> u64 {
        self.data + size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_and_data_is_aligned() {
        for size in [BLOCK, REGION, 127 * REGION, 8 << 30, 16 << 40] {
            let max = size_max(size);
            assert!(max >= size && max <= VOLUME_MAX);
            let layout = layout(max);
            assert!(layout.superblocks[1] + PAGE as u64 <= layout.ring);
            assert_eq!(
                layout.ring_page(ring::PAGES as u64 - 1) + PAGE as u64,
                layout.written
            );
            assert_eq!(
                layout.written_page(layout.written_pages - 1) + PAGE as u64,
                layout.dirty
            );
            let last = layout.dirty_page(layout.dirty_slots - 1, layout.dirty_pages - 1);
            assert!(last + PAGE as u64 <= layout.data);
            assert!(layout.data.is_multiple_of(REGION));
            assert!(u64::from(layout.dirty_pages) * 127 * REGION >= max);
        }
    }

    #[test]
    fn room_to_grow_is_cheap() {
        for size in [1 << 30, 100 << 30, (1_u64 << 40) + BLOCK, 16 << 40] {
            let head = layout(size_max(size)).data;
            assert!(head <= size / 250 + (1 << 20), "{head} for {size}");
        }
    }
}
