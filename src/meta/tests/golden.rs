//! What is on disks in the field: a change here is a new version of the format.

use super::Image;
use crate::meta::bitmap::{encode_dirty, encode_written};
use crate::meta::ring::{self, Record, SLOTS};
use crate::meta::superblock::Superblock;
use crate::meta::{PAGE, PageBytes, layout};
use crate::types::{Index, NodeId, Seq, StoreId, Term, VolumeId};

const STORE: StoreId = StoreId(0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Not a CRC: some pages end in one, which makes the CRC of the whole say nothing.
fn hash(bytes: &[u8]) -> String {
    hex(&blake3::hash(bytes).as_bytes()[..8])
}

#[test]
fn superblock_bytes() {
    let mut dirty = [None; layout::DIRTY_SLOTS];
    dirty[1] = Some((NodeId(2), Index(0x55)));
    let mut page = [0; PAGE];
    Superblock {
        cluster: 0xc1,
        volume: VolumeId(0x70),
        store: STORE,
        node: NodeId(1),
        size: 1 << 30,
        layout: layout::layout(8 << 30),
        term: Term(5),
        generation: 6,
        dirty,
        failed: None,
    }
    .encode(&mut page);
    let expected = [
        "534673746f726501",                 // magic
        "01000000",                         // version
        "00100000",                         // length
        "9098dc98",                         // CRC
        "01000000",                         // node
        "0600000000000000",                 // generation
        "c1000000000000000000000000000000", // cluster
        "70000000000000000000000000000000", // volume
        "000102030405060708090a0b0c0d0e0f", // store
        "0000004000000000",                 // size
        "0500000000000000",                 // term
        "0000000000000000",                 // first superblock
        "0000010000000000",                 // second superblock
        "0000020000000000",                 // ring
        "0000030000000000",                 // written regions
        "0010030000000000",                 // dirty bitmaps
        "0000200000000000",                 // data
        "0000000002000000",                 // largest size
        "10000000",                         // ring pages
        "00100000",                         // ring slots
        "01000000",                         // written pages
        "41000000",                         // dirty pages
        "07000000",                         // dirty slots
        "00100000",                         // block
        "00001000",                         // region
        "000000000000000000000000",         // zero
        "00000000000000000000000000000000", // dirty slot 0
        "01020000000000005500000000000000", // dirty slot 1
        "00000000000000000000000000000000", // dirty slot 2
        "00000000000000000000000000000000", // dirty slot 3
        "00000000000000000000000000000000", // dirty slot 4
        "00000000000000000000000000000000", // dirty slot 5
        "00000000000000000000000000000000", // dirty slot 6
    ];
    assert_eq!(hex(&page[..304]), expected.concat());
    assert!(page[304..].iter().all(|&byte| byte == 0));
}

/// Only two bytes and the checksum tell a store that has failed from one that has not.
#[test]
fn superblock_bytes_of_a_failed_store() {
    let [mut page, mut failed] = [[0; PAGE]; 2];
    let superblock = super::superblock();
    superblock.encode(&mut page);
    Superblock {
        failed: Some(0x0105),
        ..superblock
    }
    .encode(&mut failed);
    assert_eq!(hex(&failed[16..24]), "f79bf44e01000501");
    assert!(page[..16] == failed[..16] && page[24..] == failed[24..]);
}

#[test]
fn ring_record_bytes() {
    let mut table = vec![None; SLOTS];
    table[1030] = Some(0x00ab_cdef);
    let mut page: PageBytes = [0; PAGE];
    let changes = [(1030, Some(0x00ab_cdef)), (2, None)];
    let record = Record::new(26, Seq(0x1234), &changes, &table);
    ring::encode(STORE, &record, &mut page);
    assert_eq!(
        hex(&page[..72]),
        "5346696e74656e740100000000100000000102030405060708090a0b0c0d0e0f1a00000000000000341200000000000002000004000200005c061c21000000000604020000000000"
    );
    assert_eq!(hash(&page), "6f689887c03d017b");
}

#[test]
fn bitmap_bytes() {
    let mut page = [0; PAGE];
    encode_dirty(STORE, NodeId(2), Index(0x55), 3, &[1, 2], &mut page);
    assert_eq!(
        hex(&page[..48]),
        "53466469ac48391b08080808080808085500000000000000030000000102e00f01000000000000000200000000000000"
    );
    assert_eq!(hash(&page), "c93919472dd8b1e4");
    encode_written(STORE, 3, &[1, 2], &mut page);
    assert_eq!(
        hex(&page[..48]),
        "53467772f6b05f3e08080808080808080000000000000000030000000100e00f01000000000000000200000000000000"
    );
    assert_eq!(hash(&page), "8a1a3f553fe38250");
}

#[test]
fn a_whole_empty_store() {
    assert_eq!(hash(&Image::fresh().bytes), "0489fd2022d829fc");
}
