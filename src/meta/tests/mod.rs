//! The format as a whole, on an image in memory.

mod bitmap;
mod bytes;
mod golden;
mod ring;
mod superblock;

use std::io;

use super::recovered::Recovered;
use super::superblock::Superblock;
use super::{PAGE, PageBytes, Refused, format, layout, recover};
use crate::types::{NodeId, StoreId, Term, VolumeId};

/// A store in memory, without the data.
#[derive(Clone)]
pub struct Image {
    pub bytes: Vec<u8>,
    pub store_bytes: u64,
}

pub const SIZE: u64 = 300 << 20;

pub fn superblock() -> Superblock {
    Superblock {
        cluster: 0xc1,
        volume: VolumeId(0x70),
        store: StoreId(0x5702_e000_0000_0000_0000_0000_0000_0001),
        node: NodeId(1),
        size: SIZE,
        layout: layout::layout(layout::size_max(SIZE)),
        term: Term(0),
        generation: 1,
        dirty: [None; layout::DIRTY_SLOTS],
        failed: None,
    }
}

impl Image {
    pub fn fresh() -> Self {
        let superblock = superblock();
        let mut image = Self {
            bytes: vec![0; superblock.layout.data as usize],
            store_bytes: superblock.layout.store_bytes(SIZE),
        };
        for (offset, page) in format(&superblock) {
            image.write(offset, &page[..]);
        }
        image
    }

    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.bytes[offset as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    /// Writes a page of which only some sectors arrive: bit `i` of `sectors` is the `i`-th.
    pub fn write_torn(&mut self, offset: u64, page: &PageBytes, sectors: u8) {
        for (index, sector) in page.chunks(512).enumerate() {
            if sectors >> index & 1 == 1 {
                self.write(offset + index as u64 * 512, sector);
            }
        }
    }

    pub fn page(&self, offset: u64) -> &PageBytes {
        self.bytes[offset as usize..].first_chunk().unwrap()
    }

    pub fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let at = offset as usize;
        let from = self
            .bytes
            .get(at..at + buf.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(from);
        Ok(())
    }

    pub fn recover(&self) -> Result<Recovered, Refused> {
        recover(&mut |offset, buf| self.read(offset, buf), self.store_bytes)
    }
}

#[test]
fn an_empty_store_recovers_empty() {
    let recovered = Image::fresh().recover().unwrap();
    assert_eq!(recovered.generation, 1);
    assert_eq!(recovered.record, 16);
    assert_eq!(recovered.active, vec![None; 4096]);
    assert_eq!(recovered.written.words, vec![0; 5]);
    assert_eq!(recovered.written.len, 300);
    assert_eq!(recovered.dirty, vec![None; 7]);
    assert_eq!(recovered.findings, vec![]);
    assert_eq!(recovered.layout.data % (1 << 20), 0);
    assert_eq!(PAGE, 4096);
}
